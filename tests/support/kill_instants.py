"""The memory as a kill would leave it: a copy of the whole arena before every single store of a writer.

`watch(bench, hook)` puts words and bytes between the code under test and the arena, which call `hook` before each store
they pass on. Bytes, such as a card's copy, are stored in two parts, since a kill may come in the middle of one.
"""

import mmap
from collections.abc import Callable

from tests.support.memory import Bench

Hook = Callable[[], None]


class WatchedWords:
    """An arena's words. Loads pass; before a store the hook is called."""

    def __init__(self, words: memoryview, hook: Hook) -> None:
        self._words = words
        self._hook = hook

    def __getitem__(self, at: int) -> int:
        return self._words[at]

    def __setitem__(self, at: int, value: int) -> None:
        self._hook()
        self._words[at] = value


class WatchedMap:
    """An arena's bytes. Loads pass; what is stored comes in two halves, with the hook before each."""

    def __init__(self, memory: mmap.mmap, hook: Hook) -> None:
        self._memory = memory
        self._hook = hook

    def __getitem__(self, at: slice) -> bytes:
        return self._memory[at]

    def __setitem__(self, at: slice, value: bytes) -> None:
        middle = at.start + len(value) // 2
        self._hook()
        self._memory[at.start : middle] = value[: len(value) // 2]
        self._hook()
        self._memory[middle : at.stop] = value[len(value) // 2 :]


def watch(bench: Bench, hook: Hook) -> None:
    """Let `hook` be called before every store to words or bytes that goes through `bench.arena`."""
    bench.arena.words = WatchedWords(bench.arena.words, hook)  # type: ignore[assignment]
    bench.arena.map = WatchedMap(bench.arena.map, hook)  # type: ignore[assignment]
