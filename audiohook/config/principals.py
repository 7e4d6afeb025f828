"""Who may do something on the hub: the entries of hub.read, hub.speak and hub.operate, resolved to numbers.

Standard library only. Names are looked up when the configuration is read: the desk compares numbers, and a name
service that hangs cannot stop it. A digit string is always an id, as in "user:1000", and need not exist.
"""

import grp
import os
import pwd
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from audiohook.config.complaint import refused

_LARGEST_ID = (1 << 32) - 2
"""Ids have 32 bits, and the last value means "no id" to the kernel."""

_SYNTAX = '"user:NAME", "user:UID", "group:NAME", "group:GID" or "any"'


@dataclass(frozen=True, slots=True)
class Principals:
    """Resolved principals. `uids` always has root and the user of the process that resolved them."""

    uids: frozenset[int]
    gids: frozenset[int]
    any: bool

    def admit(self, uid: int, gids: Collection[int]) -> bool:
        """Return whether a peer is one of them: its uid (SO_PEERCRED), its groups with the primary one among them."""
        return self.any or uid in self.uids or not self.gids.isdisjoint(gids)


def resolve_principals(entries: Sequence[str], file: str = "configuration", key: str = "hub.read") -> Principals:
    """Resolve the entries of a list of principals.

    Raises ConfigError, with `file` and the entry's place in `key`, for a malformed entry and an unknown name.
    """
    uids = {0, os.geteuid()}
    gids: set[int] = set()
    for index, entry in enumerate(entries):
        kind, colon, name = entry.partition(":")
        if entry == "any":
            continue
        if not colon or not name or kind not in ("user", "group"):
            raise refused(file, f"{key}[{index}]", entry, f"not a principal; write {_SYNTAX}")
        number = _uid(name) if kind == "user" else _gid(name)
        if number is None:
            remedy = f"this machine has no such {kind}; name one that exists, or its number"
            raise refused(file, f"{key}[{index}]", entry, remedy)
        (uids if kind == "user" else gids).add(number)
    return Principals(frozenset(uids), frozenset(gids), "any" in entries)


def _uid(name: str) -> int | None:
    if name.isascii() and name.isdigit():
        return _id(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL, or what cannot be encoded
        return None


def _gid(name: str) -> int | None:
    if name.isascii() and name.isdigit():
        return _id(name)
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None


def _id(digits: str) -> int | None:
    # The length first: int() raises for more than 4,300 digits.
    return int(digits) if len(digits) <= 10 and int(digits) <= _LARGEST_ID else None
