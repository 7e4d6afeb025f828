"""memory/naming.py: searching cards by a call or a session: none is missed, whatever was written there before."""

import uuid
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import new_card, read_card, read_heads, read_number, update_card
from audiohook.memory.naming import Naming
from tests.support.memory import SMALL, Bench, bench

CALLS = [str(uuid.UUID(int=number)) for number in range(3)]
"""Alike in their first eight bytes: the search finds all of them, the card tells."""

NAMES = st.sampled_from([*CALLS, str(uuid.UUID(int=7 << 96)), "short", "a-text-of-more-than-eight"])
STEPS = st.lists(
    st.tuples(
        st.integers(0, SMALL.slots - 1),
        st.sampled_from(["take", "take, killed", "take, late", "update", "silence", "search"]),
        NAMES,
    ),
    max_size=20,
)


@pytest.fixture(scope="module")
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


def next_epoch(house: Bench, slot: int) -> int:
    """Let the cursors say that the slot is taken for a new stream, whose card is not there yet."""
    at = layout.cursor_word(house.geometry, slot, "epoch")
    house.arena.words[at] += 1
    return house.arena.words[at]


def take(house: Bench, slot: int, **fields: str) -> None:
    new_card(house.arena, slot, epoch=next_epoch(house, slot), state=layout.LIVE, **fields)


def check(house: Bench, naming: Naming, field: str, wanted: str) -> None:
    found = naming.slots(field, wanted)
    named = [slot for slot in range(SMALL.slots) if read_card(house.reader, slot)[field] == wanted]
    assert set(named) <= set(found)
    assert len(set(found)) == len(found)
    assert [read_number(house.reader, slot, "state") for slot in named] == [layout.LIVE] * len(named)


@given(STEPS, NAMES, st.sampled_from(["call_id", "session_id"]))
def test_every_slot_that_names_it_is_found(
    house: Bench, steps: list[tuple[int, str, str]], wanted: str, field: str
) -> None:
    for slot in range(SMALL.slots):
        take(house, slot)
    naming = Naming(house.reader)
    for slot, step, name in steps:
        if step == "search":
            check(house, naming, field, name)
        elif step == "silence":
            new_card(house.arena, slot, state=layout.FREE)
        elif step == "update":
            update_card(house.arena, slot, state=layout.LIVE, user_id=name)
        elif step == "take, killed":
            next_epoch(house, slot)
        else:
            epoch = next_epoch(house, slot)
            if step == "take, late":
                check(house, naming, field, name)
            new_card(house.arena, slot, epoch=epoch, state=layout.LIVE, **{field: name})
    check(house, naming, field, wanted)
    check(house, Naming(house.arena), field, wanted)  # who comes later sees the same


def test_cards_that_begin_alike_are_told_apart_by_reading_them(house: Bench) -> None:
    for slot in range(SMALL.slots):
        take(house, slot, call_id=CALLS[slot])
    naming = Naming(house.reader)
    assert naming.slots("call_id", CALLS[0]) == list(range(SMALL.slots))
    assert naming.slots("call_id", str(uuid.UUID(int=9 << 96))) == []


def test_a_search_reads_only_the_cards_that_have_moved(house: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for slot in range(SMALL.slots):
        take(house, slot)
    new_card(house.arena, 2, state=layout.FREE)  # its epoch is not the cursors' any more
    naming = Naming(house.reader)
    naming.slots("call_id", "somebody")
    read: list[int] = []

    def reading(arena: Arena, slot: int, names: Iterable[str]) -> tuple[int, list[int]]:
        read.append(slot)
        return read_heads(arena, slot, names)

    monkeypatch.setattr("audiohook.memory.naming.read_heads", reading)
    naming.slots("call_id", "somebody")
    assert read == []
    update_card(house.arena, 0, user_id="somebody")
    take(house, 1, call_id="somebody")
    assert naming.slots("call_id", "somebody") == [1]
    assert read == [1]


def test_a_session_that_is_named_by_nobody_is_not_found_among_the_calls(house: Bench) -> None:
    take(house, 0, call_id="somebody", session_id="another")
    assert Naming(house.reader).slots("call_id", "another") == []
    assert Naming(house.reader).slots("session_id", "another") == [0]
