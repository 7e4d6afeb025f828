"""Which streams a command means, looked up in a small arena."""

from collections.abc import Iterator

import pytest

from audiohook.control.errands import Target
from audiohook.control.targets import MAX_TARGETS, MOST_LISTED, find_call, find_stream
from audiohook.memory import layout
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.layout import Geometry
from tests.support.memory import RING_BYTES, Bench, bench

SIZES = Geometry(slots=MAX_TARGETS + 1, rows=2, ring_bytes=RING_BYTES, descriptors=96, event_records=8)


@pytest.fixture
def memory() -> Iterator[Bench]:
    with bench(SIZES) as made:
        yield made


def begin(memory: Bench, stream_id: str, call_id: str = "a-call", state: int = layout.LIVE) -> int:
    slot = memory.pool.acquire(0, 1, stream_id=stream_id, call_id=call_id, rate_hz=16_000, channels=1)
    assert slot is not None
    update_card(memory.arena, slot, state=state)
    return slot


def one(memory: Bench, start: str) -> Target:
    found = find_stream(memory.reader, start)
    assert isinstance(found, list), found
    (target,) = found
    return target


def slug(found: object) -> str:
    assert isinstance(found, dict)
    assert found["ok"] is False
    return str(found["slug"])


def test_a_stream_by_any_start_that_no_other_has(memory: Bench) -> None:
    slots = [begin(memory, stream_id) for stream_id in ("3f2a-1", "3f2b-2", "77")]
    assert [one(memory, start).slot for start in ("3f2a", "3f2b-2", "7")] == slots
    target = one(memory, "3f2a")
    card = read_card(memory.arena, target.slot)
    assert (target.epoch, target.stream_id, target.call_id) == (card["epoch"], "3f2a-1", "a-call")


@pytest.mark.parametrize("state", [layout.OPENING, layout.LIVE, layout.PAUSED, layout.HELD, layout.PARKED])
def test_streams_that_can_be_commanded(memory: Bench, state: int) -> None:
    slot = begin(memory, "3f2a", state=state)
    assert one(memory, "3f").slot == slot


@pytest.mark.parametrize("state", [layout.ENDED, layout.ABORTED])
def test_a_stream_that_is_over_is_told_apart_from_none(memory: Bench, state: int) -> None:
    begin(memory, "3f2a", state=state)
    assert slug(find_stream(memory.reader, "3f")) == "stream_over"
    assert slug(find_call(memory.reader, "a-call")) == "stream_over"
    assert slug(find_stream(memory.reader, "4")) == "no_such_stream"
    assert slug(find_call(memory.reader, "another")) == "no_such_call"


def test_the_live_one_is_meant_and_not_those_that_are_over(memory: Bench) -> None:
    begin(memory, "3f2a", state=layout.ENDED)
    live = begin(memory, "3f2b")
    assert one(memory, "3f").slot == live


def test_several_are_listed_as_far_as_anybody_reads(memory: Bench) -> None:
    for number in range(30):
        begin(memory, f"3f{number:02}")
    found = find_stream(memory.reader, "3f")
    assert slug(found) == "ambiguous"
    assert isinstance(found, dict)
    assert found["streams"] == [f"3f{number:02}" for number in range(MOST_LISTED)]
    assert found["error"].startswith("30 streams begin with 3f: 3f00, 3f01,")
    assert found["error"].endswith("3f19 and 10 more")


def test_every_stream_of_a_call_and_of_no_other(memory: Bench) -> None:
    for stream_id, call_id, state in (
        ("b", "One", layout.LIVE),
        ("a", "one", layout.PARKED),
        ("c", "one", layout.ENDED),
        ("d", "one2", layout.LIVE),
        ("e", "on", layout.LIVE),
    ):
        begin(memory, stream_id, call_id, state)
    found = find_call(memory.reader, "one")
    assert isinstance(found, list)
    assert [target.stream_id for target in found] == ["a", "b"]


def test_a_call_of_very_many_streams_is_refused(memory: Bench) -> None:
    for number in range(MAX_TARGETS + 1):
        begin(memory, f"{number:03}")
    assert slug(find_call(memory.reader, "a-call")) == "too_many_streams"


def test_a_free_slot_is_no_stream(memory: Bench) -> None:
    assert slug(find_call(memory.reader, "")) == "no_such_call"
