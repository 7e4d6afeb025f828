"""A writer that comes in between any two loads of a reader: every answer must be true of some instant meanwhile.

The reader's words are watched: at its n-th load the writer goes on, for every n. What one process can do to another
only by chance happens here every time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from audiohook.errors import Overrun
from audiohook.memory import layout
from audiohook.memory.layout import Geometry
from audiohook.memory.place import Gaps, Place, Start
from audiohook.memory.stream import Stream
from audiohook.memory.timeline import Recycled
from tests.support.memory import Bench, KnownWriter, Samples, bench
from tests.support.timeline_model import Model

SIZES = Geometry(slots=1, rows=1, ring_bytes=32_768, descriptors=48, event_records=1)
RATE = 8000
NEVER = 1 << 60
EVERY = 40
"""Each of the first so many loads; behind them, where a reader goes through many spans alike, each seventh."""

Totals = dict[str, int]


class Meddled:
    """A reader's words, in front of which something happens at the load that is `armed`."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self.loads = 0
        self.armed = NEVER
        self.happens: Callable[[], None] = lambda: None

    def __getitem__(self, at: int) -> int:
        self.loads += 1
        if self.loads == self.armed:
            self.happens()
        return self._words[at]


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench(SIZES) as made:
        yield made


@dataclass
class Scene:
    """A stream with some past, and a writer who can go on."""

    house: Bench
    known: KnownWriter
    model: Model
    instants: list[Totals] = field(default_factory=list)
    recycled: bool = False

    def audio(self, frames: int, cause: str = "decoded") -> None:
        self.known.audio(frames, layout.CAUSES.index(cause), 960)
        self.model.audio(frames, cause, 960)
        self.instants.append(self.now())

    def gap(self, frames: int, cause: str) -> None:
        self.known.gap(frames, layout.CAUSES.index(cause))
        self.model.gap(frames, cause)
        self.instants.append(self.now())

    def now(self) -> Totals:
        return {cause: self.model.frames_of[cause] for cause in layout.CAUSES}

    def was(self, said: Totals) -> bool:
        """Whether a stream was made up like this at some instant.

        Between a gap's `skip` and its `commit` is one, too: then the gap is as long as before, or longer, or all there.
        """
        if said in self.instants:
            return True
        for before, after in pairwise(self.instants):
            grown = [cause for cause in layout.CAUSES if before[cause] != after[cause]]
            others = {cause: said[cause] for cause in layout.CAUSES if cause not in grown}
            if others.items() <= before.items() and all(before[cause] < said[cause] < after[cause] for cause in grown):
                return grown[0] not in ("decoded", "concealed")
        return False

    # ---------------------------------------------------------------------------------------- what may happen

    def another_cause(self) -> None:
        self.audio(160, "concealed")
        self.audio(160)

    def a_gap_that_grows(self) -> None:
        self.gap(100, "lost")
        self.gap(20_000, "lost")
        self.gap(7, "paused")
        self.audio(160)

    def laps(self) -> None:
        for number in range(60):
            self.audio(960, "concealed" if number % 9 == 0 else "decoded")

    def descriptors_lap(self) -> None:
        """History runs out in the descriptors, while the ring still has every sample."""
        for _ in range(SIZES.descriptors):
            self.audio(1)
            self.gap(1, "masked")

    def another_call(self) -> None:
        self.known.end()
        later = KnownWriter(self.house.arena, self.house.pool, RATE, salt=9)
        for _ in range(40):
            later.audio(500, bound_frames=960)
            later.gap(1, layout.DROP)
        self.known = later
        self.recycled = True


HAPPENINGS = [
    Scene.another_cause,
    Scene.a_gap_that_grows,
    Scene.laps,
    Scene.descriptors_lap,
    Scene.another_call,
]


def scene(house: Bench) -> Scene:
    """Return a stream that has gone round its ring once and ends in a concealed packet."""
    known = KnownWriter(house.arena, house.pool, RATE)
    made = Scene(house, known, Model(RATE, 1, known.card["ring_base"], SIZES.ring_bytes))
    for number in range(22):
        made.audio(800, "concealed" if number % 5 == 3 else "decoded")
        if number % 6 == 5:
            made.gap(300, "held")
    made.gap(9000, "discarded")
    made.audio(400)
    made.audio(60, "concealed")
    made.instants = [made.now()]
    return made


def every_interleaving(house: Bench, happens: Callable[[Scene], None], ask: Callable[[Scene, Stream], None]) -> None:
    """Run `ask` on a fresh stream for each of its loads, with `happens` just before it, until it has no more."""
    real = house.reader.words
    try:
        for armed in (*range(1, EVERY), *range(EVERY, 4000, 7)):
            made = scene(house)
            words = Meddled(real)
            house.reader.words = words  # type: ignore[assignment]
            stream = house.stream(made.known.slot)
            stream.cutter()
            words.loads, words.armed = 0, armed
            words.happens = lambda made=made: happens(made)  # type: ignore[misc]
            ask(made, stream)
            made.known.end()
            if words.loads < armed:
                return
    finally:
        house.reader.words = real
    raise AssertionError("a reader that never comes to an end")


def ask_totals(made: Scene, stream: Stream) -> None:
    try:
        totals = stream.timeline.totals()
    except Recycled:
        assert made.recycled
        return
    said = {"decoded": totals.decoded, "concealed": totals.concealed, **totals.gaps}
    assert made.was(said)
    assert totals.length == sum(said.values())


def ask_length(made: Scene, stream: Stream) -> None:
    try:
        end = stream.timeline.end
    except Recycled:
        assert made.recycled
        return
    audio = made.model.audio_frames(0, end)
    assert any(audio == instant["decoded"] + instant["concealed"] for instant in made.instants)
    assert min(sum(instant.values()) for instant in made.instants) <= end <= made.model.length


def ask_latest(made: Scene, stream: Stream) -> None:
    for seconds in (0.05, 1.0, 100.0):
        try:
            block = stream.latest(seconds)
        except Overrun as overrun:
            made_gone(made, overrun)
            return
        end = block.first_frame + block.frames
        if block.still_valid():
            assert np.array_equal(block.samples, made.model.samples(block.first_frame, end))
            assert [(gap.first_frame, gap.frames, gap.cause) for gap in block.gaps] == made.model.gaps(
                block.first_frame, end
            )


def ask_gaps(made: Scene, stream: Stream) -> None:
    for gap in stream.gaps():
        run = made.model.run_at(gap.first_frame)
        assert run.cause == gap.cause
        assert 0 < gap.frames <= run.end - gap.first_frame


def made_gone(made: Scene, overrun: Overrun) -> None:
    assert made.recycled
    assert overrun.next_frame is None


def asks_blocks(start: Start, gaps: Gaps, *, copy: bool) -> Callable[[Scene, Stream], None]:
    """Return a reader that takes three blocks and checks each, and what it is told to have lost."""

    def ask(made: Scene, stream: Stream) -> None:
        try:
            place = Place(stream.timeline, stream.cutter(), RATE, 700, start, gaps, copy=copy)
        except Overrun as overrun:
            made_gone(made, overrun)
            return
        for _ in range(3):
            at = place.position
            try:
                block = place.next_block(over=False)
            except Overrun as overrun:
                if overrun.next_frame is None:
                    made_gone(made, overrun)
                    return
                check_lost(made.model, at, overrun, known_start=not isinstance(start, int))
                continue
            if block is not None and block.still_valid():
                check_block(made.model, at, block.first_frame, block.samples, gaps)

    return ask


def check_lost(model: Model, at: int, overrun: Overrun, *, known_start: bool) -> None:
    """The count is exact; for a start at a frame of which nothing was left it is an upper bound."""
    assert overrun.next_frame is not None
    assert overrun.next_frame > at
    exact = model.audio_frames(at, overrun.next_frame)
    assert overrun.lost_frames == exact or (not known_start and overrun.lost_frames > exact)


def check_block(model: Model, at: int, first: int, samples: Samples, gaps: Gaps) -> None:
    if gaps == "skip":
        expected, place, _ = model.audio_from(at, 700)
        assert first == place
    else:
        assert first == at
        expected = model.samples(at, at + 700)
    assert np.array_equal(samples, expected)


ASKS = {
    "totals": ask_totals,
    "length": ask_length,
    "latest": ask_latest,
    "gaps": ask_gaps,
    "blocks from the oldest": asks_blocks("oldest", "silence", copy=False),
    "copies from the oldest": asks_blocks("oldest", "silence", copy=True),
    "audio from the oldest": asks_blocks("oldest", "skip", copy=False),
    "blocks from a frame": asks_blocks(26_000, "silence", copy=False),
    "blocks from now": asks_blocks("live", "silence", copy=False),
}


@pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda happens: happens.__name__)
@pytest.mark.parametrize("ask", ASKS)
def test_every_answer_is_true_of_some_instant(house: Bench, happens: Callable[[Scene], None], ask: str) -> None:
    every_interleaving(house, happens, ASKS[ask])
