"""How often the same thing is logged: the first time at once, then a line a minute that counts the others.

For what strangers can make happen: a thousand of them must not write a thousand lines. Knows no log and no clock. Who
only wants lines while there is news calls `note`; who wants none to be kept back for ever asks `overdue` now and then.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from audiohook.units import NS_PER_S

LOG_EVERY_NS = 60 * NS_PER_S
MOST_REMEMBERED = 256

Key = TypeVar("Key", bound=Hashable)


class LogLimit(Generic[Key]):
    """One log's memory of what it has said, by key."""

    def __init__(self) -> None:
        self._last: dict[Key, tuple[int, int]] = {}  # when a line was written, and how often it happened since

    def note(self, key: Key, now_ns: int) -> int | None:
        """It happened: return how many times a line would stand for, None if there is to be no line now."""
        logged_ns, since = self._last.get(key, (None, 0))
        if logged_ns is not None and now_ns - logged_ns < LOG_EVERY_NS:
            self._last[key] = (logged_ns, since + 1)
            return None
        if len(self._last) >= MOST_REMEMBERED:
            self._last.clear()  # somebody has very many names; a few lines more are better than a table without bound
        self._last[key] = (now_ns, 0)
        return since + 1

    def overdue(self, now_ns: int) -> list[tuple[Key, int]]:
        """Return what has happened since its last line, a minute ago or longer, and how often. Each is said with it."""
        found = [(key, since) for key, (ns, since) in self._last.items() if since and now_ns - ns >= LOG_EVERY_NS]
        for key, _ in found:
            self._last[key] = (now_ns, 0)
        return found
