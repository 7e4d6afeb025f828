"""How a reader sleeps until there is something new, without polling and without trusting a wake-up.

Two kinds of word: a slot's own (the low half of `commit`), woken only while the desk has set its `watch` word, and a
worker's doorbell, rung at most once a millisecond, for readers of many streams. Any other reader can requeue our sleep
away (a futex needs only a readable page), so every wait ends after MAX_WAIT_NS and whoever waits looks again. Order:
read the word, then look at the data, then wait on the value that was read.

What is to be waited for is a value, `Pause`. The code that reads yields it and sleeps nowhere, so the same code serves
a thread that rests and a coroutine that awaits (`control/async_hub.py`).
"""

import ctypes
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.syscalls import futex_wait, futex_waitv
from audiohook.units import NS_PER_MS, NS_PER_S

MAX_WAIT_NS = 250 * NS_PER_MS
TIMER_NS = 5 * NS_PER_MS
"""Where futex_waitv is missing or forbidden, bells are looked at this often."""

Word = tuple[int, int]
"""A futex: its address and the value that was read there."""

Step = TypeVar("Step")


class Pause(NamedTuple):
    """There is nothing to hand out: look again when a word has changed, or after `timeout_ns`, whichever is first.

    `bells` suffice always. `commit` may be waited for instead while its slot is watched. Without either it is the clock
    alone that is waited for.
    """

    bells: tuple[Word, ...]
    timeout_ns: int = MAX_WAIT_NS
    commit: Word | None = None

    def words(self, *, watched: bool) -> tuple[Word, ...]:
        """Return the words to wait on."""
        return (self.commit,) if watched and self.commit is not None else self.bells

    def rest(self, *, watched: bool = False) -> bool:
        """Sleep in this thread, at most MAX_WAIT_NS.

        Returns False if the time was over: nobody has woken us, which does not mean that there is nothing new.
        """
        timeout_ns, words = min(self.timeout_ns, MAX_WAIT_NS), self.words(watched=watched)
        if len(words) == 1:
            return futex_wait(*words[0], timeout_ns)
        if not words:
            time.sleep(timeout_ns / NS_PER_S)
            return False
        due_ns = time.monotonic_ns() + timeout_ns
        if not futex_waitv(list(words), due_ns):
            time.sleep(min(timeout_ns, TIMER_NS) / NS_PER_S)
        return time.monotonic_ns() < due_ns


def changed(words: tuple[Word, ...]) -> bool:
    """Return whether a word differs from the value that was read. Their memory must still be mapped."""
    return any(ctypes.c_uint32.from_address(address).value != value & 0xFFFFFFFF for address, value in words)


def rested(steps: Iterator[Step | Pause], rest: Callable[[Pause], object]) -> Iterator[Step]:
    """Yield what `steps` yields, and rest in this thread at each Pause."""
    for step in steps:
        if isinstance(step, Pause):
            rest(step)
        else:
            yield step


class Bells:
    """The doorbells of an arena: of the workers that write into it now, and the supervisor's."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        rows = arena.geometry.rows + 1
        self._words = [layout.row_word(arena.geometry, row, "bell") for row in range(rows)]
        self._addresses = [arena.word_address(word) for word in self._words]

    def read(self) -> tuple[Word, ...]:
        """Return every bell as it is now: to be read before the data that one then finds wanting."""
        words = self._arena.words
        return tuple((address, words[word]) for address, word in zip(self._addresses, self._words, strict=True))


class CommitWait:
    """Waits for one stream: on its own word while it is watched, else on the doorbell of who keeps it.

    That is its worker, and the supervisor while it is PARKED: the bells of all workers, one of which may take it on,
    would wake an hour of hold a thousand times a second for nothing. Who waits looks four times a second anyway.
    """

    def __init__(self, arena: Arena, slot: int, row: int) -> None:
        self._words = arena.words
        self._commit_word = layout.cursor_word(arena.geometry, slot, "commit")
        self._commit_address = arena.word_address(self._commit_word)
        self._bell_words = [layout.row_word(arena.geometry, of, "bell") for of in (row, arena.geometry.supervisor_row)]
        self._bell_addresses = [arena.word_address(word) for word in self._bell_words]

    def read(self, *, parked: bool) -> Pause:
        """Return both words as they are now, as what to wait for: to be read before the data."""
        bell = (self._bell_addresses[parked], self._words[self._bell_words[parked]])
        return Pause((bell,), commit=(self._commit_address, self._words[self._commit_word]))


def stream_signature(arena: Arena) -> int:
    """Return a number that changes whenever a stream begins or ends: cheaper to look at than the cards."""
    sizes = arena.geometry
    start = layout.counter_word(sizes, 0, "streams_opened") * layout.WORD_BYTES
    view = np.lib.stride_tricks.as_strided(
        arena.bytes[start : start + 16].view(np.uint64), (sizes.rows + 1, 2), (layout.ROW_BYTES, layout.WORD_BYTES)
    )
    return int(view.sum())
