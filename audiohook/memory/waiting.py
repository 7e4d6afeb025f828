"""How a reader sleeps until there is something new, without polling and without trusting a wake-up.

Two kinds of word: a slot's own (the low half of `commit`), woken only while the desk has set its `watch` word, and a
worker's doorbell, rung at most once a millisecond, for readers of many streams. Any other reader can requeue our sleep
away (a futex needs only a readable page), so every wait ends after MAX_WAIT_NS and whoever waits looks again. Order:
read the word, then look at the data, then wait on the value that was read.
"""

import time

import numpy as np

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.syscalls import futex_wait, futex_waitv
from audiohook.units import NS_PER_MS

MAX_WAIT_NS = 250 * NS_PER_MS
TIMER_NS = 5 * NS_PER_MS
"""Where futex_waitv is missing or forbidden, bells are looked at this often."""


class Bells:
    """The doorbells of an arena: of the workers that write into it now, and the supervisor's."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        rows = arena.geometry.rows + 1
        self._words = [layout.row_word(arena.geometry, row, "bell") for row in range(rows)]
        self._addresses = [arena.word_address(word) for word in self._words]

    def read(self) -> list[int]:
        """Return the present value of every bell: to be read before the data that one then finds wanting."""
        words = self._arena.words
        return [words[word] for word in self._words]

    def wait(self, seen: list[int], timeout_ns: int = MAX_WAIT_NS) -> None:
        """Sleep until a bell differs from `seen`, at most MAX_WAIT_NS."""
        timeout_ns = min(timeout_ns, MAX_WAIT_NS)
        pairs = list(zip(self._addresses, seen, strict=True))
        if not futex_waitv(pairs, time.monotonic_ns() + timeout_ns):
            time.sleep(min(timeout_ns, TIMER_NS) / 1e9)


class CommitWait:
    """Waits for one stream: on its own word while it is watched, else on its worker's doorbell."""

    def __init__(self, arena: Arena, slot: int, row: int) -> None:
        self._words = arena.words
        self._commit_word = layout.cursor_word(arena.geometry, slot, "commit")
        self._commit_address = arena.word_address(self._commit_word)
        self._bell_word = layout.row_word(arena.geometry, row, "bell")
        self._bell_address = arena.word_address(self._bell_word)

    def read(self) -> tuple[int, int]:
        """Return the values of both words, to be read before the data."""
        return self._words[self._bell_word], self._words[self._commit_word]

    def wait(self, seen: tuple[int, int], *, watched: bool, timeout_ns: int = MAX_WAIT_NS) -> None:
        """Sleep until the stream's word (or its worker's bell) differs from what `read` returned."""
        address, value = (self._commit_address, seen[1]) if watched else (self._bell_address, seen[0])
        futex_wait(address, value, min(timeout_ns, MAX_WAIT_NS))


def stream_signature(arena: Arena) -> int:
    """Return a number that changes whenever a stream begins or ends: cheaper to look at than the cards."""
    sizes = arena.geometry
    start = layout.counter_word(sizes, 0, "streams_opened") * layout.WORD_BYTES
    view = np.lib.stride_tricks.as_strided(
        arena.bytes[start : start + 16].view(np.uint64), (sizes.rows + 1, 2), (layout.ROW_BYTES, layout.WORD_BYTES)
    )
    return int(view.sum())
