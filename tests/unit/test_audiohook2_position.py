"""Durations to the nanosecond and media time in whole frames, without a float and without drift."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.session.audiohook2_position import (
    MAX_DURATION_NS,
    MAX_OFFERED_NS,
    MediaTime,
    duration_of,
    format_duration,
    frames_in,
    parse_duration,
)
from audiohook.units import NS_PER_S

RATE_HZ = 8000
FRAME_NS = NS_PER_S // RATE_HZ


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("PT0S", 0),
        ("PT1.2S", 1_200_000_000),
        ("PT0.001811454S", 1_811_454),
        ("PT.5S", 500_000_000),
        ("PT5.S", 5_000_000_000),
        ("PT007S", 7_000_000_000),
        ("PT0.0000000004S", 0),
        ("PT0.0000000005S", 1),
        ("PT0.9999999999S", 1_000_000_000),
        ("PT2678400S", MAX_DURATION_NS),
    ],
)
def test_durations(text: str, duration_ns: int) -> None:
    assert parse_duration(text) == duration_ns


@pytest.mark.parametrize(
    "text",
    [
        *("", "PT", "PTS", "PT.S", "1", "PT1", "1S", "PT1M", "P1D", "PT1H2S", "PT-1S", "PT+1S", "PT1e3S", "PT1.2.3S"),
        *(" PT1S", "PT1S ", "PT1S\n", "pt1s", "PT1,5S", "PT１S", "PTNaNS", "PTinfS", "PT 1S", "PT1_0S"),
        *("PT2678400.000000001S", "PT99999999999999999999S", f"PT{'9' * 10_000}S", f"PT0.{'0' * 10_000}S"),
    ],
)
def test_what_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@given(st.integers(0, MAX_DURATION_NS))
def test_nanoseconds_come_back(duration_ns: int) -> None:
    assert parse_duration(format_duration(duration_ns)) == duration_ns


@given(st.decimals(0, 2_678_400, places=14, allow_nan=False))
def test_reading_rounds_to_the_nearest_nanosecond(seconds: Decimal) -> None:
    exact = (seconds * NS_PER_S).to_integral_value(ROUND_HALF_UP)
    assert parse_duration(f"PT{seconds:f}S") == min(exact, MAX_DURATION_NS)


@given(st.integers(0, MAX_DURATION_NS // FRAME_NS))
def test_frames_come_back(frames: int) -> None:
    text = duration_of(frames, RATE_HZ)
    assert Fraction(text[2:-1]) == Fraction(frames, RATE_HZ), "exactly"
    duration_ns = parse_duration(text)
    assert duration_ns is not None
    assert frames_in(duration_ns, RATE_HZ) == frames


@pytest.mark.parametrize(("frames", "text"), [(0, "PT0S"), (1, "PT0.000125S"), (9600, "PT1.2S"), (80_000, "PT10S")])
def test_what_is_sent_has_no_needless_digit(frames: int, text: str) -> None:
    assert duration_of(frames, RATE_HZ) == text


def test_a_sum_is_rounded_once() -> None:
    media = MediaTime(RATE_HZ, 0, None)
    for _ in range(1000):
        start_ns = media.position * FRAME_NS
        media.skip(start_ns + 40_000, FRAME_NS * 10 + 20_000)
    assert media.position == 10_000, "0.32 + 10.16 frames are 10, a thousand times; rounded apart they would be as well"
    media.skip(media.position * FRAME_NS + 60_000, 60_000)
    assert media.position == 10_001, "0.48 + 0.48 frames are 1; rounded apart they would be 0"


# Media time


def state(media: MediaTime) -> tuple[int, int, int]:
    return media.base, media.position, media.end


def test_audio_and_spans_add_up() -> None:
    media = MediaTime(RATE_HZ, 0, None)
    assert media.take_audio(800) == 0
    assert media.skip(100_000_000, 900_000_000) == (7200, False)
    assert state(media) == (0, 8000, 8000)


def test_a_hole_before_the_start_belongs_to_the_gap() -> None:
    media = MediaTime(RATE_HZ, 0, None)
    assert media.skip(NS_PER_S, NS_PER_S) == (16_000, False)


def test_an_overlap_is_said_and_never_goes_back() -> None:
    media = MediaTime(RATE_HZ, 0, None)
    media.take_audio(16_000)
    assert media.skip(NS_PER_S, 0) == (0, True)
    assert media.skip(0, NS_PER_S) == (0, True)
    assert media.skip(NS_PER_S, 2 * NS_PER_S) == (8000, True), "only what goes beyond"
    assert state(media) == (0, 24_000, 24_000)


@pytest.mark.parametrize(("off_ns", "agrees"), [(0, True), (FRAME_NS, True), (-FRAME_NS, True), (2 * FRAME_NS, False)])
def test_a_position_may_differ_by_a_frame(off_ns: int, agrees: bool) -> None:
    media = MediaTime(RATE_HZ, 0, None)
    media.take_audio(8000)
    assert media.agrees(NS_PER_S + off_ns) is agrees


# Continued


def test_what_the_earlier_stream_has_is_asked_away_or_left_out() -> None:
    media = MediaTime(RATE_HZ, 85 * NS_PER_S, 100 * RATE_HZ)
    assert media.discard_to == "PT100S"
    assert state(media) == (800_000, 680_000, 800_000)
    assert media.take_audio(8000) == 8000, "offered all the same: all of it is known"
    assert media.take_audio(14 * RATE_HZ + 5) == 14 * RATE_HZ, "the last five frames are new"
    assert state(media) == (800_000, 800_005, 800_005)


def test_a_peer_that_leaves_out_what_it_was_asked_to_makes_no_gap() -> None:
    media = MediaTime(RATE_HZ, 85 * NS_PER_S, 100 * RATE_HZ)
    assert media.skip(85 * NS_PER_S, 15 * NS_PER_S) == (0, False)
    assert media.discard_to is None
    assert state(media) == (800_000, 800_000, 800_000)


def test_a_peer_that_leaves_out_more_makes_a_gap_of_the_rest() -> None:
    media = MediaTime(RATE_HZ, 85 * NS_PER_S, 100 * RATE_HZ)
    assert media.skip(85 * NS_PER_S, 16 * NS_PER_S) == (8000, False)


def test_what_nobody_has_is_a_gap_at_the_start() -> None:
    media = MediaTime(RATE_HZ, 103 * NS_PER_S, 100 * RATE_HZ)
    assert (media.first_gap, media.discard_to) == (3 * RATE_HZ, None)
    assert state(media) == (800_000, 824_000, 824_000)


def test_positions_that_start_anew_are_shifted_and_lose_nothing() -> None:
    reached = 100 * RATE_HZ
    media = MediaTime(RATE_HZ, 0, reached)
    assert (media.first_gap, media.discard_to) == (0, None), "100 s of new audio must not be asked away"
    assert media.take_audio(8000) == 0
    assert media.skip(NS_PER_S, NS_PER_S) == (8000, False)
    assert state(media) == (reached, reached + 16_000, reached + 16_000)
    assert media.agrees(2 * NS_PER_S)


def test_the_longest_history_is_still_an_overlap() -> None:
    assert MediaTime(RATE_HZ, 0, frames_in(MAX_OFFERED_NS, RATE_HZ)).discard_to == "PT30S"


def test_an_unknown_earlier_stream_leaves_the_peers_position() -> None:
    assert state(MediaTime(RATE_HZ, 85 * NS_PER_S, None)) == (680_000, 680_000, 680_000)


SPANS_NS = st.integers(0, MAX_DURATION_NS)


@given(
    first_ns=SPANS_NS,
    reached=st.none() | st.integers(0, 1 << 40),
    steps=st.lists(st.integers(0, 70_000) | st.tuples(SPANS_NS, SPANS_NS)),
)
def test_nothing_is_ever_negative_and_everything_adds_up(
    first_ns: int, reached: int | None, steps: list[int | tuple[int, int]]
) -> None:
    media = MediaTime(RATE_HZ, first_ns, reached)
    frames = media.first_gap
    assert media.base + frames <= media.end
    for step in steps:
        before = media.end
        if isinstance(step, int):
            old = media.take_audio(step)
            assert 0 <= old <= step
            frames += step - old
        else:
            gap, _ = media.skip(*step)
            assert gap >= 0
            frames += gap
        assert media.end >= before
        assert media.base + frames == media.end
