"""Which streams there are, and which are new since the last look. Reads only the cards that have changed.

Knows no desk and no kind of stream: how one is made of a slot and its card is passed in. Waits for nothing.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card
from audiohook.memory.stream import StreamView

AnyStream = TypeVar("AnyStream", bound=StreamView)


class Census(Generic[AnyStream]):
    """One reader's view of the pool. Each look returns every stream whose card has changed since the one before."""

    def __init__(self, arena: Arena, make_stream: Callable[[int, dict[str, Any]], AnyStream]) -> None:
        self._arena = arena
        self._make_stream = make_stream
        self._versions = np.zeros(arena.geometry.slots, np.uint64)

    def look(self) -> list[AnyStream]:
        """Return the streams of all changed cards, live or over, in the order in which they began."""
        versions = self._arena.card_versions.copy()
        changed = np.flatnonzero(versions != self._versions)
        self._versions = versions
        found = []
        for slot in map(int, changed):
            card = read_card(self._arena, slot)
            if card["state"] > layout.OPENING:
                found.append(self._make_stream(slot, card))
        return sorted(found, key=lambda stream: stream.opened_monotonic_ns)
