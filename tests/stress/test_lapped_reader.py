"""A writer laps a reader thousands of times and recycles the slot under it: nothing wrong passes as valid.

The same harness runs on two writers with known faults, to show that it would see them.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from audiohook.errors import Overrun
from audiohook.memory import layout
from audiohook.memory.layout import Geometry
from audiohook.memory.stream import Stream
from tests.stress.children import CONTROL_SECONDS, SECONDS, running, until
from tests.stress.lapping_tables import SALTS, TABLES
from tests.support.memory import Bench, Samples, bench

SIZES = Geometry(slots=1, rows=1, ring_bytes=16_384, descriptors=64, event_records=1)
RING_FRAMES = SIZES.ring_bytes // 2
BOUND = 320


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench(SIZES) as made:
        yield made


@dataclass
class Count:
    right: int = 0
    invalid: int = 0
    wrong: int = 0
    streams: int = 0

    def has_seen_both(self) -> bool:
        return min(self.right, self.invalid) > 100 and self.streams > 5


def expected(stream: Stream, first: int, frames: int) -> Samples:
    return TABLES[stream.epoch % SALTS][first : first + frames]


def wait_for_stream(house: Bench) -> Stream:
    for _ in until(30):
        stream = house.stream(0)
        if stream.state == "LIVE":
            return stream
    raise AssertionError("the writer never began")


@dataclass
class RawReader:
    """A stream that is read by the rule of LAYOUT.md alone, and how much of it was published when last seen."""

    stream: Stream
    length: int = 0

    def look(self) -> None:
        """Load `commit`, then `epoch`: what was loaded counts only if the slot still was this stream's."""
        timeline = self.stream.timeline
        commit = timeline.commit
        if not timeline.recycled:
            self.length = (commit - timeline.ring_base) // 2


def look_raw(reader: RawReader, choice: random.Random, count: Count) -> None:
    """Take one window by the rule alone, most of them at the edge where the writer comes round."""
    reader.look()
    stream, timeline, length = reader.stream, reader.stream.timeline, reader.length
    base = timeline.ring_base
    frames = choice.choice((64, 320, 1600))
    edge = RING_FRAMES - choice.choice((0, 0, 40, BOUND, 400, 900, 3000))
    first = max(0, min(length - edge, length - frames))
    if length < frames:
        return
    view = stream.cutter().view(base + 2 * first, frames)
    once = view.copy()
    if choice.random() < 0.1:
        time.sleep(choice.choice((0, 0.00002, 0.0003)))
    again = view.copy()
    if timeline.claim - SIZES.ring_bytes > base + 2 * first:
        count.invalid += 1
        return
    right = expected(stream, first, frames)
    if np.array_equal(once, right) and np.array_equal(again, right):
        count.right += 1
    else:
        count.wrong += 1


def read_raw(house: Bench, seconds: float, *, stop_at_wrong: bool) -> Count:
    """Look for `seconds`, now and then through the card of a stream whose slot has another one by now."""
    choice, count = random.Random(), Count()
    readers = [RawReader(wait_for_stream(house))]
    enough = (lambda: False) if stop_at_wrong else count.has_seen_both
    for number in until(seconds, enough):
        if number % 16 == 0 and house.stream(0).epoch != readers[-1].stream.epoch:
            readers = [*readers[-3:], RawReader(house.stream(0))]
            count.streams += 1
        look_raw(choice.choice(readers[-1:] if number % 4 else readers), choice, count)
        if stop_at_wrong and count.wrong:
            break
    return count


def test_no_window_is_wrong_that_was_called_valid(house: Bench) -> None:
    with running("lapping_writer.py", house.files.arena, house.files.locks, "right", fds=house_fds(house)):
        count = read_raw(house, SECONDS, stop_at_wrong=False)
    laps = house.word(0, "commit") // SIZES.ring_bytes
    assert count.wrong == 0, count
    assert count.right > 100, count
    assert count.invalid > 100, count
    assert count.streams > 5, "the slot was not recycled under the reader"
    assert laps > 2000


@pytest.mark.parametrize("fault", ["late", "reset"])
def test_control_the_harness_sees_a_fault(house: Bench, fault: str) -> None:
    """`late`: 46 of 72,000 windows were wrong. `reset`: 15,421 windows of another call passed as valid."""
    with running("lapping_writer.py", house.files.arena, house.files.locks, fault, fds=house_fds(house)):
        count = read_raw(house, CONTROL_SECONDS, stop_at_wrong=True)
    assert count.wrong > 0, count


def house_fds(house: Bench) -> list[int]:
    return [house.files.arena, house.files.locks]


def heard(stream: Stream, first: int, frames: int, gaps: list[tuple[int, int]]) -> Samples:
    """Return what frames of a stream must sound like, given which of them are said to be gaps."""
    right = expected(stream, first, frames).copy()
    for low, length in gaps:
        right[max(0, low - first) : max(0, low - first + length)] = 0
    return right


@pytest.mark.parametrize("manner", ["right", "gappy"])
def test_public_blocks_are_never_wrong(house: Bench, manner: str) -> None:
    """`Stream.blocks` and `Block.still_valid`, as anybody would use them, with some dawdling."""
    choice, count, jumps = random.Random(), Count(), 0

    def enough() -> bool:
        return count.right > 100 and jumps > 10 and count.streams > 3

    with running("lapping_writer.py", house.files.arena, house.files.locks, manner, fds=house_fds(house)):
        clock = until(SECONDS, enough)
        while next(clock, None) is not None:
            stream = wait_for_stream(house)
            count.streams += 1
            frames = choice.choice((80, 512, 3000))
            position, lost = 0, 0
            try:
                for block in stream.blocks(frames, start="oldest", on_overrun="skip"):
                    if block.first_frame != position:
                        assert stream.lost_frames > lost or position == 0 or manner == "gappy", "a silent jump"
                        jumps += 1
                    once = block.samples.copy()
                    if choice.random() < 0.05:
                        time.sleep(choice.choice((0, 0.00002, 0.001)))
                    again = block.samples.copy()
                    position, lost = block.first_frame + block.frames, stream.lost_frames
                    if not block.still_valid():
                        count.invalid += 1
                        continue
                    gaps = [(gap.first_frame, gap.frames) for gap in block.gaps]
                    right = heard(stream, block.first_frame, block.frames, gaps)
                    good = np.array_equal(once, right) and np.array_equal(again, right)
                    count.right += good
                    count.wrong += not good
                    if next(clock, None) is None:
                        break
            except Overrun as overrun:
                if overrun.next_frame is not None:
                    raise
    assert count.wrong == 0, count
    assert count.right > 100, count
    assert jumps > 10, "the reader was never lapped"
    assert count.streams > 3


@pytest.mark.parametrize("manner", ["right", "gappy"])
def test_totals_add_up_while_the_writer_goes_on(house: Bench, manner: str) -> None:
    before, looks = 0, 0
    with running("lapping_writer.py", house.files.arena, house.files.locks, manner, fds=house_fds(house)):
        for number in until(SECONDS / 2):
            if number % 200 == 0:
                stream, before = wait_for_stream(house), 0
            totals = stream.totals
            assert totals.length == totals.decoded + totals.concealed + sum(totals.gaps.values())
            assert min(totals.decoded, totals.concealed, *totals.gaps.values(), 0) == 0
            assert totals.length >= before
            before, looks = totals.length, looks + 1
    assert looks > 1000


def test_latest_and_gaps_come_back_while_the_writer_goes_on(house: Bench) -> None:
    looks = 0
    with running("lapping_writer.py", house.files.arena, house.files.locks, "gappy", fds=house_fds(house)):
        for number in until(SECONDS / 2):
            if number % 50 == 0:
                stream = wait_for_stream(house)
            try:
                block = stream.latest(0.05)
            except Overrun:
                continue
            samples = block.samples.copy()
            if block.still_valid():
                gaps = [(gap.first_frame, gap.frames) for gap in block.gaps]
                assert np.array_equal(samples, heard(stream, block.first_frame, block.frames, gaps))
                looks += 1
            assert all(gap.frames > 0 and gap.cause in layout.CAUSES for gap in stream.gaps())
    assert looks > 100
