"""Searching cards by a call or a session: none is missed, whatever was written there before."""

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.memory import layout
from audiohook.memory.cards import new_card, read_card, read_number, slots_naming, update_card
from tests.support.memory import SMALL, Bench, bench

CALLS = [str(uuid.UUID(int=number)) for number in range(3)]
"""Alike in their first eight bytes: the search finds all of them, the card tells."""

NAMES = st.sampled_from([*CALLS, str(uuid.UUID(int=7 << 96)), "short", "a-text-of-more-than-eight"])
CHANGES = st.lists(st.tuples(st.integers(0, SMALL.slots - 1), st.sampled_from(["new", "update"]), NAMES), max_size=12)


@pytest.fixture(scope="module")
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


@given(CHANGES, NAMES, st.sampled_from(["call_id", "session_id"]))
def test_every_slot_that_names_it_is_found(
    house: Bench, changes: list[tuple[int, str, str]], wanted: str, field: str
) -> None:
    arena = house.arena
    for slot in range(SMALL.slots):
        new_card(arena, slot)
        new_card(arena, slot)
    for slot, kind, name in changes:
        (new_card if kind == "new" else update_card)(arena, slot, **{field: name, "state": layout.LIVE})
    found = slots_naming(arena, field, wanted)
    named = [slot for slot in range(SMALL.slots) if read_card(arena, slot)[field] == wanted]
    assert set(named) <= set(found)
    assert len(set(found)) == len(found)
    assert [read_number(arena, slot, "state") for slot in named] == [layout.LIVE] * len(named)
