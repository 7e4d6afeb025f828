"""The memory as a kill would leave it: a copy of the whole arena before every single store of a writer.

`watch(bench, hook)` puts words and cards between the code under test and the arena, which call `hook` before each store
they pass on. A card's copy is stored in two parts, since a kill may come in the middle of one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

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


class WatchedCopy:
    """One copy of a card: fields are stored one by one, with the hook before each."""

    def __init__(self, copy: Any, hook: Hook) -> None:
        self.copy_in_memory = copy
        self._hook = hook

    def __setitem__(self, name: str, value: Any) -> None:
        self._hook()
        self.copy_in_memory[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.copy_in_memory[name]

    def item(self) -> Any:
        return self.copy_in_memory.item()


class WatchedCards:
    """An arena's cards."""

    def __init__(self, cards: Any, hook: Hook) -> None:
        self._cards = cards
        self._hook = hook

    def __getitem__(self, at: Any) -> Any:
        return self._cards[at] if isinstance(at, str) else WatchedCopy(self._cards[at], self._hook)

    def __setitem__(self, at: tuple[int, int], value: Any) -> None:
        self._hook()
        source = value.copy_in_memory if isinstance(value, WatchedCopy) else value
        slot, which = at
        target = self._cards[slot : slot + 1, which].view()
        wanted = np.asarray(source, self._cards.dtype)
        half = target.copy()
        half_bytes = bytearray(half.tobytes())
        whole_bytes = wanted.tobytes()
        half_bytes[: len(whole_bytes) // 2] = whole_bytes[: len(whole_bytes) // 2]
        target[0] = np.frombuffer(bytes(half_bytes), self._cards.dtype)[0]
        self._hook()
        target[0] = wanted


def watch(bench: Bench, hook: Hook) -> None:
    """Let `hook` be called before every store to words or cards that goes through `bench.arena`."""
    bench.arena.words = WatchedWords(bench.arena.words, hook)  # type: ignore[assignment]
    bench.arena.cards = WatchedCards(bench.arena.cards, hook)  # type: ignore[assignment]
