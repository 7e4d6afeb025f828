"""Stream cards: two copies and one version word a slot.

A writer (whoever holds the slot's lock) fills the copy that is not current and then stores the next version; a reader
takes the current copy and keeps it only if the version did not move meanwhile. A writer killed in the middle leaves the
old card whole. Rejected: a sequence lock, which 98 % of kills left odd, with readers that hung
(tests/stress/test_cards.py).

Strings are UTF-8, cut to their field at a character's boundary; a slot's `state` is one of `layout.STREAM_STATES`.
"""

from collections.abc import Iterable
from struct import Struct, calcsize
from typing import Any

from audiohook.memory import layout
from audiohook.memory.arena import Arena

READ_TRIES = 1000

_NAMES = layout.CARD.names or ()
_PLACES = {name: (place[1], place[0].itemsize) for name, place in (layout.CARD.fields or {}).items()}
"""Name -> its offset in a copy, and its size in bytes."""

_ROOM_BYTES = {name: size for name, (_, size) in _PLACES.items() if layout.CARD[name].kind == "S"}
_NUMBERS = {4: "I", 8: "Q"}
_FORMATS = (f"{_ROOM_BYTES[name]}s" if name in _ROOM_BYTES else _NUMBERS[_PLACES[name][1]] for name in _NAMES)
_FIELDS = "<" + "".join(_FORMATS)
_COPY = Struct(f"{_FIELDS}{layout.CARD_BYTES - calcsize(_FIELDS)}x")
"""All fields, which lie one behind the other. NumPy's way to one of them, by its name, takes a microsecond, and of a
call's cards some sixty are stored or loaded."""

_BLANK: dict[str, int | str | bytes] = {name: b"" if name in _ROOM_BYTES else 0 for name in _NAMES}
_NOTHING = bytes(layout.CARD_BYTES)


class TornCard(RuntimeError):
    """A card changed a thousand times while it was read: no writer does that."""


def read_card(arena: Arena, slot: int) -> dict[str, Any]:
    """Return one consistent copy of a slot's card, as plain ints and strings, with the `version` it had."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    for _ in range(READ_TRIES):
        version = words[at]
        here = _copy_byte(at, version)
        values = _COPY.unpack(arena.map[here : here + layout.CARD_BYTES])
        if words[at] == version:
            fields: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
            for name in _ROOM_BYTES:
                fields[name] = fields[name].rstrip(b"\0").decode("utf-8", "replace")
            fields["version"] = version
            return fields
    raise TornCard(f"slot {slot}")


def read_number(arena: Arena, slot: int, name: str) -> int:
    """Return one number of a slot's card, without the cost of all the rest."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    offset, size = _PLACES[name]
    for _ in range(READ_TRIES):
        version = words[at]
        here = _copy_byte(at, version) + offset
        number = int.from_bytes(arena.map[here : here + size], "little")
        if words[at] == version:
            return number
    raise TornCard(f"slot {slot}")


def _copy_byte(version_word: int, version: int) -> int:
    """Return the byte of the arena at which the copy begins that is good in this version."""
    return version_word * layout.WORD_BYTES + layout.CARD_VERSION_BYTES + (version & 1) * layout.CARD_BYTES


def read_heads(arena: Arena, slot: int, names: Iterable[str]) -> tuple[int, list[int]]:
    """Return a card's version, and the first eight bytes of some fields as numbers: a u64, or the start of a text."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    for _ in range(READ_TRIES):
        version = words[at]
        places = [_copy_byte(at, version) + _PLACES[name][0] for name in names]
        heads = [words[place // layout.WORD_BYTES] for place in places]
        if words[at] == version:
            return version, heads
    raise TornCard(f"slot {slot}")


def card_version(arena: Arena, slot: int) -> int:
    """Return the card's version: one load, to see cheaply whether anything changed."""
    return arena.words[layout.card_word(arena.geometry, slot)]


def update_card(arena: Arena, slot: int, **fields: int | str) -> None:
    """Change some fields of a card, all at once for every reader. Only for the holder of the slot's lock."""
    words, at = arena.words, layout.card_word(arena.geometry, slot)
    version = words[at]
    here = _copy_byte(at, version)
    copy = bytearray(arena.map[here : here + layout.CARD_BYTES])
    for name, value in fields.items():
        if name not in _PLACES:
            raise ValueError(f"a card has no field {name}")
        place, size = _PLACES[name]
        copy[place : place + size] = (
            as_written(name, value).ljust(size, b"\0") if isinstance(value, str) else value.to_bytes(size, "little")
        )
    _store(arena, at, version, copy)


def new_card(arena: Arena, slot: int, **fields: int | str) -> None:
    """Replace a card; whatever is not named is zero or empty, so nothing of an earlier call remains in it."""
    at = layout.card_word(arena.geometry, slot)
    version = arena.words[at]
    values = {**_BLANK, **fields}
    if len(values) != len(_BLANK):
        raise ValueError(f"a card has no field {', '.join(fields.keys() - _BLANK.keys())}")
    for name, text in fields.items():
        if isinstance(text, str):
            values[name] = as_written(name, text)
    _store(arena, at, version, _COPY.pack(*values.values()))
    # The copy that readers have just left still names the caller before; the next update would overwrite it anyway.
    here = _copy_byte(at, version)
    arena.map[here : here + layout.CARD_BYTES] = _NOTHING


def _store(arena: Arena, at: int, version: int, copy: bytes | bytearray) -> None:
    """Write the copy that nobody reads, in one piece, and make it the good one."""
    there = _copy_byte(at, version + 1)
    arena.map[there : there + layout.CARD_BYTES] = copy
    arena.words[at] = version + 1


def as_written(name: str, value: str) -> bytes:
    """Return a string as a card's field has it."""
    room = _ROOM_BYTES[name]
    value_bytes = value.encode("utf-8", "replace")
    if len(value_bytes) > room:
        value_bytes = value_bytes[:room].decode("utf-8", "ignore").encode("utf-8")
    return value_bytes
