"""config/keys.py: what of a keys file is taken, what its errors show, and how it is read again."""

import errno
import os
import traceback
from pathlib import Path

import pytest

from audiohook.auth.api_keys import ApiKey
from audiohook.config import keys, private_file
from audiohook.config.keys import HIDDEN, KeysFile, load_keys
from audiohook.config.private_file import MAX_FILE_BYTES
from audiohook.errors import ConfigError

ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
API_KEY = "TheKeyOfTheTest+/-_=="
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
SHARED = "the-shared-secret-of-the-test"


def entry(organization: str = ORGANIZATION, api_key: str = API_KEY, secret: str = SECRET) -> str:
    return f'[[key]]\norganization = "{organization}"\napi_key = "{api_key}"\nsecret = "{secret}"\n'


def shared(value: str = SHARED) -> str:
    return f'[[shared_secret]]\nvalue = "{value}"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replace the file, as an editor or a deployment does."""
    new = path.with_suffix(".new")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    new.chmod(mode)
    new.rename(path)


def error_of(path: Path, content: str | bytes, mode: int = 0o600) -> ConfigError:
    """Return why a file is refused, and hold that this tells nothing of what stands in it."""
    write(path, content, mode)
    with pytest.raises(ConfigError) as caught:
        load_keys(str(path))
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    for word in (API_KEY, SECRET, SHARED, SECRET[:12], "SECRETWORD"):
        assert word not in shown
    assert str(error).startswith(f"{path}: ")
    assert error.value in (None, HIDDEN)
    return error


# What is taken


def test_the_file_of_the_docstring(path: Path) -> None:
    text = (keys.__doc__ or "").split("\n\n")
    write(path, "\n".join(part for part in text if part.startswith("    [[")))
    keyring = load_keys(str(path))
    assert len(keyring) == 1
    found = keyring.find("SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh")
    assert found == ApiKey(ORGANIZATION, "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh", b"MySuperSecretKeyTellNo-1!2@3#4$5")
    assert keyring.admits("at-least-sixteen-characters")


def test_several_keys_at_once(path: Path) -> None:
    write(path, entry() + entry(api_key="second", secret="") + entry("1" * 32, "third") + shared() + shared("s" * 16))
    keyring = load_keys(str(path))
    assert len(keyring) == 3
    assert keyring.shared_secrets == 2
    second, third = keyring.find("second"), keyring.find("third")
    assert second is not None
    assert third is not None
    assert (second.organization, second.secret) == (ORGANIZATION, b"")
    assert third.organization == "11111111-1111-1111-1111-111111111111"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("", b""),
        ("AAEC", b"\0\1\2"),
        ("AAE=", b"\0\1"),
        ("AAE", b"\0\1"),
        ("AA==", b"\0"),
        ("AA", b"\0"),
        ("+/+/", None),
    ],
)
def test_base64_with_and_without_padding(path: Path, text: str, secret: bytes | None) -> None:
    write(path, entry(secret=text))
    found = load_keys(str(path)).find(API_KEY)
    assert found is not None
    assert found.secret == (b"\xfb\xff\xbf" if secret is None else secret)


def test_nobody_on_purpose(path: Path) -> None:
    write(path, "key = []\n")
    assert len(load_keys(str(path))) == 0


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_modes_that_are_taken(path: Path, mode: int) -> None:
    write(path, entry(), mode)
    assert len(load_keys(str(path))) == 1


# What is refused


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610])
def test_modes_that_are_refused(path: Path, mode: int) -> None:
    error = error_of(path, entry(), mode)
    assert f"mode {mode:04o}" in str(error)
    assert f"chmod 600 {path}" in str(error)


@pytest.mark.parametrize(
    ("content", "key", "words"),
    [
        ("", "", "no [[key]]"),
        ("# SECRETWORD\n", "", "no [[key]]"),
        (entry() + entry(), "key[1].api_key", "the same as key[0].api_key"),
        (shared() + shared(), "shared_secret[1].value", "the same as shared_secret[0].value"),
        (entry(organization="SECRETWORD"), "key[0].organization", "not a UUID"),
        (entry(api_key="SECRET WORD"), "key[0].api_key", "no peer can send it"),
        (entry(api_key=""), "key[0].api_key", "no peer can send it"),
        (entry(api_key="SECRETWORD==="), "key[0].api_key", "no peer can send it"),
        (entry(api_key="SECRETWORD\\n"), "key[0].api_key", "no peer can send it"),
        (entry(secret="SECRETWORD!"), "key[0].secret", "not base64"),
        (entry(secret="AAAAA"), "key[0].secret", "not base64"),
        (entry(secret="A==="), "key[0].secret", "not base64"),
        (entry(secret="AA="), "key[0].secret", "not base64"),
        (entry(secret="AAAA\\n"), "key[0].secret", "not base64"),
        (entry(secret="AA_-"), "key[0].secret", "not base64"),
        (entry() + "SECRETWORD = 1\n", "key[0]", "none of organization, api_key, secret, note"),
        (f'[[key]]\napi_key = "{API_KEY}"\nsecret = ""\n', "key[0].organization", "is missing"),
        (entry().replace(f'secret = "{SECRET}"', ""), "key[0].secret", "is missing"),
        (entry(secret="").replace('""', "[]"), "key[0].secret", "must be a string"),
        (entry() + "note = 7\n", "key[0].note", "must be a string"),
        (entry().replace("[[key]]", "[key]"), "key", "[[key]]"),
        ("key = [1]\n", "key", "[[key]]"),
        ('key = "SECRETWORD"\n', "key", "[[key]]"),
        (entry() + "[SECRETWORD]\n", "", "something besides"),
        (f'{API_KEY[:10]} = "x"\n', "", "something besides"),
        (shared("fifteen-letters"), "shared_secret[0].value", "16 or more"),
        (shared("SECRETWORD with blanks"), "shared_secret[0].value", "without blanks"),
        (shared("SECRETWORDSECRETWÖRD"), "shared_secret[0].value", "visible ASCII"),
        (entry() + f"{API_KEY} = {SECRET}\n", "", "line 5: not TOML"),
        (f"{entry()}[SECRETWORD]\n[SECRETWORD]\n", "", "not TOML"),
        (f'api_key = "{API_KEY}', "", "not TOML"),
        ("a = " + "[" * 100_000, "", "not TOML"),
        ("a = " + "9" * 10_000, "", "not TOML"),
        (b'[[key]]\napi_key = "SECRETWORD\xff"\n', "", "line 2: not UTF-8"),
        ("#" * (MAX_FILE_BYTES + 1), "", "larger than"),
    ],
    ids=range(35),
)
def test_what_is_refused(path: Path, content: str | bytes, key: str, words: str) -> None:
    error = error_of(path, content)
    assert error.key == key
    assert words in str(error)


def test_no_such_file_and_no_file_at_all(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, words in (
        (path, os.strerror(errno.ENOENT)),
        (tmp_path, "not a regular file"),
        (tmp_path / "fifo", "not a"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_keys(str(name))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_keys("a\0b")


# Reading it again


def test_a_change_is_seen_without_a_restart(path: Path) -> None:
    write(path, entry())
    file = KeysFile(str(path))
    before = file.keyring
    assert not file.refresh()
    assert file.keyring is before
    write(path, entry() + entry(api_key="second"))
    assert file.refresh()
    assert file.keyring.find("second") is not None
    assert before.find("second") is None
    write(path, entry(api_key="second"))
    assert file.refresh()
    assert file.keyring.find(API_KEY) is None
    assert not file.refresh()


def test_a_change_in_place_of_the_same_length_and_time_is_seen(path: Path) -> None:
    write(path, entry(api_key="first"))
    file = KeysFile(str(path))
    status = path.stat()
    # The clock of inodes ticks every few milliseconds; a change within the tick of the first read could hide in it.
    while path.stat().st_ctime_ns == status.st_ctime_ns:
        path.write_text(entry(api_key="third"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.refresh()
    assert file.keyring.find("third") is not None


@pytest.mark.parametrize("content", ["", "SECRETWORD", entry() + entry(), entry(secret="x")])
def test_a_broken_file_leaves_what_was_valid_and_is_told_once(path: Path, content: str) -> None:
    write(path, entry())
    file = KeysFile(str(path))
    write(path, content)
    assert file.refresh()
    error = file.error
    assert error is not None
    assert "SECRETWORD" not in str(error)
    # No frame is kept, and with it none of the file's content.
    assert error.__traceback__ is None
    assert error.__context__ is None
    assert not file.refresh()
    assert file.error is error
    assert file.keyring.find(API_KEY) is not None
    write(path, entry(api_key="mended"))
    assert file.refresh()
    assert file.error is None
    assert file.keyring.find("mended") is not None


def test_a_file_that_vanishes_or_opens_itself_to_others(path: Path) -> None:
    write(path, entry())
    file = KeysFile(str(path))
    path.chmod(0o644)
    assert file.refresh()
    assert "chmod 600" in str(file.error)
    assert not file.refresh()
    path.unlink()
    assert file.refresh()
    assert "cannot be read" in str(file.error)
    assert not file.refresh()
    assert len(file.keyring) == 1
    write(path, entry())
    assert file.refresh()
    assert file.error is None


def test_a_folder_that_was_away(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    write(folder / "keys.toml", entry())
    file = KeysFile(str(folder / "keys.toml"))
    folder.rename(tmp_path / "away")
    assert file.refresh()
    assert file.error is not None
    # The file comes back with the very stamp that it had.
    (tmp_path / "away").rename(folder)
    assert file.refresh()
    assert file.error is None


def test_a_failure_to_read_is_not_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, entry())
    file = KeysFile(str(path))
    write(path, entry(api_key="second"))

    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(private_file.os, "open", full)
        assert file.refresh()
        assert not file.refresh()
        assert file.error is not None
    assert file.refresh()
    assert file.error is None
    assert file.keyring.find("second") is not None


def test_a_daemon_does_not_start_with_a_broken_file(path: Path) -> None:
    write(path, entry(), 0o644)
    with pytest.raises(ConfigError):
        KeysFile(str(path))
