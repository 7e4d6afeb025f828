"""Converted blocks: sample for sample what soxr makes of the whole signal, whatever lies in it and however it is cut.

The expected signal is resampled in one piece, by soxr's one-shot function, from samples that the test knows.
"""

import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.errors import GapFound, Overrun
from audiohook.memory import layout
from audiohook.memory.block import Block
from audiohook.memory.stream import Stream
from tests.support.memory import Bench, KnownWriter, bench, known_samples

RATES = [(8000, 16_000), (16_000, 8000), (16_000, 24_000), (8000, 11_025), (16_000, 44_100)]


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench() as made:
        made.beat(0, time.monotonic_ns())  # a writer that lives
        yield made


def floats(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32_768)


def resampled(samples: npt.NDArray[np.int16], native_hz: int, rate_hz: int) -> npt.NDArray[np.float32]:
    made: npt.NDArray[np.float32] = soxr.resample(floats(samples), native_hz, rate_hz, quality="HQ")
    return made


def joined(blocks: list[Block]) -> npt.NDArray[Any]:
    return np.concatenate([block.samples for block in blocks])


def ended(house: Bench, known: KnownWriter) -> Stream:
    stream = house.stream(known.slot)
    known.end(end_reason="peer_closed")
    return stream


def gap_spans(blocks: list[Block]) -> list[tuple[int, int, str]]:
    """Return the gaps of blocks in a row, those that go on in the next block in one piece."""
    spans: list[tuple[int, int, str]] = []
    for gap in (gap for block in blocks for gap in block.gaps):
        if spans and spans[-1][2] == gap.cause and spans[-1][0] + spans[-1][1] == gap.first_frame:
            spans[-1] = (spans[-1][0], spans[-1][1] + gap.frames, gap.cause)
        else:
            spans.append((gap.first_frame, gap.frames, gap.cause))
    return spans


# ------------------------------------------------------------------------------------------------ the samples


@pytest.mark.parametrize(("native_hz", "rate_hz"), RATES)
@pytest.mark.parametrize("frames", [1, 100, 512, 60_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_comes_out_is_the_whole_signal_resampled(
    house: Bench, native_hz: int, rate_hz: int, frames: int, channels: int
) -> None:
    known = KnownWriter(house.arena, house.pool, rate_hz=native_hz, channels=channels)
    sizes = [160, 1, 319, 320, 7, 640, 320, 320, 1000]
    pieces = [known.audio(size) for size in sizes]
    blocks = list(
        ended(house, known).blocks(frames, start="oldest", rate=rate_hz, dtype="float32"),
    )
    expected = resampled(np.concatenate(pieces), native_hz, rate_hz)
    assert joined(blocks).dtype == np.float32
    assert np.array_equal(joined(blocks), expected.reshape(-1, channels))
    native_frames = sum(sizes)
    assert len(expected) == (2 * native_frames * rate_hz + native_hz) // (2 * native_hz), "the exact length, rounded"
    assert [block.frames for block in blocks[:-1]] == [frames] * (len(blocks) - 1)
    assert [block.first_frame for block in blocks] == [n * frames * native_hz // rate_hz for n in range(len(blocks))]


@pytest.mark.parametrize("native_frames", [0, 1, 2, 3, 39, 40, 41])
def test_very_short_streams_have_the_exact_length_as_well(house: Bench, native_frames: int) -> None:
    known = KnownWriter(house.arena, house.pool, rate_hz=16_000)
    for _ in range(native_frames):
        known.audio(1)
    blocks = list(ended(house, known).blocks(8, start="oldest", rate=8000))
    assert sum(block.frames for block in blocks) == (native_frames + 1) // 2


def test_a_minute_has_neither_a_frame_too_many_nor_one_too_few(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool, rate_hz=8000)
    blocks = house.stream(known.slot).blocks(441, start="oldest", rate=44_100)
    frames = 0
    for second in range(1, 61):
        for _ in range(25):
            known.audio(320)
        while frames < second * 44_100 - 44_100 * 12 // 100 - 441:
            frames += next(blocks).frames
    known.end()
    assert frames + sum(block.frames for block in blocks) == 60 * 44_100


def test_as_int16_it_is_rounded_and_cut_off_at_full_scale(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool, rate_hz=8000)
    samples = np.concatenate([known.audio(400) for _ in range(10)])
    blocks = list(ended(house, known).blocks(512, start="oldest", rate=16_000))
    expected = resampled(samples, 8000, 16_000) * 32_768
    assert np.abs(expected).max() > 32_768, "noise at full scale overshoots, so there is something to cut off"
    assert np.array_equal(joined(blocks), np.clip(np.rint(expected), -32_768, 32_767).astype(np.int16))


def test_silence_stays_silence_as_int16(house: Bench) -> None:
    """soxr dithers its own int16."""
    known = KnownWriter(house.arena, house.pool, rate_hz=8000)
    known.gap(8000, layout.HOLD)
    assert not joined(list(ended(house, known).blocks(512, start="oldest", rate=16_000))).any()


@pytest.mark.parametrize(
    ("rate_hz", "dtype"),
    [(None, "float32"), (16_000, "int16"), (16_000, "float32"), (8000, "int16"), (8000, "float32")],
)
def test_blocks_own_their_samples(house: Bench, rate_hz: int | None, dtype: Any) -> None:
    known = KnownWriter(house.arena, house.pool)
    known.audio(3200)
    first, second = list(ended(house, known).blocks(512, start="oldest", rate=rate_hz, dtype=dtype))[:2]
    assert (first.is_view, first.still_valid()) == (False, True)
    assert first.samples.flags.owndata
    assert first.samples.flags.writeable
    assert first.samples.flags.c_contiguous
    before = second.samples.copy()
    first.samples[:] = 1
    assert np.array_equal(second.samples, before)


def test_a_block_comes_no_later_than_promised(house: Bench) -> None:
    """0.12 s behind at most, and at the stream's own rate not at all."""
    known = KnownWriter(house.arena, house.pool, rate_hz=8000)
    stream = house.stream(known.slot)
    slow, quick = (stream.blocks(320, start="oldest", rate=rate, dtype="float32") for rate in (16_000, 8000))
    for packet in range(100):
        known.audio(160)
        behind_s = 0.02 * (packet + 1)
        if packet % 2:
            assert next(quick).first_frame == 160 * (packet - 1)
        if behind_s > 0.14:
            assert next(slow).frames == 320


# ------------------------------------------------------------------------------------------------ without soxr


def test_at_the_streams_own_rate_soxr_is_not_needed(house: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    known = KnownWriter(house.arena, house.pool)
    samples = np.concatenate([known.audio(size) for size in (320, 999, 1)])
    stream = ended(house, known)
    for rate in (None, 16_000):
        blocks = list(stream.blocks(512, start="oldest", rate=rate, dtype="float32"))
        assert [block.frames for block in blocks] == [512, 512, 296]
        assert np.array_equal(joined(blocks), floats(samples))
    assert np.array_equal(joined(list(stream.blocks(100, start="oldest", rate=16_000))), samples)


def test_without_soxr_the_message_says_what_to_install(house: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    known = KnownWriter(house.arena, house.pool)
    with pytest.raises(ImportError, match=r"pip install 'audiohook\[resample\]'"):
        house.stream(known.slot).blocks(512, rate=8000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rate": 999}, "rate must be from 1000 to 384000 Hz, not 999"),
        ({"rate": 16_000, "frames": 0}, "frames must be 1 at least, not 0"),
        ({"dtype": "float64"}, 'dtype must be "int16" or "float32"'),
        ({"rate": 8000, "start": -1}, "cannot be -1"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(house: Bench, arguments: dict[str, Any], words: str) -> None:
    known = KnownWriter(house.arena, house.pool)
    with pytest.raises(ValueError, match=words):
        house.stream(known.slot).blocks(**arguments)


# ------------------------------------------------------------------------------------------------ gaps


def gappy(known: KnownWriter) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Publish audio and gaps; return what it sounds like with silence for them, and joined."""
    first = known.audio(400)
    known.gap(300, layout.PAUSE)
    known.gap(100, layout.LOSS)
    second = known.audio(777)
    known.gap(50, layout.MASK)
    third = known.audio(123)
    zeros = np.zeros((1750, 1), np.int16)
    zeros[:400], zeros[800:1577], zeros[1627:] = first, second, third
    return zeros, np.concatenate([first, second, third])


GAPS = [(400, 300, "paused"), (700, 100, "lost"), (1577, 50, "masked")]


@pytest.mark.parametrize("frames", [10, 512, 5000])
@pytest.mark.parametrize("rate_hz", [8000, 24_000])
def test_silence_for_gaps_goes_through_the_filter(house: Bench, frames: int, rate_hz: int) -> None:
    known = KnownWriter(house.arena, house.pool)
    whole, _ = gappy(known)
    blocks = list(ended(house, known).blocks(frames, start="oldest", rate=rate_hz, dtype="float32"))
    assert np.array_equal(joined(blocks), resampled(whole, 16_000, rate_hz))
    assert gap_spans(blocks) == GAPS
    for block, following in pairwise(blocks):
        for gap in block.gaps:
            assert block.first_frame <= gap.first_frame
            assert gap.first_frame + gap.frames <= following.first_frame


@pytest.mark.parametrize("frames", [10, 512, 5000])
@pytest.mark.parametrize("rate_hz", [8000, 24_000])
def test_gaps_jumped_over_leave_the_joined_signal_resampled(house: Bench, frames: int, rate_hz: int) -> None:
    known = KnownWriter(house.arena, house.pool)
    _, audio = gappy(known)
    blocks = list(ended(house, known).blocks(frames, start="oldest", rate=rate_hz, dtype="float32", gaps="skip"))
    assert np.array_equal(joined(blocks), resampled(audio, 16_000, rate_hz))
    assert gap_spans(blocks) == GAPS
    media = [*range(400), *range(800, 1577), *range(1627, 1750)]
    assert [block.first_frame for block in blocks] == [
        media[n * frames * 16_000 // rate_hz] for n in range(len(blocks))
    ]


def test_raised_gaps_come_behind_all_that_was_before_them(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool)
    whole, _ = gappy(known)
    stream = ended(house, known)
    blocks: list[Block] = []
    with pytest.raises(GapFound) as caught:
        blocks.extend(stream.blocks(500, start="oldest", rate=8000, dtype="float32", gaps="raise"))
    assert (caught.value.first_frame, caught.value.frames, caught.value.cause) == (400, 300, "paused")
    assert np.array_equal(joined(blocks), resampled(whole[:400], 16_000, 8000))
    again = list(stream.blocks(500, start=1627, rate=8000, dtype="float32", gaps="raise"))
    assert again[0].first_frame == 1627
    assert np.array_equal(joined(again), resampled(whole[1627:], 16_000, 8000))


def test_a_gap_that_is_still_growing_is_one_gap(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool)
    stream = house.stream(known.slot)
    blocks = stream.blocks(100, start="oldest", dtype="float32", gaps="skip")
    known.audio(100)
    got = [next(blocks)]
    known.gap(320, layout.PAUSE)
    known.audio(50)
    known.gap(320, layout.PAUSE)
    known.audio(50)
    got.append(next(blocks))
    assert gap_spans(got) == [(100, 320, "paused"), (470, 320, "paused")]
    assert [block.first_frame for block in got] == [0, 420]


steps = st.lists(st.tuples(st.sampled_from(["audio", "gap"]), st.integers(1, 500)), max_size=12)


@settings(max_examples=60)
@given(steps, st.integers(1, 900), st.sampled_from([8000, 12_000, 16_000, 22_050]), st.booleans())
def test_any_timeline(told: list[tuple[str, int]], frames: int, rate_hz: int, skip: bool) -> None:
    with bench() as house:
        known = KnownWriter(house.arena, house.pool)
        pieces = [np.zeros((0, 1), np.int16)]
        media: list[int] = []
        at = 0
        for kind, size in told:
            if kind == "audio":
                pieces.append(known.audio(size))
                media += range(at, at + size)
            else:
                known.gap(size, layout.HOLD)
                if not skip:
                    pieces.append(np.zeros((size, 1), np.int16))
                    media += range(at, at + size)
            at += size
        gaps: Any = "skip" if skip else "silence"
        blocks = list(ended(house, known).blocks(frames, start="oldest", rate=rate_hz, dtype="float32", gaps=gaps))
        signal = np.concatenate(pieces)
        if not len(signal):
            assert blocks == []
            return
        expected = floats(signal) if rate_hz == 16_000 else resampled(signal, 16_000, rate_hz)
        assert np.array_equal(joined(blocks) if blocks else expected[:0], expected)
        assert [block.first_frame for block in blocks] == [
            media[number * frames * 16_000 // rate_hz] for number in range(len(blocks))
        ]
        assert all(block.arrival_ns > 0 for block in blocks)


# ------------------------------------------------------------------------------------------------ overruns


def test_what_had_been_read_comes_before_an_overrun(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool)
    samples = np.concatenate([known.audio(960) for _ in range(5)])
    blocks = house.stream(known.slot).blocks(1000, start="oldest", rate=8000, dtype="float32")
    got = [next(blocks)]
    for _ in range(60):
        known.audio(960)
    with pytest.raises(Overrun) as caught:
        got.extend(blocks)
    assert caught.value.next_frame is not None
    read = caught.value.next_frame - caught.value.lost_frames
    assert 2000 <= read <= 4800
    assert np.array_equal(joined(got), resampled(samples[:read], 16_000, 8000))


def test_after_frames_that_were_lost_the_signal_is_joined_and_blocks_stay_whole(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool)
    for _ in range(5):
        known.audio(960)
    stream = house.stream(known.slot)
    blocks = stream.blocks(500, start="oldest", rate=8000, dtype="float32", on_overrun="skip")
    got = [next(blocks)]
    for _ in range(60):
        known.audio(960)
    known.end()
    got += blocks
    length = 65 * 960
    behind = next(block.first_frame for block in got if block.first_frame > 4800)
    assert [block.frames for block in got[:-1]] == [500] * (len(got) - 1)
    assert sum(block.frames for block in got) == (length - stream.lost_frames + 1) // 2
    assert behind > stream.lost_frames
    at = next(first for first in range(0, 5000, 50) if _fits(joined(got), first, first + stream.lost_frames, length))
    assert at <= 4800


def _fits(heard: npt.NDArray[np.float32], read: int, gone_on: int, length: int) -> bool:
    """Return whether `heard` is frames 0 to `read` and `gone_on` to `length`, joined and resampled."""
    audio = np.concatenate([known_samples(0, read, 1), known_samples(gone_on, length - gone_on, 1)])
    expected = resampled(audio, 16_000, 8000)
    return len(expected) == len(heard) and np.array_equal(expected[: read + 2000], heard[: read + 2000])
