"""Event rings: in order, nothing twice, what was overwritten is counted, a killed writer's place is taken up."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.memory import layout
from audiohook.memory.event_ring import EventReader, EventWriter, encode_event
from tests.support.memory import SMALL, Bench, bench

CAPACITY = SMALL.event_records


@pytest.fixture(scope="module")
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


@given(st.lists(st.one_of(st.just("read"), st.just("other"), st.integers(1, 2 * CAPACITY + 3)), max_size=30))
def test_a_reader_gets_each_once_or_counts_it(house: Bench, steps: list[str | int]) -> None:
    writer = EventWriter(house.arena, 0)
    other = EventWriter(house.arena, 1)
    first = writer.written
    reader = EventReader(house.reader, 0, oldest=False)
    seen = 0
    for step in [*steps, "read"]:
        if step == "read":
            texts, lost = reader.take()
            seen += lost
            for text in texts:
                assert json.loads(text) == {"n": first + seen}
                seen += 1
            assert seen == writer.written - first
            assert reader.take() == ([], 0)
        elif step == "other":
            other.write(b'{"n":-1}')
        else:
            for _ in range(int(step)):
                writer.write(json.dumps({"n": writer.written}).encode())


def test_oldest_starts_at_what_is_still_there(house: Bench) -> None:
    writer = EventWriter(house.arena, 0)
    for _ in range(3 * CAPACITY):
        writer.write(json.dumps({"n": writer.written}).encode())
    texts, lost = EventReader(house.reader, 0, oldest=True).take()
    assert lost == 0
    assert [json.loads(text)["n"] for text in texts] == list(range(writer.written - CAPACITY, writer.written))
    assert EventReader(house.reader, 0, oldest=False).take() == ([], 0)


def test_exactly_full_is_not_lapped(house: Bench) -> None:
    writer = EventWriter(house.arena, 0)
    reader = EventReader(house.reader, 0, oldest=False)
    for _ in range(CAPACITY):
        writer.write(b"{}")
    assert reader.take() == ([b"{}"] * CAPACITY, 0)
    for _ in range(CAPACITY + 1):
        writer.write(b"{}")
    assert reader.take() == ([b"{}"] * CAPACITY, 1)


def test_a_record_that_is_being_overwritten_is_lost_and_not_half_read(house: Bench) -> None:
    """As if the writer had been stopped, or killed, between its claim and its commit."""
    writer = EventWriter(house.arena, 0)
    reader = EventReader(house.reader, 0, oldest=False)
    for _ in range(CAPACITY):
        writer.write(b"{}")
    claim = (layout.event_offset(house.geometry, 0) + layout.EVENT_CLAIM) // layout.WORD_BYTES
    house.arena.words[claim] = writer.written + 1
    texts, lost = reader.take()
    assert (len(texts), lost) == (CAPACITY - 1, 1)
    successor = EventWriter(house.arena, 0)
    assert successor.written == writer.written
    successor.write(b'{"after": 1}')
    assert reader.take() == ([b'{"after": 1}'], 0)


def test_text_up_to_a_record_and_no_longer(house: Bench) -> None:
    writer = EventWriter(house.arena, 2)
    reader = EventReader(house.reader, 2, oldest=False)
    longest = b"x" * layout.EVENT_TEXT_BYTES
    writer.write(longest)
    writer.write(b"")
    with pytest.raises(ValueError):
        writer.write(longest + b"x")
    assert reader.take() == ([longest, b""], 0)


@given(st.dictionaries(st.text(max_size=20), st.one_of(st.integers(), st.text(max_size=2000)), max_size=8))
def test_an_encoded_event_always_fits_and_says_what_it_is(fields: dict[str, object]) -> None:
    fields.pop("event", None)
    fields.pop("cut", None)
    text = encode_event("stream_started", fields)
    assert len(text) <= layout.EVENT_TEXT_BYTES
    shown = json.loads(text)
    assert shown.pop("event") == "stream_started"
    if shown.pop("cut", False):
        assert len(json.dumps(fields)) > 100
        assert list(shown.items()) == list(fields.items())[: len(shown)]
    else:
        assert shown == fields
