"""Which stream goes on where another one ended, as their cards say it.

Knows cards only. A card's `continued_by` and its successor's `continues` name one another by slot and epoch. One of the
two may be gone, since its slot was given to somebody else: then the other is found by what is left
(tests/unit/test_following_lost.py).
"""

from typing import Any

import numpy as np

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card

Key = tuple[int, int]
"""A stream of one arena: its slot and epoch."""


def card_of(arena: Arena, key: Key) -> dict[str, Any] | None:
    """Return the card of a stream, with its `slot`, None if there is none or its slot is not its own any more."""
    slot, epoch = key
    if slot >= arena.geometry.slots or not epoch:
        return None
    card = read_card(arena, slot)
    return {**card, "slot": slot} if card["epoch"] == epoch else None


def card_behind(arena: Arena, key: Key, named: Key | None) -> dict[str, Any] | None:
    """Return the card of the stream that a stream went on in, None if it went on in none that is still there.

    `named` is what its own card says, None if that card is gone. If the one named is gone, it is the one behind that.
    """
    if named is not None:
        card = card_of(arena, named)
        if card is not None:
            return card
        key = named
    return _returned_to(arena, key)


def _returned_to(arena: Arena, key: Key) -> dict[str, Any] | None:
    """Return the newest card that says of itself that it is the return of this stream.

    An older one is of a worker that was killed before the two were tied together, and has no audio.
    """
    slot, epoch = key
    slots = np.arange(arena.geometry.slots)
    current = (arena.card_versions & np.uint64(1)).astype(np.intp)
    same_slot = arena.cards["continues_slot"][slots, current] == slot
    found = []
    for candidate in map(int, np.flatnonzero(same_slot & (arena.cards["continues_epoch"][slots, current] == epoch))):
        card = read_card(arena, candidate)
        if card["flags"] & layout.FLAG_RETURN and (card["continues_slot"], card["continues_epoch"]) == key:
            found.append({**card, "slot": candidate})
    return max(found, key=lambda card: card["opened_monotonic_ns"], default=None)
