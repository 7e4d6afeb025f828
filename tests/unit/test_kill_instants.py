"""A kill between any two stores of a slot's life: recycling, packets, gaps, card updates, the end, the silencing.

The story below is played once; before every store the whole arena is copied. Each copy is what a kill at that instant
would have left, and must be whole: totals add up, nothing is called valid that is wrong, whoever comes next can go on.
Torn samples and real kills: tests/stress/.
"""

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from audiohook.errors import Overrun
from audiohook.memory import layout
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.layout import Geometry
from audiohook.memory.locks import SlotLocks
from audiohook.memory.place import Place
from audiohook.memory.pool import SlotPool
from audiohook.memory.stream import Stream
from audiohook.memory.timeline import Recycled
from audiohook.memory.writer import StreamWriter
from tests.support.kill_instants import watch
from tests.support.memory import Bench, KnownWriter, NeverWatched, bench, known_samples
from tests.support.timeline_model import Model

SIZES = Geometry(slots=2, rows=1, ring_bytes=16_384, descriptors=24, event_records=1)
RATE = 8000
BOUND = 960


@dataclass
class Told:
    """A stream of the story: what is written to it, and its card as readers have it."""

    slot: int
    model: Model
    card: dict[str, Any] = field(default_factory=dict)


@dataclass
class Instant:
    """The arena before one store, which streams there had been, and how long each was before and after the step."""

    memory: bytes
    lengths: dict[int, tuple[int, int]]


class Story:
    """Plays the life of a slot and takes a copy before every store."""

    def __init__(self, house: Bench) -> None:
        self.house = house
        self.streams: list[Told] = []
        self.instants: list[Instant] = []
        watch(house, self.snapshot)

    def snapshot(self) -> None:
        memory = os.pread(self.house.files.arena, SIZES.arena_bytes, 0)
        lengths = {number: (told.model.length, told.model.length) for number, told in enumerate(self.streams)}
        self.instants.append(Instant(memory, lengths))

    def begin(self) -> None:
        """Take a slot for a new stream. Only the second slot is free for it: the first is somebody else's."""
        slot = self.house.pool.acquire(
            0, 1, rate_hz=RATE, channels=1, channel_names="x", call_id=f"{len(self.streams)}"
        )
        assert slot is not None
        card = read_card(self.house.reader, slot)
        model = Model(RATE, 1, card["ring_base"], SIZES.ring_bytes, salt=len(self.streams))
        self.streams.append(Told(slot, model, card))
        self.writer = StreamWriter(self.house.arena, slot, RATE, 1)
        update_card(self.house.arena, slot, state=layout.LIVE)

    def audio(self, frames: int, cause: str = "decoded") -> None:
        told, since = self.streams[-1], len(self.instants)
        samples = known_samples(told.model.length, frames, 1, told.model.salt)
        address = self.writer.reserve(BOUND)
        half = samples.nbytes // 4 * 2
        ctypes.memmove(address, samples.ctypes.data, half)
        self.snapshot()
        ctypes.memmove(address + half, samples.ctypes.data + half, samples.nbytes - half)
        self.writer.publish(frames, layout.CAUSES.index(cause), 1, frames)
        told.model.audio(frames, cause, BOUND)
        self._until_now(since)

    def gap(self, frames: int, cause: str) -> None:
        told, since = self.streams[-1], len(self.instants)
        self.writer.gap(frames, layout.CAUSES.index(cause), 1)
        told.model.gap(frames, cause)
        self._until_now(since)

    def _until_now(self, since: int) -> None:
        """A step was taken: at its instants the stream may be as long as before it, or already longer."""
        number = len(self.streams) - 1
        for instant in self.instants[since:]:
            instant.lengths[number] = (instant.lengths[number][0], self.streams[number].model.length)

    def play(self) -> None:
        self.begin()
        for frames in (160, 20, 1, 160, 960):
            self.audio(frames)
        self.audio(160, "concealed")
        self.audio(160, "concealed")
        self.gap(10, "lost")
        self.gap(20, "lost")
        self.gap(30_000, "held")
        self.gap(50, "held")
        self.audio(160)
        self.gap(8_000 * 3600, "paused")
        self.audio(160, "concealed")
        update_card(self.house.arena, self.streams[-1].slot, flags=layout.FLAG_DEGRADED)
        for _ in range(9):
            self.audio(960)
        self.house.pool.release(self.streams[-1].slot, end_reason="peer_closed", close_code=1000)
        self.begin()
        for frames in (960, 160, 160):
            self.audio(frames)
        self.gap(9000, "dropped")
        self.audio(160)
        self.house.pool.release(self.streams[-1].slot, end_reason="peer_closed")
        self.house.pool.silence_ended(now_ns=1 << 62, keep_ns=0)
        self.begin()
        self.audio(160)
        self.snapshot()


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with bench(SIZES) as house:
        assert house.pool.acquire(0, 1, rate_hz=RATE, channels=1) == 0
        told = Story(house)
        told.play()
        yield told


@pytest.fixture(scope="module")
def after() -> Iterator[Bench]:
    """Another daemon's memory, into which the copies are put."""
    with bench(SIZES) as house:
        yield house


def put(house: Bench, memory: bytes) -> None:
    assert os.pwrite(house.files.arena, memory, 0) == len(memory)


def check_valid_is_right(house: Bench, streams: list[Told]) -> None:
    """Every window of every stream that there ever was: if the rule calls it valid, it holds that stream's samples."""
    for told in streams:
        ring = np.frombuffer(os.pread(house.files.arena, SIZES.ring_bytes, SIZES.ring_offset(told.slot)), np.int16)
        base, written = told.model.ring_base, told.model.ring_samples()
        first = max(0, house.word(told.slot, "claim") - SIZES.ring_bytes - base) // 2
        readable = min(len(written), max(0, house.word(told.slot, "commit") - base) // 2)
        places = (base // 2 + np.arange(first, readable)) % (SIZES.ring_bytes // 2)
        assert np.array_equal(ring[places], written[first:readable]), told.card["call_id"]


def check_stream(house: Bench, told: Told, low: int, high: int) -> None:
    """What a reader who had the stream's card gets now: totals that add up, and blocks that are right."""
    stream = Stream(house.reader, told.slot, told.card, NeverWatched())
    try:
        totals = stream.timeline.totals()
    except Recycled:
        assert house.word(told.slot, "epoch") != told.card["epoch"]
        assert stream.gaps() == []
        with pytest.raises(Overrun):
            stream.latest()
        return
    assert totals.length == totals.decoded + totals.concealed + sum(totals.gaps.values())
    assert low <= totals.length <= high
    model = told.model
    for cause, frames in (("decoded", totals.decoded), ("concealed", totals.concealed), *totals.gaps.items()):
        assert frames == sum(end - first for first, end, run in model.between(0, totals.length) if run.cause == cause)
    place = Place(stream.timeline, stream.cutter(), RATE, 500, max(0, totals.length - 3000), "silence", copy=False)
    lost: list[tuple[int, int, int, int | None]] = []
    for _ in range(20):
        at = place.position
        try:
            block = place.next_block(over=True)
        except Overrun as overrun:
            lost.append((at, place.position, overrun.lost_frames, overrun.next_frame))
            continue
        if block is None:
            break
        expected = model.samples(at, min(at + 500, totals.length))
        assert np.array_equal(block.samples, expected)
    assert place.position == totals.length
    assert all(frames == model.audio_frames(at, now) and now == said for at, now, frames, said in lost)


def check_next_owner(house: Bench) -> None:
    """The dead owner's slots are found, taken and written by somebody else, and no earlier window comes to life."""
    commits = [house.word(slot, "commit") for slot in range(SIZES.slots)]
    pool = SlotPool(house.arena, SlotLocks(house.files.locks))
    dead = {slot for slot in range(SIZES.slots) if read_card(house.reader, slot)["state"] in layout.OWNED_STATES}
    assert {card["slot"] for card in pool.mark_dead(0)} == dead
    assert not set(house.reader.states()) & layout.OWNED_STATES
    writers = [KnownWriter(house.arena, pool, RATE, salt=77) for _ in range(SIZES.slots)]
    assert pool.acquire(0, 1) is None
    assert sorted(known.slot for known in writers) == list(range(SIZES.slots)), "a slot was lost"
    for _ in range(3):
        for known in writers:
            known.audio(700, bound_frames=BOUND)
        for slot, commit in enumerate(commits):
            oldest = house.word(slot, "claim") - SIZES.ring_bytes
            assert oldest > commit, "a window of an earlier call could be called valid"
    for known in writers:
        stream = house.stream(known.slot)
        assert stream.totals.length == stream.totals.decoded == 2100
        assert np.array_equal(stream.latest(1).samples, known_samples(0, 2100, 1, 77))
    pool.locks.close()


def test_the_story_has_every_kind_of_store(story: Story) -> None:
    assert len(story.instants) > 400
    assert len(story.streams) == 3
    assert {told.slot for told in story.streams} == {1}


def test_nothing_valid_is_wrong_at_any_instant(story: Story, after: Bench) -> None:
    for instant in story.instants:
        put(after, instant.memory)
        check_valid_is_right(after, [story.streams[number] for number in instant.lengths])


def test_totals_and_blocks_are_right_at_any_instant(story: Story, after: Bench) -> None:
    for instant in story.instants:
        put(after, instant.memory)
        for number, (low, high) in instant.lengths.items():
            check_stream(after, story.streams[number], low, high)


def test_the_next_owner_goes_on_from_any_instant(story: Story, after: Bench) -> None:
    for instant in story.instants:
        put(after, instant.memory)
        check_next_owner(after)


def test_a_taker_killed_at_any_instant_leaves_no_stream_live_for_ever(after: Bench) -> None:
    """A dead owner's slot is taken, and the taker dies as well: the old card says ABORTED, or the new one is there.

    `mark_dead` of the first row has run already and of the second looks for that row's streams only.
    """
    with bench(SIZES) as house:
        dead = house.new_pool()
        assert [dead.acquire(0, 1, rate_hz=RATE, channels=1, call_id="old") for _ in range(SIZES.slots)] == [0, 1]
        dead.locks.close()
        instants: list[bytes] = []
        watch(house, lambda: instants.append(os.pread(house.files.arena, SIZES.arena_bytes, 0)))
        assert house.pool.acquire(1, 1, call_id="new") == 0
    since = 0
    for number, memory in enumerate(instants):
        put(after, memory)
        card = read_card(after.reader, 0)
        if card["state"] not in layout.OWNED_STATES:
            since = since or number
            assert (card["state"], card["call_id"]) == (layout.ABORTED, "old")
            continue
        # Nothing of the slot has been touched while the old card still says that it is live.
        assert card["call_id"] == "new" or after.word(0, "epoch") == card["epoch"]
        assert card["call_id"] == "new" or after.word(0, "claim") == after.word(0, "commit")
    assert since


def test_cards_are_whole_at_any_instant(story: Story, after: Bench) -> None:
    """A card is the one before or the one after, never a mixture."""
    seen: list[dict[str, Any]] = []
    for instant in story.instants:
        put(after, instant.memory)
        card = read_card(after.reader, 1)
        if not seen or card != seen[-1]:
            seen.append(card)
    assert [card["version"] for card in seen] == list(range(seen[0]["version"], seen[0]["version"] + len(seen)))
    story_of_states = [(layout.STREAM_STATES[card["state"]], card["call_id"], card["end_reason"]) for card in seen]
    assert story_of_states == [
        ("FREE", "", ""),
        ("OPENING", "0", ""),
        ("LIVE", "0", ""),
        ("LIVE", "0", ""),
        ("ENDED", "0", "peer_closed"),
        ("OPENING", "1", ""),
        ("LIVE", "1", ""),
        ("ENDED", "1", "peer_closed"),
        ("FREE", "", ""),
        ("OPENING", "2", ""),
        ("LIVE", "2", ""),
    ]
