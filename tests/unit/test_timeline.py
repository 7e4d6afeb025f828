"""Timeline, blocks and places against a plain model: whatever is published, in whatever order, from whatever position.

One arena serves all examples (its slots are recycled, which is part of the test); cursors start where an example says.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.errors import GapFound, Overrun
from audiohook.memory import layout
from audiohook.memory.block import Block
from audiohook.memory.place import Gaps, Place, Start
from audiohook.memory.stream import Stream
from tests.support.memory import SMALL, Bench, KnownWriter, Samples, bench
from tests.support.timeline_model import Model

GAPS = tuple(layout.CAUSES[layout.PAUSE :])
STARTS = (0, 2**32 - 70_000, 2**63 - 100_000)


@pytest.fixture(scope="module")
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


@dataclass
class Reading:
    """One reader's loop, held to the model step by step."""

    model: Model
    stream: Stream
    frames: int
    start: Start
    gaps: Gaps
    copy: bool
    held: list[tuple[Block, Samples, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place = self.open(self.start)
        if self.start == "live":
            assert self.place.position == self.model.length

    def open(self, start: Start) -> Place:
        stream = self.stream
        return Place(
            stream.timeline, stream.cutter(), stream.sample_rate, self.frames, start, self.gaps, copy=self.copy
        )

    def step(self, *, over: bool = False) -> bool:
        """Ask for one block and hold the answer to the model; return whether there was one."""
        at = self.place.position
        known = at >= 0 and self.place._settled
        try:
            block = self.place.next_block(over=over)
        except Overrun as overrun:
            self.check_overrun(at, overrun, exact=known or at == 0)
            return True
        except GapFound as found:
            self.check_gap(at, found)
            return True
        if block is None:
            self.check_nothing(at, over=over)
            return False
        self.check_block(at, block, over=over)
        return True

    def check_gap(self, at: int, found: GapFound) -> None:
        run = self.model.run_at(at)
        assert self.gaps == "raise"
        assert (found.first_frame, found.frames, found.cause) == (at, run.end - at, run.cause)
        self.place = self.open(run.end)

    def check_overrun(self, at: int, overrun: Overrun, *, exact: bool) -> None:
        now = overrun.next_frame
        assert now is not None
        assert now == self.place.position >= at
        run, model = self.model.run_at(at), self.model
        numbers = self.stream.timeline.newest()
        assert numbers is not None
        spans = numbers.number + 1 - self.stream.card()["descriptor_base"]
        gone = not model.in_ring(at) or spans > SMALL.descriptors
        assert gone or (self.gaps == "skip" and run.is_gap and not model.in_ring(run.end)), "nothing was overwritten"
        if exact:
            assert overrun.lost_frames == self.model.audio_frames(at, now)
        else:
            assert self.model.audio_frames(at, now) <= overrun.lost_frames <= now - at
        assert now > at, "an overrun that moves nowhere would be raised for ever"

    def check_nothing(self, at: int, *, over: bool) -> None:
        model = self.model
        if self.gaps == "skip":
            ready, _, _ = model.audio_from(at, self.frames)
            assert len(ready) == 0 if over else len(ready) < self.frames
            return
        ready_frames = max(0, model.length - at)
        assert ready_frames < self.frames
        assert not over or ready_frames == 0

    def check_block(self, at: int, block: Block, *, over: bool) -> None:
        model = self.model
        if self.gaps == "skip":
            expected, first, end = model.audio_from(at, self.frames)
            gaps_from = at
        else:
            ready = model.length - at
            end = at + min(self.frames, ready)
            if self.gaps == "raise":
                end = min([end, *(low for low, _, _ in model.gaps(at, end))])
            elif not over:
                assert ready >= self.frames
            first, expected, gaps_from = at, model.samples(at, end), at
        assert block.first_frame == first
        assert block.samples.shape == expected.shape
        assert np.array_equal(block.samples, expected)
        assert not block.samples.flags.writeable or self.copy
        assert block.still_valid()
        assert [(gap.first_frame, gap.frames, gap.cause) for gap in block.gaps] == model.gaps(gaps_from, end)
        assert self.place.position == end
        assert not (self.copy and block.is_view)
        byte = model.run_at(first).ring_byte(first, model.frame_bytes)
        self.held = [*self.held[-6:], (block, expected, byte)]

    def check_held(self) -> None:
        """A block handed out earlier says exactly when its first byte may have been overwritten, and never lies."""
        for block, expected, byte in self.held:
            valid = block.still_valid()
            assert valid == (not block.is_view or self.model.claim - self.model.ring_bytes <= byte)
            if valid:
                assert np.array_equal(block.samples, expected)


@dataclass
class Trial:
    """A stream, its model, and readers that step now and then."""

    house: Bench
    rate_hz: int
    channels: int
    start_byte: int
    first_descriptor: int

    def __post_init__(self) -> None:
        for slot in range(self.house.geometry.slots):
            self.house.start_at(slot, self.start_byte, self.first_descriptor)
        self.known = KnownWriter(self.house.arena, self.house.pool, self.rate_hz, self.channels)
        base = self.known.card["ring_base"]
        assert base > self.start_byte
        self.model = Model(self.rate_hz, self.channels, base, self.house.geometry.ring_bytes)
        self.stream = self.house.stream(self.known.slot)
        self.readings: list[Reading] = []

    def apply(self, what: tuple[object, ...]) -> None:
        match what:
            case ("audio", int(frames), str(cause), int(bound)):
                self.known.audio(frames, layout.CAUSES.index(cause), bound)
                self.model.audio(frames, cause, bound)
            case ("gap", int(frames), str(cause)):
                self.known.gap(frames, layout.CAUSES.index(cause))
                self.model.gap(frames, cause)
            case ("open", int(frames), ("live" | "oldest" | int()) as start, gaps, bool(copy)):
                self.readings.append(Reading(self.model, self.stream, frames, start, gaps, copy))  # type: ignore[arg-type]
            case ("read", int(which), int(times)) if self.readings:
                reading = self.readings[which % len(self.readings)]
                for _ in range(times):
                    if not reading.step():
                        break
        self.check()

    def check(self) -> None:
        model, totals = self.model, self.stream.totals
        assert totals.length == model.length == totals.decoded + totals.concealed + sum(totals.gaps.values())
        assert totals.decoded == model.frames_of["decoded"]
        assert totals.concealed == model.frames_of["concealed"]
        assert totals.gaps == {cause: model.frames_of[cause] for cause in GAPS}
        assert self.house.word(self.known.slot, "commit") == model.commit
        assert self.house.word(self.known.slot, "claim") == model.claim
        for reading in self.readings:
            reading.check_held()

    def check_latest(self, seconds: float) -> None:
        block, model = self.stream.latest(seconds), self.model
        end = block.first_frame + block.frames
        assert end == model.length
        assert block.frames <= round(seconds * self.rate_hz)
        assert np.array_equal(block.samples, model.samples(block.first_frame, end))
        # Shorter than asked for only where history ends, in the ring or in the descriptors.
        if (
            block.first_frame > 0
            and block.frames < int(seconds * self.rate_hz)
            and model.in_ring(block.first_frame - 1)
        ):
            number = self.house.word(self.known.slot, "d_commit") - self.known.card["descriptor_base"]
            assert number >= self.house.geometry.descriptors

    def check_gaps(self) -> None:
        found = [(gap.first_frame, gap.frames, gap.cause) for gap in self.stream.gaps()]
        newest = self.stream.timeline.newest()
        if newest is None:
            assert found == []
            return
        oldest, gaps_before = self.stream.timeline.oldest(newest)
        assert found == self.model.gaps(oldest, self.model.length)
        assert gaps_before == oldest - self.model.audio_frames(0, oldest)

    def finish(self) -> None:
        """End the stream: every reader gets what is left, the last block may be short, then nothing more."""
        self.known.end()
        for reading in self.readings:
            # An hour of silence is a hundred thousand blocks: whoever stands far before the end goes near it.
            reading.place = reading.open(max(reading.place.position, self.model.length - 10 * reading.frames))
            while reading.step(over=True):
                pass
            assert reading.place.position >= self.model.length


def packet_frames(rate_hz: int) -> st.SearchStrategy[int]:
    usual = [rate_hz * tenths // 10_000 for tenths in (25, 50, 100, 200, 400, 600, 1200)]
    return st.one_of(st.sampled_from([1, 2, *usual]), st.integers(1, usual[-1]))


@st.composite
def trials(draw: st.DrawFn) -> tuple[int, int, int, int, list[tuple[object, ...]]]:
    rate_hz = draw(st.sampled_from([8000, 16_000]))
    packet = packet_frames(rate_hz)
    cause = st.sampled_from(["decoded"] * 6 + ["concealed"])
    bound = st.sampled_from([0, rate_hz * 120 // 1000])
    gap_frames = st.one_of(st.integers(1, 400), st.sampled_from([rate_hz - 1, rate_hz, rate_hz + 1, 3600 * rate_hz]))
    audio = st.tuples(st.just("audio"), packet, cause, bound)
    gap = st.tuples(st.just("gap"), gap_frames, st.sampled_from(GAPS))
    begin = st.one_of(st.sampled_from(["live", "oldest"]), st.integers(0, 4 * rate_hz))
    frames = st.sampled_from([1, 160, 512, 1000, 5000])
    opened = st.tuples(st.just("open"), frames, begin, st.sampled_from(["silence", "skip", "raise"]), st.booleans())
    read = st.tuples(st.just("read"), st.integers(0, 5), st.sampled_from([1, 3, 50]))
    steps = st.lists(st.one_of(audio, audio, audio, gap, opened, read, read), max_size=120)
    first = draw(st.sampled_from(STARTS))
    return (
        rate_hz,
        draw(st.sampled_from([1, 2])),
        first,
        draw(st.sampled_from([0, 2**32 - 40, 2**63 - 40])),
        draw(steps),
    )


@given(trials())
@settings(max_examples=250)
def test_readers_see_what_was_published(
    house: Bench, trial: tuple[int, int, int, int, list[tuple[object, ...]]]
) -> None:
    *stream, steps = trial
    running = Trial(house, *stream)
    for step in steps:
        running.apply(step)
    running.check_latest(0.25)
    running.check_latest(100.0)
    running.check_gaps()
    running.finish()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_long_stream_laps_the_ring_many_times(house: Bench, start: int, channels: int) -> None:
    """Ten laps with one slow and one quick reader: what the slow one lost is counted to the frame."""
    trial = Trial(house, 16_000, channels, start, start)
    trial.apply(("open", 500, "oldest", "silence", False))
    trial.apply(("open", 320, "live", "skip", True))
    for number in range(1100):
        trial.apply(("audio", 320, "concealed" if number % 50 == 7 else "decoded", 1920))
        if number % 90 == 3:
            trial.apply(("gap", 16_000 * (number % 5 + 1), GAPS[number % len(GAPS)]))
        trial.apply(("read", 1, 1000))
        if number % 333 == 332:
            trial.apply(("read", 0, 3))
    trial.check_gaps()
    trial.check_latest(0.5)
    trial.finish()
