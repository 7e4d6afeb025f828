"""One loop over a stream whose peer came back, when the reader was too slow: what is lost is counted, and it goes on.

Slots are given away, silenced or overwritten at every place of a chain. Nothing here sleeps.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from audiohook.errors import Overrun
from audiohook.memory import layout
from audiohook.memory.block import Block
from tests.support.memory import Bench, KnownWriter, bench, known_samples
from tests.support.returning import ROOMY, Return, Steps, come_back, gaps_of, give_away, joined, leave, spans, two


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench(ROOMY) as made:
        for row in range(made.geometry.rows + 1):
            made.beat(row, time.monotonic_ns())
        yield made


@pytest.fixture
def known(house: Bench) -> KnownWriter:
    return KnownWriter(house.arena, house.pool)


@pytest.mark.parametrize("on_overrun", ["raise", "skip"])
def test_an_overrun_inside_the_earlier_stream(house: Bench, known: KnownWriter, on_overrun: Any) -> None:
    for _ in range(100):
        known.audio(960)
    leave(known)
    second = come_back(house, known, 300)
    second.audio(960)
    second.end()
    stream = house.stream(known.slot)
    steps = Steps(stream, on_overrun, frames=960, start=10)
    if on_overrun == "raise":
        with pytest.raises(Overrun) as caught:
            steps.take()
        assert caught.value.next_frame is not None
        assert caught.value.lost_frames == caught.value.next_frame - 10
        steps = Steps(stream, frames=960, start=caught.value.next_frame)
    got = steps.take()
    assert on_overrun == "raise" or stream.lost_frames == got[0].first_frame - 10
    assert sum(frames for _, frames in spans(got)) == 97_260 - got[0].first_frame
    assert gaps_of(got) == [(96_000, 300, "held", True)]


@pytest.mark.parametrize("on_overrun", ["raise", "skip"])
def test_the_beginning_of_the_later_stream_was_overwritten(house: Bench, known: KnownWriter, on_overrun: Any) -> None:
    """Its gap is not counted."""
    known.audio(700)
    leave(known)
    second = come_back(house, known, 90_000)
    for _ in range(100):
        second.audio(960)
    stream = house.stream(known.slot)
    steps = Steps(stream, on_overrun, frames=700, start="oldest")
    if on_overrun == "raise":
        with pytest.raises(Overrun) as caught:
            steps.take()
        assert caught.value.next_frame is not None
        assert caught.value.lost_frames == caught.value.next_frame - 90_700
        (block, *_) = Steps(stream, frames=700, start=caught.value.next_frame).take()
        assert block.first_frame == caught.value.next_frame
    else:
        first, block, *_ = steps.take()
        assert (first.first_frame, stream.lost_frames) == (0, block.first_frame - 90_700)
    assert np.array_equal(block.samples, known_samples(block.first_frame, 700, 1))


@pytest.mark.parametrize("on_overrun", ["raise", "skip"])
def test_the_earlier_slot_was_given_away_when_all_of_it_had_been_read(
    house: Bench, known: KnownWriter, on_overrun: Any
) -> None:
    """The reader never saw the card that names the next stream, and has lost nothing."""
    stream = house.stream(known.slot)
    steps = Steps(stream, on_overrun, frames=700, start="oldest", copy=True)
    known.audio(700)
    assert spans(steps.take()) == [(0, 700)]
    leave(known)
    second = come_back(house, known, 300)
    give_away(house, known).audio(5000)
    second.audio(400)
    got = steps.take()
    assert spans(got) == [(700, 700)]
    assert np.array_equal(got[0].samples[300:], known_samples(1000, 400, 1))
    assert stream.lost_frames == 0


@pytest.mark.parametrize("on_overrun", ["raise", "skip"])
@pytest.mark.parametrize("seen", [700, 400])
def test_the_earlier_slot_was_given_away_before_all_of_it_was_read(
    house: Bench, known: KnownWriter, on_overrun: Any, seen: int
) -> None:
    """Counted is what was known to be audio; where it goes on is known either way."""
    stream = house.stream(known.slot)
    steps = Steps(stream, on_overrun, frames=300, start="oldest", copy=True)
    known.audio(seen)
    assert spans(steps.take())[0] == (0, 300)
    read = seen // 300 * 300
    if seen < 700:
        known.audio(700 - seen)
    leave(known)
    second = come_back(house, known, 300)
    second.audio(600)
    second.end()
    give_away(house, known).audio(5000)
    if on_overrun == "raise":
        with pytest.raises(Overrun) as caught:
            steps.take()
        assert (caught.value.lost_frames, caught.value.next_frame) == (seen - read, 700)
        got = list(stream.blocks(300, start=700))
    else:
        got = steps.take()
        assert stream.lost_frames == seen - read
    assert spans(got) == [(700, 300), (1000, 300), (1300, 300)]
    assert np.array_equal(joined(got[1:]), known_samples(1000, 600, 1))


def test_a_stream_that_is_gone_is_begun_where_its_call_goes_on(house: Bench, known: KnownWriter) -> None:
    stream = house.stream(known.slot)
    two(house, known).end()
    give_away(house, known)
    assert next(iter(stream.blocks(300, start="oldest"))).first_frame == 700
    assert list(stream.blocks(300, start="live")) == []
    assert next(iter(stream.blocks(300, start=1900))).first_frame == 1900
    with pytest.raises(Overrun) as caught:
        stream.blocks(300, start=5)
    assert (caught.value.lost_frames, caught.value.next_frame) == (0, 700)
    assert next(iter(stream.blocks(300, start=5, on_overrun="skip"))).first_frame == 700


@pytest.mark.parametrize("on_overrun", ["raise", "skip"])
def test_a_stream_between_two_was_given_away(house: Bench, known: KnownWriter, on_overrun: Any) -> None:
    """What of its length was audio nobody knows any more."""
    stream = house.stream(known.slot)
    second = two(house, known)
    leave(second)
    third = come_back(house, second, 100)
    third.audio(200)
    third.end()
    give_away(house, second)
    steps = Steps(stream, on_overrun, frames=1000, start="oldest")
    if on_overrun == "raise":
        with pytest.raises(Overrun) as caught:
            steps.take()
        assert (caught.value.lost_frames, caught.value.next_frame) == (0, 2000)
        assert spans(list(stream.blocks(1000, start=2000))) == [(2000, 300)]
    else:
        assert spans(steps.take()) == [(0, 700), (2000, 300)]


def test_nothing_is_left_of_what_a_stream_went_on_in(house: Bench, known: KnownWriter) -> None:
    second = two(house, known)
    second.end()
    give_away(house, second)
    got: list[Block] = []
    with pytest.raises(Overrun) as caught:
        got.extend(house.stream(known.slot).blocks(1000, start="oldest", on_overrun="skip"))
    assert caught.value.next_frame is None
    assert spans(got) == [(0, 700)]


def test_a_slot_given_away_between_its_card_and_the_look_into_it(house: Bench, known: KnownWriter) -> None:
    """Its taker has moved the cursors and was killed before it wrote a card."""
    second = two(house, known)
    leave(second)
    third = come_back(house, second, 100)
    third.audio(200)
    third.end()
    house.arena.words[layout.cursor_word(house.geometry, second.slot, "epoch")] += 1
    steps = Steps(house.stream(known.slot), "skip", frames=1000, start="oldest")
    assert spans(steps.take()) == [(0, 700), (2000, 300)]


def test_the_return_of_a_killed_worker_is_not_the_one_that_was_taken_on(house: Bench, known: KnownWriter) -> None:
    """It had no audio; the peer came again, and the slot of the stream that it left was given away."""
    stream = house.stream(known.slot)
    known.audio(700)
    leave(known)
    lost = Return(house, known).known
    known.pool.let_go(known.slot)
    lost.pool.release(lost.slot, state=layout.ABORTED)
    second = come_back(house, known, 300)
    second.audio(1000)
    second.end()
    give_away(house, known)
    assert list(stream.blocks(300, start="oldest"))[1].first_frame == 1000


def test_an_earlier_stream_that_was_silenced(house: Bench, known: KnownWriter) -> None:
    """Its time was over before the reader looked again: nothing is left of it, and the call goes on."""
    stream = house.stream(known.slot)
    steps = Steps(stream, "skip", frames=700, start="oldest", copy=True)
    known.audio(700)
    assert spans(steps.take()) == [(0, 700)]
    known.audio(150)
    leave(known)
    second = come_back(house, known, 300)
    second.audio(400)
    assert house.pool.silence_ended(1 << 62, 0) == 1
    assert spans(steps.take()) == [(850, 700)]
    assert stream.lost_frames == 150
