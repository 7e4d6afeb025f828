"""A stream as a reader has it: where it starts, how it ends, what it says when its audio or its writer is gone.

Nothing here waits: streams are over, or blocks are there, before they are asked for.
"""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from audiohook.errors import Overrun, WriterGone
from audiohook.memory import layout
from audiohook.memory.cards import update_card
from audiohook.memory.stream import Stream
from audiohook.memory.view import WRITER_GONE_NS
from tests.support.memory import RING_BYTES, SMALL, Bench, KnownWriter, bench, known_samples

RING_FRAMES = RING_BYTES // 2


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


def test_who_it_is(house: Bench) -> None:
    slot = house.pool.acquire(1, 1, call_id="c", direction="inbound", rate_hz=8000, channels=2, channel_names="a,b")
    assert slot is not None
    stream = house.stream(slot)
    assert (stream.call_id, stream.direction, stream.sample_rate) == ("c", "inbound", 8000)
    assert stream.channel_names == ("a", "b")
    assert (stream.state, stream.over, stream.gone, stream.degraded) == ("OPENING", False, False, False)
    assert stream.close_code is None
    update_card(house.arena, slot, state=layout.LIVE, flags=layout.FLAG_DEGRADED)
    assert (stream.state, stream.degraded) == ("LIVE", True)
    house.pool.release(slot, end_reason="peer_closed", close_code=1001)
    assert (stream.over, stream.end_reason) == (True, "peer_closed")
    assert [stream.state, stream.close_code] == ["ENDED", 1001]
    with pytest.raises(AttributeError, match="no_such"):
        _ = stream.no_such


def test_a_card_outlives_its_slot(house: Bench, known: KnownWriter) -> None:
    known.audio(320)
    stream = ended(house, known)
    assert stream.totals.length == 320
    house.pool.silence_ended(now_ns=1 << 62, keep_ns=0)
    for _ in range(SMALL.slots):
        house.pool.acquire(0, 1, call_id="later")
    assert stream.gone
    assert stream.over
    assert stream.call_id == ""
    assert stream.totals.length == 320, "the last known totals"


def test_the_last_block_is_short_and_then_it_ends(house: Bench, known: KnownWriter) -> None:
    for _ in range(5):
        known.audio(320)
    blocks = list(ended(house, known).blocks(512, start="oldest"))
    assert [(block.first_frame, block.frames) for block in blocks] == [(0, 512), (512, 512), (1024, 512), (1536, 64)]
    assert all(block.is_view for block in blocks)
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), known_samples(0, 1600, 1))


def test_live_on_an_ended_stream_is_nothing(house: Bench, known: KnownWriter) -> None:
    known.audio(320)
    assert list(ended(house, known).blocks(64)) == []


def test_a_stream_without_audio(house: Bench, known: KnownWriter) -> None:
    stream = ended(house, known)
    assert list(stream.blocks(64, start="oldest")) == []
    assert stream.latest().samples.shape == (0, 1)
    assert stream.gaps() == []
    assert stream.totals.length == 0


@pytest.mark.parametrize("start", [0, 1, 511, 1599])
def test_start_at_a_frame(house: Bench, known: KnownWriter, start: int) -> None:
    for _ in range(5):
        known.audio(320)
    blocks = list(ended(house, known).blocks(512, start=start))
    assert blocks[0].first_frame == start
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), known_samples(start, 1600 - start, 1))


def test_start_in_the_future(house: Bench, known: KnownWriter) -> None:
    known.audio(320)
    place_at = 1000
    blocks = house.stream(known.slot).blocks(100, start=place_at)
    for _ in range(4):
        known.audio(320)
    block = next(blocks)
    assert block.first_frame == place_at
    assert np.array_equal(block.samples, known_samples(place_at, 100, 1))


def test_start_in_a_future_that_never_comes(house: Bench, known: KnownWriter) -> None:
    known.audio(320)
    assert list(ended(house, known).blocks(100, start=5000)) == []


@pytest.mark.parametrize(("on_overrun", "expected"), [("raise", True), ("skip", False)])
def test_start_before_history(house: Bench, known: KnownWriter, on_overrun: str, expected: bool) -> None:
    for _ in range(300):
        known.audio(960)
    stream = ended(house, known)
    blocks = stream.blocks(960, start=10, on_overrun=on_overrun)  # type: ignore[arg-type]
    if expected:
        with pytest.raises(Overrun) as caught:
            next(blocks)
        assert caught.value.next_frame is not None
        assert caught.value.lost_frames == caught.value.next_frame - 10
        block = next(iter(stream.blocks(960, start=caught.value.next_frame)))
        assert block.first_frame == caught.value.next_frame
    else:
        block = next(blocks)
        assert stream.lost_frames == block.first_frame - 10
    assert np.array_equal(block.samples, known_samples(block.first_frame, 960, 1))
    # A quarter of a second inside what is there, so that the edge is not met again at once.
    assert block.first_frame > 300 * 960 - RING_FRAMES + 4000 - 960


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"frames": 0}, "frames must be from 1 to 28768"),
        ({"frames": 28_769}, "frames must be from 1 to 28768"),
        ({"start": "now"}, "start must be"),
        ({"start": -1}, "cannot be -1"),
        ({"gaps": "zeros"}, "gaps must be"),
    ],
)
def test_wrong_arguments(house: Bench, known: KnownWriter, arguments: dict[str, object], words: str) -> None:
    """A block that a ring cannot hold would be an overrun for ever."""
    with pytest.raises(ValueError, match=words):
        next(house.stream(known.slot).blocks(**arguments))  # type: ignore[arg-type]


def test_the_longest_block_can_be_had_from_a_stream_that_goes_on(house: Bench, known: KnownWriter) -> None:
    for _ in range(50):
        known.audio(960)
    blocks = house.stream(known.slot).blocks(28_768, start="oldest")
    assert np.array_equal(next(blocks).samples, known_samples(50 * 960 - 28_768, 28_768, 1))


# ------------------------------------------------------------------------------------------------ overruns


def test_a_view_that_was_overwritten_in_use_is_counted(house: Bench, known: KnownWriter) -> None:
    for _ in range(10):
        known.audio(960)
    stream = house.stream(known.slot)
    blocks = stream.blocks(960, start="oldest")
    held = next(blocks)
    for _ in range(60):
        known.audio(960)
    assert not held.still_valid()
    with pytest.raises(Overrun) as caught:
        next(blocks)
    assert caught.value.lost_frames == caught.value.next_frame, "the block in use counts, and all behind it"


def test_silence_for_a_gap_never_counts_as_lost(house: Bench, known: KnownWriter) -> None:
    """The block in use was half gap; so was what followed it."""
    known.audio(500)
    known.gap(500, layout.LOSS)
    known.audio(1000)
    known.gap(90_000, layout.HOLD)
    known.audio(960)
    stream = house.stream(known.slot)
    blocks = stream.blocks(1000, start="oldest", on_overrun="skip")
    assert [gap.frames for gap in next(blocks).gaps] == [500]
    for _ in range(60):
        known.audio(960)
    block = next(blocks)
    assert stream.lost_frames == block.first_frame - 90_500
    assert stream.totals.gaps["held"] == 90_000


def test_copies_are_never_lost_in_use(house: Bench, known: KnownWriter) -> None:
    for _ in range(10):
        known.audio(960)
    blocks = house.stream(known.slot).blocks(960, start="oldest", copy=True)
    held = next(blocks)
    for _ in range(60):
        known.audio(960)
    assert held.still_valid()
    assert held.samples.flags.owndata
    assert np.array_equal(held.samples, known_samples(0, 960, 1))
    with pytest.raises(Overrun) as caught:
        next(blocks)
    assert caught.value.next_frame is not None
    assert caught.value.lost_frames == caught.value.next_frame - 960


@pytest.mark.parametrize("on_overrun", ["raise", "skip"])
@pytest.mark.parametrize("reads", [0, 1, 4])
def test_a_slot_that_belongs_to_another_stream_ends_the_loop(house: Bench, on_overrun: str, reads: int) -> None:
    """`next_frame` is None, and the count goes up to the last length that was seen: 4 packets, half of them gap."""
    for slot in (1, 2):
        house.pool.locks.try_lock(slot)
        house.pool.held.add(slot)
    known = KnownWriter(house.arena, house.pool)
    for _ in range(2):
        known.audio(160)
        known.gap(160, layout.LOSS)
    stream = house.stream(known.slot)
    blocks = stream.blocks(160, start="oldest", on_overrun=on_overrun, copy=True)  # type: ignore[arg-type]
    for _ in range(reads):
        next(blocks)
    known.end()
    KnownWriter(house.arena, house.pool, salt=1).audio(320)
    with pytest.raises(Overrun) as caught:
        next(blocks)
    assert caught.value.next_frame is None
    assert caught.value.lost_frames == {0: 320, 1: 160, 4: 0}[reads]
    assert stream.lost_frames == 0, "what is raised is not counted as skipped"
    with pytest.raises(Overrun) as caught:
        stream.latest()
    assert caught.value.next_frame is None
    assert stream.gaps() == []


def test_a_view_in_use_when_the_slot_went_to_another_stream(house: Bench) -> None:
    for slot in (1, 2):
        house.pool.locks.try_lock(slot)
        house.pool.held.add(slot)
    known = KnownWriter(house.arena, house.pool)
    known.audio(160)
    known.audio(160)
    blocks = house.stream(known.slot).blocks(160, start="oldest", on_overrun="skip")
    next(blocks)
    known.end()
    KnownWriter(house.arena, house.pool, salt=1).audio(320)
    with pytest.raises(Overrun) as caught:
        next(blocks)
    assert (caught.value.lost_frames, caught.value.next_frame) == (320, None)


def test_a_taker_killed_before_its_card_leaves_nobody_spinning(house: Bench, known: KnownWriter) -> None:
    """Its cursors belong to a new stream, the card still to the old one: `latest` and `gaps` must come back."""
    known.audio(320)
    stream = ended(house, known)
    house.arena.words[layout.cursor_word(SMALL, known.slot, "epoch")] += 1
    with pytest.raises(Overrun):
        stream.latest()
    assert stream.gaps() == []
    with pytest.raises(Overrun):
        next(stream.blocks(64, start="oldest"))


# ------------------------------------------------------------------------------------------------ the writer's end


def test_a_writer_without_a_sign_of_life_is_gone(house: Bench, known: KnownWriter) -> None:
    known.audio(320)
    house.beat(0, time.monotonic_ns() - WRITER_GONE_NS - 1)
    stream = house.stream(known.slot)
    blocks = stream.blocks(160, start="oldest")
    assert [next(blocks).first_frame, next(blocks).first_frame] == [0, 160]
    with pytest.raises(WriterGone):
        next(blocks)
    assert np.array_equal(stream.latest().samples, known_samples(0, 320, 1)), "what was published stays readable"


def test_a_writer_that_lives_or_a_stream_that_is_over_raises_nothing(house: Bench, known: KnownWriter) -> None:
    stream = house.stream(known.slot)
    house.beat(0, time.monotonic_ns())
    stream.check_writer()
    house.beat(0, 1)
    known.end()
    stream.check_writer()


def test_an_aborted_stream_is_readable_to_its_last_commit(house: Bench) -> None:
    dead = house.new_pool()
    known = KnownWriter(house.arena, dead)
    for _ in range(3):
        known.audio(320)
    known.writer.reserve(1920)
    dead.locks.close()
    assert [card["slot"] for card in house.pool.mark_dead(0)] == [known.slot]
    stream = house.stream(known.slot)
    blocks = list(stream.blocks(512, start="oldest"))
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), known_samples(0, 960, 1))
    assert (stream.state, stream.end_reason) == ("ABORTED", "worker_died")


class Counting:
    """A watcher that counts."""

    def __init__(self) -> None:
        self.watched: list[tuple[int, int]] = []
        self.unwatched: list[tuple[int, int]] = []

    def watch(self, slot: int, epoch: int) -> bool:
        self.watched.append((slot, epoch))
        return False

    def unwatch(self, slot: int, epoch: int) -> None:
        self.unwatched.append((slot, epoch))

    def check(self) -> None:
        return


def test_a_loop_that_is_left_gives_its_watch_back(house: Bench, known: KnownWriter) -> None:
    known.audio(320)
    counting = Counting()
    stream = Stream(house.reader, known.slot, house.stream(known.slot).card(), counting)
    blocks = stream.blocks(160, start="oldest")
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert counting.unwatched == [(known.slot, stream.epoch)]
    assert counting.watched == []
