"""Stream cards: two copies and one version word a slot.

A writer (whoever holds the slot's lock) fills the copy that is not current and then stores the next version; a reader
takes the current copy and keeps it only if the version did not move meanwhile. A writer killed in the middle leaves the
old card whole. Rejected: a sequence lock, which 98 % of kills left odd, with readers that hung
(tests/stress/test_cards.py).

Strings are UTF-8, cut to their field at a character's boundary; a slot's `state` is one of `layout.STREAM_STATES`.
"""

from typing import Any

import numpy as np

from audiohook.memory import layout
from audiohook.memory.arena import Arena

READ_TRIES = 1000

EMPTY = np.zeros((), layout.CARD)
_NAMES = layout.CARD.names or ()
_ROOM_BYTES = {name: layout.CARD[name].itemsize for name in _NAMES if layout.CARD[name].kind == "S"}


class TornCard(RuntimeError):
    """A card changed a thousand times while it was read: no writer does that."""


def read_card(arena: Arena, slot: int) -> dict[str, Any]:
    """Return one consistent copy of a slot's card, as plain ints and strings, with the `version` it had."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    for _ in range(READ_TRIES):
        version = words[at]
        values = arena.cards[slot, version & 1].item()
        if words[at] == version:
            fields = dict(zip(_NAMES, values, strict=True))
            for name in _ROOM_BYTES:
                fields[name] = fields[name].decode("utf-8", "replace")
            fields["version"] = version
            return fields
    raise TornCard(f"slot {slot}")


def read_number(arena: Arena, slot: int, name: str) -> int:
    """Return one number of a slot's card, without the cost of all the rest."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    for _ in range(READ_TRIES):
        version = words[at]
        number = int(arena.cards[slot, version & 1][name])
        if words[at] == version:
            return number
    raise TornCard(f"slot {slot}")


def slots_naming(arena: Arena, name: str, text: str) -> list[int]:
    """Return the slots whose card may have this text as its `call_id`, or `session_id`: read it to know.

    By its first eight bytes, in whichever copy, so that a word is compared and no string is copied. None is missed
    (tests/unit/test_cards_naming.py).
    """
    head = int.from_bytes(as_written(name, text)[: layout.WORD_BYTES], "little")
    found = np.flatnonzero(arena.heads[name] == head) >> 1  # two copies a slot
    return list(dict.fromkeys(found.tolist()))


def card_version(arena: Arena, slot: int) -> int:
    """Return the card's version: one load, to see cheaply whether anything changed."""
    return arena.words[layout.card_word(arena.geometry, slot)]


def update_card(arena: Arena, slot: int, **fields: int | str) -> None:
    """Change some fields of a card, all at once for every reader. Only for the holder of the slot's lock."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    version = words[at]
    arena.cards[slot, (version + 1) & 1] = arena.cards[slot, version & 1]
    _fill(arena.cards[slot, (version + 1) & 1], fields)
    words[at] = version + 1


def new_card(arena: Arena, slot: int, **fields: int | str) -> None:
    """Replace a card; whatever is not named is zero or empty, so nothing of an earlier call remains in it."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    version = words[at]
    arena.cards[slot, (version + 1) & 1] = EMPTY
    _fill(arena.cards[slot, (version + 1) & 1], fields)
    words[at] = version + 1
    # The copy that readers have just left still names the caller before; the next update would overwrite it anyway.
    arena.cards[slot, version & 1] = EMPTY


def _fill(copy: Any, fields: dict[str, int | str]) -> None:
    for name, value in fields.items():
        copy[name] = as_written(name, value) if isinstance(value, str) else value


def as_written(name: str, value: str) -> bytes:
    """Return a string as a card's field has it."""
    room = _ROOM_BYTES[name]
    value_bytes = value.encode("utf-8", "replace")
    if len(value_bytes) > room:
        value_bytes = value_bytes[:room].decode("utf-8", "ignore").encode("utf-8")
    return value_bytes
