"""Settings that change while processes run: caps, and the log level. One page, which the supervisor writes.

Its workers inherit the page over fork, its desk by a descriptor. They look at each use, so what is written holds for
the next connection, and nobody has to be told. Each image of the supervisor makes a page of its own: workers of other
generations look at one that nobody writes any more, and they take no new calls.

Rejected: a record to each worker over its command line. It can find no room there, and workers of another release
would take it for the end of their line.

Invariant: every setting is one aligned word, stored as one (tests/stress/test_torn_words.py), so a value is the old one
or the new one; of two settings that change together one may be seen before the other.
"""

import logging
import mmap
import os
from collections.abc import Mapping
from typing import Self

import msgspec

from audiohook.config.schema import Config
from audiohook.config.schema_admission import Admission

Changes = Mapping[str, tuple[int | str, int | str]]
"""Key of a setting -> its value before and after."""

_CAPS = Admission.__struct_fields__
LIVE_KEYS = frozenset({*(f"admission.{name}" for name in _CAPS), "log.level"})

_LEVEL_WORD = len(_CAPS)


class LiveSettings:
    """One process' look at the page."""

    def __init__(self, fd: int, *, writable: bool) -> None:
        """`fd` stays the caller's."""
        self.fd = fd
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._words = memoryview(mmap.mmap(fd, mmap.PAGESIZE, flags=mmap.MAP_SHARED, prot=protection)).cast("Q")

    @classmethod
    def made_of(cls, config: Config) -> Self:
        """Make the page. Raises OSError."""
        fd = os.memfd_create("audiohook:settings", os.MFD_CLOEXEC)
        os.ftruncate(fd, mmap.PAGESIZE)
        made = cls(fd, writable=True)
        made.write(config)
        return made

    def write(self, config: Config) -> None:
        for word, name in enumerate(_CAPS):
            self._words[word] = getattr(config.admission, name)
        self._words[_LEVEL_WORD] = logging.getLevelNamesMapping()[config.log.level.upper()]

    def admission(self) -> Admission:
        """Return the caps as they are now: half a microsecond, so for every connection and not for every packet."""
        return Admission(*self._words[:_LEVEL_WORD].tolist())

    @property
    def log_level(self) -> int:
        """The level as `logging` counts it."""
        return self._words[_LEVEL_WORD]


def live_changes(before: Config, after: Config) -> Changes:
    """Return what differs, if it can all be changed while processes run. Empty if not, and if nothing differs."""
    changes = {}
    for section in Config.__struct_fields__:
        old, new = getattr(before, section), getattr(after, section)
        for name in old.__struct_fields__:
            if getattr(old, name) != getattr(new, name):
                changes[f"{section}.{name}"] = (getattr(old, name), getattr(new, name))
    return changes if changes.keys() <= LIVE_KEYS else {}


def with_changes(config: Config, changes: Changes) -> Config:
    """Return the configuration with these values. Raises msgspec.ValidationError."""
    values = msgspec.to_builtins(config)
    for key, (_, value) in changes.items():
        section, _, name = key.partition(".")
        values[section][name] = value
    return msgspec.convert(values, Config)
