"""The keys file: API keys with their secrets, and shared secrets, in a file of their own.

    [[key]]
    organization = "d7934305-0972-4844-938e-9060eef73d05"
    api_key = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
    secret = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="     # base64; "" where the requests come unsigned
    note = "the main integration, since May"                    # optional, for people

    [[shared_secret]]
    value = "at-least-sixteen-characters"                       # for the dialect `context`
    note = "the balancer"

All entries are valid at once, so a key is exchanged by adding the new one, changing the peer, and taking the old one
away. An empty file is taken for an accident and refused; whoever means nobody writes `key = []`.

Invariants, held by tests/unit/test_config_keys.py: only its owner can read a file that is taken; no error shows a key,
a secret or any other word of the file, since errors end up in logs; a file that cannot be used leaves what was valid
valid.
"""

import re
import tomllib
import uuid
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from audiohook.auth.api_keys import ApiKey, Keyring
from audiohook.config.private_file import Stamp, read_file, stamp_of, unusable
from audiohook.errors import ConfigError

KIND = "TOML file with keys"

SHORTEST_SHARED_SECRET = 16

HIDDEN = "…"
"""What an error shows in place of a value."""

_API_KEY = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_SECRET = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=?|[A-Za-z0-9+/]{2}(?:==)?)?")
"""Both as Genesys Cloud checks them when an integration is set up: padding is optional."""
_SHARED_SECRET = re.compile(r"[!-~]+")  # visible ASCII: it travels in a header

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "key": ("organization", "api_key", "secret", "note"),
    "shared_secret": ("value", "note"),
}
_OPTIONAL = ("note",)

_ERROR_LINE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)\Z")


def load_keys(path: str) -> Keyring:
    """Read the keys file. Raises ConfigError."""
    content, _ = _read(path)
    return _keyring(path, content)


class KeysFile:
    """A keys file that is looked at again and again, and what of it is valid."""

    def __init__(self, path: str) -> None:
        """Read it. Raises ConfigError: a daemon must not start with a file that it cannot use."""
        self.path = path
        content, stamp = _read(path)
        self.keyring = _keyring(path, content)
        self.error: ConfigError | None = None
        """Why the file as it is now cannot be used; None while `keyring` is what stands in it."""
        self._stamp: Stamp | None = stamp

    def refresh(self) -> bool:
        """Look at the file (one stat) and read it if it has changed. Returns whether `keyring` or `error` is new.

        A file that cannot be used leaves `keyring` as it was and sets `error`, which is to be logged as an error: once
        for each different one, hence the return value. Never raises.
        """
        stamp = stamp_of(self.path)
        if stamp is not None and stamp == self._stamp:
            return False
        # None, so that a file that cannot even be read is tried again at the next look: it may come back unchanged.
        self._stamp = None
        try:
            content, self._stamp = _read(self.path)
            self.keyring = _keyring(self.path, content)
        except ConfigError as error:
            known = str(self.error) == str(error)
            # Both hold frames, and these the file's content.
            error.__traceback__ = error.__context__ = None
            self.error = error
            return not known
        self.error = None
        return True


# The file


def _read(path: str) -> tuple[bytes, Stamp]:
    return read_file(path, KIND, private=True)


def _tables(path: str, content: bytes) -> Mapping[str, Any]:
    """Return the file's mapping. What the parser says is not passed on but for the line: it quotes the file."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise unusable(path, f"line {line}: not UTF-8; save the file as UTF-8") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        match = _ERROR_LINE.search(str(error))
        where = f"line {match[1]}: " if match else ""
        raise unusable(path, f"{where}not TOML; correct it (the line is not shown: it may hold a key)") from None


# Its entries


def _keyring(path: str, content: bytes) -> Keyring:
    tables = _tables(path, content)
    if not tables:
        raise unusable(path, "no [[key]] and no [[shared_secret]]; write `key = []` if nobody is to be let in")
    if not _FIELDS.keys() >= tables.keys():
        raise unusable(path, "something besides [[key]] and [[shared_secret]]; take it out")
    keys = [_api_key(path, place, entry) for place, entry in _entries(path, "key", tables)]
    _check_unique(path, "key", "api_key", (key.api_key for key in keys))
    shared = [_shared_secret(path, place, entry) for place, entry in _entries(path, "shared_secret", tables)]
    _check_unique(path, "shared_secret", "value", shared)
    return Keyring(keys, shared)


def _entries(path: str, table: str, tables: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Return the entries of one array of tables, each with its place, such as key[0], and strings only."""
    entries = tables.get(table, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _refused(path, table, f"must be an array of tables; write [[{table}]] above each entry")
    known = _FIELDS[table]
    checked = []
    for index, entry in enumerate(entries):
        place = f"{table}[{index}]"
        if not set(known).issuperset(entry):
            raise _refused(path, place, f"has a field that is none of {', '.join(known)}; take it out")
        for name in known:
            if name not in entry and name not in _OPTIONAL:
                raise _refused(path, f"{place}.{name}", "is missing; write it")
            if not isinstance(entry.get(name, ""), str):
                raise _refused(path, f"{place}.{name}", "must be a string; put it in quotes")
        checked.append((place, entry))
    return checked


def _api_key(path: str, place: str, entry: Mapping[str, str]) -> ApiKey:
    try:
        organization = str(uuid.UUID(entry["organization"]))
    except ValueError:
        remedy = "not a UUID; write the id of the Genesys Cloud organization"
        raise _refused(path, f"{place}.organization", remedy) from None
    if _API_KEY.fullmatch(entry["api_key"]) is None:
        remedy = "no peer can send it; write letters, digits, + / _ - and at most two = at the end"
        raise _refused(path, f"{place}.api_key", remedy)
    if _SECRET.fullmatch(entry["secret"]) is None:
        remedy = 'not base64; write the client secret as it stands in Genesys Cloud, or "" if there is none'
        raise _refused(path, f"{place}.secret", remedy)
    text = entry["secret"].rstrip("=")
    return ApiKey(organization, entry["api_key"], b64decode(text + "=" * (-len(text) % 4)))


def _shared_secret(path: str, place: str, entry: Mapping[str, str]) -> str:
    value = entry["value"]
    if _SHARED_SECRET.fullmatch(value) is None or len(value) < SHORTEST_SHARED_SECRET:
        remedy = f"must be {SHORTEST_SHARED_SECRET} or more visible ASCII characters without blanks"
        raise _refused(path, f"{place}.value", remedy)
    return value


def _check_unique(path: str, table: str, name: str, values: Iterable[str]) -> None:
    places: dict[str, int] = {}
    for index, value in enumerate(values):
        first = places.setdefault(value, index)
        if first != index:
            raise _refused(path, f"{table}[{index}].{name}", f"the same as {table}[{first}].{name}; name each once")


def _refused(path: str, key: str, remedy: str) -> ConfigError:
    return ConfigError(path, key, HIDDEN, remedy)
