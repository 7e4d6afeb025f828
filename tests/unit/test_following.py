"""One loop over a stream whose peer leaves and comes back: every frame once, whatever the instant at which it looks.

Nothing here sleeps: a Pause is a value, and what it would wait for is done before the next step is asked for. Samples
say where on the timeline they belong (`known_samples`), across all streams of a chain.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.errors import GapFound
from audiohook.memory import layout
from audiohook.memory.block import Block
from audiohook.memory.cards import new_card, update_card
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


# ------------------------------------------------------------------------------------------------ while it is PARKED


def test_of_a_parked_stream_comes_what_there_is_and_no_end(house: Bench, known: KnownWriter) -> None:
    stream = house.stream(known.slot)
    steps = Steps(stream, frames=512, start="oldest")
    known.audio(700)
    assert spans(steps.take()) == [(0, 512)]
    leave(known)
    assert (stream.state, stream.parked, stream.over) == ("PARKED", True, False)
    assert spans(steps.take()) == [(512, 188)], "what was said before a hold is not kept back until its end"
    assert [steps.take(), steps.ended] == [[], False]


def test_nobody_comes_back(house: Bench, known: KnownWriter) -> None:
    stream = house.stream(known.slot)
    steps = Steps(stream, frames=512, start="oldest")
    known.audio(700)
    leave(known)
    assert spans(steps.take()) == [(0, 512), (512, 188)]
    assert house.pool.end_parked(*known.key) is not None
    assert steps.ended
    assert (stream.state, stream.taken_on, stream.continued_by) == ("ENDED", False, None)


# ------------------------------------------------------------------------------------------------ one that comes back


@pytest.mark.parametrize("waits", [True, False], ids=["reader waits", "reader is behind"])
def test_one_loop_hears_the_call_go_on(house: Bench, known: KnownWriter, waits: bool) -> None:
    stream = house.stream(known.slot)
    steps = Steps(stream, frames=512, start="oldest")
    got: list[Block] = []

    def look() -> None:
        if waits:
            got.extend(steps.take())

    known.audio(700)
    look()
    leave(known)
    look()
    back = Return(house, known)
    look()  # the new stream is there, and the old card does not say so yet
    second = back.link()
    look()
    second.gap(1600, layout.HOLD | layout.MEASURED)
    second.audio(900)
    look()
    second.end(end_reason="peer_closed")
    got += steps.take()
    assert steps.ended
    assert spans(got) == [(0, 512), (512, 188), *((700 + at, 512) for at in range(0, 2048, 512)), (2748, 452)]
    expected = known_samples(0, 3200, 1)
    expected[700:2300] = 0
    assert np.array_equal(joined(got), expected)
    assert sum(frames for _, frames, *_ in gaps_of(got)) == 1600
    assert {gap[2:] for gap in gaps_of(got)} == {("held", True)}
    assert stream.lost_frames == 0


def test_who_belongs_to_whom(house: Bench, known: KnownWriter) -> None:
    first = house.stream(known.slot)
    known.audio(320)
    leave(known)
    assert (first.continues, first.continued_by, first.returned, first.taken_on) == (None, None, False, False)
    second_known = come_back(house, known, 100)
    second = first.continued_by
    assert second is not None
    assert (second.slot, second.epoch, second.returned, second.taken_on) == (*second_known.key, True, False)
    assert (first.state, first.over, first.taken_on, first.parked) == ("ENDED", True, True, False)
    earlier = second.continues
    assert earlier is not None
    assert (earlier.slot, earlier.epoch) == known.key
    give_away(house, known)
    assert second.continues is None
    second_known.end()
    give_away(house, second_known)
    assert first.continued_by is None


@pytest.mark.parametrize("frames", [100, 512, 5000])
def test_three_streams_are_one_loop(house: Bench, known: KnownWriter, frames: int) -> None:
    stream = house.stream(known.slot)
    known.audio(700)
    leave(known)
    second = come_back(house, known, 333)
    second.audio(801)
    leave(second)
    third = come_back(house, second, 50)
    third.audio(99)
    third.end()
    got = list(stream.blocks(frames, start="oldest"))
    expected = known_samples(0, 1983, 1)
    expected[700:1033] = expected[1834:1884] = 0
    assert np.array_equal(joined(got), expected)
    ends = {first + frames_of for first, frames_of in spans(got) if frames_of < frames}
    assert ends <= {700, 1834, 1983}, "only the last block of each stream is shorter"
    assert [stream.totals.length, second.writer.media_frames - 700] == [700, 1134]


def test_a_second_stream_that_was_left_before_it_said_anything(house: Bench, known: KnownWriter) -> None:
    stream = house.stream(known.slot)
    known.audio(100)
    leave(known)
    second = come_back(house, known)
    leave(second)
    come_back(house, second).audio(100)
    steps = Steps(stream, frames=100, start="oldest")
    assert spans(steps.take()) == [(0, 100), (100, 100)]


def test_what_a_peer_says_it_continues_is_another_stream(house: Bench, known: KnownWriter) -> None:
    """`audiohook2`: two sessions, and two streams for whoever reads them."""
    first = house.stream(known.slot)
    known.audio(320)
    known.end()
    names: dict[str, int | str] = {"continues_slot": known.slot, "continues_epoch": known.card["epoch"]}
    second = KnownWriter(house.arena, house.pool, identity={**names, "media_base": 320})
    update_card(house.arena, known.slot, continued_by_slot=second.slot, continued_by_epoch=second.card["epoch"])
    second.audio(320)
    assert spans(list(first.blocks(320, start="oldest"))) == [(0, 320)]
    assert first.continued_by is not None
    assert first.continued_by.slot == second.slot


def test_a_card_of_zeros_continues_nothing(house: Bench, known: KnownWriter) -> None:
    """A FREE slot's card says slot 0 and epoch 0, and no stream has that epoch."""
    known.end()
    new_card(house.arena, known.slot, state=layout.FREE)
    stream = house.stream(known.slot)
    assert (stream.continues, stream.continued_by) == (None, None)


# ------------------------------------------------------------------------------------------------ where it starts


@pytest.mark.parametrize(("start", "first"), [("oldest", 0), (0, 0), (699, 699), (700, 700), (999, 999), (1500, 1500)])
def test_start_anywhere_in_the_chain(house: Bench, known: KnownWriter, start: Any, first: int) -> None:
    second = two(house, known)
    second.end()
    got = list(house.stream(known.slot).blocks(64, start=start))
    expected = known_samples(0, 2000, 1)
    expected[700:1000] = 0
    assert got[0].first_frame == first
    assert np.array_equal(joined(got), expected[first:])


def test_live_is_the_end_of_the_last_stream(house: Bench, known: KnownWriter) -> None:
    second = two(house, known)
    steps = Steps(house.stream(known.slot), frames=100, start="live")
    assert steps.take() == []
    second.audio(100)
    assert spans(steps.take()) == [(2000, 100)]


def test_start_at_a_frame_of_a_stream_that_is_still_to_come(house: Bench, known: KnownWriter) -> None:
    known.audio(700)
    leave(known)
    steps = Steps(house.stream(known.slot), frames=100, start=1500)
    assert steps.take() == []
    come_back(house, known, 300).audio(1000)
    assert spans(steps.take())[:2] == [(1500, 100), (1600, 100)]


# ------------------------------------------------------------------------------------------------ gaps


def test_the_time_between_jumped_over(house: Bench, known: KnownWriter) -> None:
    two(house, known).end()
    got = list(house.stream(known.slot).blocks(600, start="oldest", gaps="skip"))
    assert spans(got) == [(0, 600), (600, 100), (1000, 600), (1600, 400)]
    assert gaps_of(got) == [(700, 300, "held", True)]


def test_the_time_between_raised_and_gone_on_behind(house: Bench, known: KnownWriter) -> None:
    two(house, known).end()
    stream = house.stream(known.slot)
    got: list[Block] = []
    with pytest.raises(GapFound) as caught:
        got.extend(stream.blocks(600, start="oldest", gaps="raise"))
    assert (caught.value.first_frame, caught.value.frames, caught.value.cause) == (700, 300, "held")
    got.extend(stream.blocks(600, start=1000, gaps="raise"))
    assert spans(got) == [(0, 600), (600, 100), (1000, 600), (1600, 400)]


# ------------------------------------------------------------------------------------------------ resampled


def floats(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32_768)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100])
@pytest.mark.parametrize("gaps", ["silence", "skip"])
def test_resampled_as_one_signal(house: Bench, known: KnownWriter, rate_hz: int, gaps: Any) -> None:
    second = two(house, known)
    leave(second)
    come_back(house, second).end()
    signal = known_samples(0, 2000, 1)
    signal[700:1000] = 0
    if gaps == "skip":
        signal = np.concatenate([signal[:700], signal[1000:]])
    got = list(house.stream(known.slot).blocks(160, start="oldest", rate=rate_hz, dtype="float32", gaps=gaps))
    expected = floats(signal)
    if rate_hz != 16_000:
        expected = soxr.resample(expected, 16_000, rate_hz, quality="HQ")
    assert np.array_equal(joined(got), expected)
    assert {block.frames for block in got[:-1]} == {160}, "only the very last one is shorter"
    assert sum(gap[1] for gap in gaps_of(got)) == 300


# ------------------------------------------------------------------------------------------------ any life of a call


told = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["audio", "gap"]), st.integers(1, 900)),
        st.tuples(st.sampled_from(["leave", "begin", "link", "look"]), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=80)
@given(told, st.integers(1, 700), st.booleans())
def test_any_life_of_a_call_is_heard_once_and_whole(told: list[tuple[str, int]], frames: int, converted: bool) -> None:
    with bench(ROOMY) as house:
        for row in range(house.geometry.rows + 1):
            house.beat(row, time.monotonic_ns())
        known = KnownWriter(house.arena, house.pool)
        parked, coming, returns = False, None, 0
        dtype = "float32" if converted else "int16"
        steps = Steps(house.stream(known.slot), frames=frames, start="oldest", copy=True, dtype=dtype)
        got: list[Block] = []
        silent: list[tuple[int, int]] = []
        for what, size in told:
            if what == "look":
                got += steps.take()
            elif what == "audio" and not parked:
                known.audio(size)
            elif what == "gap" and not parked:
                silent.append((known.writer.media_frames, size))
                known.gap(size, layout.HOLD | layout.MEASURED)
            elif what == "leave" and not parked:
                leave(known)
                parked = True
            elif what == "begin" and parked and coming is None and returns < ROOMY.slots - 1:
                coming, returns = Return(house, known), returns + 1
            elif what == "link" and coming is not None:
                known, coming, parked = coming.link(), None, False
        if coming is not None:
            known, parked = coming.link(), False
        if parked:
            house.pool.end_parked(*known.key)
        else:
            known.end()
        got += steps.take()
        assert steps.ended
        length = known.writer.media_frames
        expected = known_samples(0, length, 1)
        for first, size in silent:
            expected[first : first + size] = 0
        heard = joined(got) if got else expected[:0]
        assert np.array_equal(heard, floats(expected) if converted else expected)
        assert [first for first, _ in spans(got)] == np.cumsum([0, *(size for _, size in spans(got))])[:-1].tolist()
        if converted:
            assert all(block.frames == frames for block in got[:-1])
