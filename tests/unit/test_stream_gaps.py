"""Gaps as a reader has them: as silence, jumped over, raised; and an hour of them that costs a second of ring."""

from collections.abc import Iterator

import numpy as np
import pytest

from audiohook.errors import GapFound
from audiohook.memory import layout
from audiohook.memory.stream import Stream
from tests.support.memory import Bench, KnownWriter, bench, known_samples


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture
def known(house: Bench) -> KnownWriter:
    return KnownWriter(house.arena, house.pool)


def ended(house: Bench, known: KnownWriter) -> Stream:
    stream = house.stream(known.slot)
    known.end(end_reason="peer_closed", close_code=1000)
    return stream


def gappy(known: KnownWriter) -> None:
    known.audio(400)
    known.gap(300, layout.PAUSE)
    known.gap(100, layout.LOSS)
    known.audio(400)
    known.gap(50, layout.MASK)


def test_gaps_as_silence(house: Bench, known: KnownWriter) -> None:
    gappy(known)
    (block,) = ended(house, known).blocks(5000, start="oldest")
    assert block.is_view
    assert [(gap.first_frame, gap.frames, gap.cause) for gap in block.gaps] == [
        (400, 300, "paused"),
        (700, 100, "lost"),
        (1200, 50, "masked"),
    ]
    assert not block.samples[400:800].any()
    assert np.array_equal(block.samples[800:1200], known_samples(800, 400, 1))


def test_gaps_jumped_over(house: Bench, known: KnownWriter) -> None:
    gappy(known)
    first, second = ended(house, known).blocks(600, start="oldest", gaps="skip")
    assert (first.first_frame, first.frames, second.first_frame, second.frames) == (0, 600, 1000, 200)
    assert np.array_equal(first.samples[400:], known_samples(800, 200, 1))
    assert [(gap.first_frame, gap.frames) for gap in first.gaps] == [(400, 300), (700, 100)]


def test_gaps_raised_and_gone_on_behind(house: Bench, known: KnownWriter) -> None:
    gappy(known)
    stream = ended(house, known)
    start: int = 0
    story: list[object] = []
    while start < 1250:
        try:
            for block in stream.blocks(600, start=start, gaps="raise"):
                story.append((block.first_frame, block.frames))
            break
        except GapFound as gap:
            story.append((gap.first_frame, gap.frames, gap.cause))
            start = gap.first_frame + gap.frames
    assert story == [(0, 400), (400, 300, "paused"), (700, 100, "lost"), (800, 400), (1200, 50, "masked")]


def test_an_hour_on_hold_costs_a_second_of_ring(house: Bench, known: KnownWriter) -> None:
    known.audio(8000)
    known.gap(3600 * 16_000, layout.HOLD)
    known.audio(320)
    stream = house.stream(known.slot)
    totals = stream.totals
    assert (totals.length, totals.decoded, totals.gaps["held"]) == (57_608_320, 8320, 57_600_000)
    first = next(iter(stream.blocks(8000, start="oldest")))
    assert np.array_equal(first.samples, known_samples(0, 8000, 1)), "a pause pushed unread audio out of reach"
    across = next(iter(stream.blocks(8000, start=4000)))
    assert not across.is_view
    assert not across.samples[4000:].any()
    assert np.array_equal(across.samples[:4000], known_samples(4000, 4000, 1))
    assert [(gap.first_frame, gap.frames) for gap in across.gaps] == [(8000, 4000)]
    assert [(gap.first_frame, gap.frames, gap.cause) for gap in stream.gaps()] == [(8000, 57_600_000, "held")]
    assert stream.latest(0.5).frames == 8000


def test_a_gap_that_is_only_begun_is_no_gap_of_nothing(house: Bench, known: KnownWriter) -> None:
    """The writer stands (or was killed) between a gap's descriptor and its commit."""
    known.audio(320)
    commit = house.word(known.slot, "commit")
    known.gap(100, layout.LOSS)
    house.arena.words[known.writer.commit_word] = commit
    assert house.stream(known.slot).gaps() == []
    assert house.stream(known.slot).totals.length == 320
