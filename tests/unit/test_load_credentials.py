"""Credentials come out of files that nobody else can read, are never shown, and sign what a daemon verifies."""

import time
from pathlib import Path

import pytest

from audiohook.auth.api_keys import ApiKey, Keyring
from audiohook.auth.signature import SignaturePolicy
from audiohook.auth.verdict import Verdict, authenticate, check_shared_secret
from audiohook.load.credentials import API_KEY_VARIABLE, Credentials, read_credentials
from audiohook.load.errors import LoadError
from audiohook.load.target import parse_url
from audiohook.session.audiohook2_client import Caller, upgrade_headers

SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
RAW = b"MySuperSecretKeyTellNo-1!2@3#4$5"
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
TARGET = parse_url("ws://audiohook.example.com:8443/a/b?c=d")


def file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def judge(credentials: Credentials, secret: bytes = RAW, age_s: int = 0) -> Verdict:
    """Let the daemon's half look at a request."""
    caller = Caller(SESSION, credentials.organization, SESSION, SESSION, SESSION)
    headers = credentials.signed(TARGET, upgrade_headers(caller, credentials.api_key), age_s)
    keyring = Keyring([ApiKey(ORGANIZATION, API_KEY, secret)])
    request = (("host", TARGET.authority), *headers)
    return authenticate(request, TARGET.path, keyring, SignaturePolicy(300, 30), int(time.time()))


def test_what_is_signed_is_verified(tmp_path: Path) -> None:
    credentials = read_credentials(
        api_key=API_KEY, secret_file=file(tmp_path / "secret", f"{SECRET}\n"), organization=ORGANIZATION
    )
    assert credentials.secret == RAW
    assert judge(credentials).ok
    assert not judge(credentials, secret=b"another").ok
    assert not judge(credentials, age_s=1000).ok


def test_without_a_secret_nothing_is_signed() -> None:
    credentials = read_credentials(api_key=API_KEY, organization=ORGANIZATION)
    assert judge(credentials, secret=b"").ok
    assert not judge(credentials).ok


def test_the_shared_secret_lets_context_calls_in(tmp_path: Path) -> None:
    credentials = read_credentials(shared_secret_file=file(tmp_path / "shared", "at-least-sixteen-characters"))
    keyring = Keyring([], ["at-least-sixteen-characters"])
    assert check_shared_secret(credentials.admitting(), credentials.secret_header, keyring).ok
    assert Credentials().admitting() == ()


def test_the_api_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, API_KEY)
    assert read_credentials().api_key == API_KEY
    assert read_credentials(api_key="other").api_key == "other"


def test_no_secret_is_in_a_repr() -> None:
    assert repr(Credentials(API_KEY, ORGANIZATION, RAW, "shared")) == "Credentials(…)"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (SECRET, 0o640, "run: chmod 600"),
        (SECRET, 0o604, "run: chmod 600"),
        ("not base64!", 0o600, "not base64"),
        ("QUJDR", 0o600, "not base64"),
        ("", 0o600, "empty"),
        ("ä", 0o600, "not ASCII"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_not_shown(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(LoadError, match=said) as refused:
        read_credentials(secret_file=file(tmp_path / "secret", text, mode))
    assert not text or text not in str(refused.value)


def test_what_no_header_can_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="API key"):
        read_credentials(api_key="no blanks")
    with pytest.raises(LoadError, match="without blanks"):
        read_credentials(shared_secret_file=file(tmp_path / "shared", "two words"))
    with pytest.raises(LoadError, match="UUID"):
        read_credentials(organization="mine")
