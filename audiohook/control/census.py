"""Which streams there are, and which are new since the last look. Reads only the cards that have changed.

Knows no desk and no kind of stream: how one is made of a slot and its card is passed in. Waits for nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import numpy as np

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card
from audiohook.memory.view import StreamView

AnyStream = TypeVar("AnyStream", bound=StreamView)


class Chains:
    """Which streams are heard already by whoever was given the one that they go on from, and reads its `blocks()`."""

    def __init__(self) -> None:
        self._heard: dict[int, int] = {}  # slot to epoch: bounded, however many streams there are

    def begins(self, stream: StreamView) -> bool:
        """Note that a stream is about to be given out; return whether it should be. Ask in the order of their openings.

        Not if it is the return of one that was: two loops would read the same call.
        """
        slot, epoch = stream.continues_key
        heard = stream.returned and self._heard.get(slot) == epoch
        self._heard[stream.slot] = stream.epoch
        return not heard


def heads(streams: Iterable[AnyStream]) -> list[AnyStream]:
    """Return the streams, in the order of their openings, that are not the return of another of them."""
    chains = Chains()
    return [stream for stream in streams if chains.begins(stream)]


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
