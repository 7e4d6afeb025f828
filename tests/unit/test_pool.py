"""The pool of slots: who gets which, what is repaired, and that nothing of an earlier call is ever called valid.

A second `SlotPool` with locks of its own stands for another process; closing its locks is that process' death. Real
processes and real kills: tests/stress/test_slots_killed.py.
"""

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from audiohook.errors import WORKER_DIED, Overrun
from audiohook.memory import layout
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.pool import SlotPool
from audiohook.memory.timeline import Recycled
from audiohook.units import NEVER_NS, NS_PER_S
from tests.support.memory import RING_BYTES, SMALL, Bench, KnownWriter, bench

SLOTS = SMALL.slots


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


def fill(pool: SlotPool, row: int = 0) -> list[int]:
    """Take every slot that there is, and return them in the order in which they were given."""
    taken = []
    while (slot := pool.acquire(row, 1, rate_hz=16_000, channels=1)) is not None:
        taken.append(slot)
    return taken


def state(house: Bench, slot: int) -> int:
    return int(read_card(house.reader, slot)["state"])


def test_free_slots_first_then_the_longest_ended(house: Bench) -> None:
    pool = house.pool
    assert fill(pool) == [0, 1, 2]
    for slot, ended_ns in ((0, 300), (1, 100), (2, 200)):
        pool.release(slot, ended_monotonic_ns=ended_ns)
    pool.silence_ended(now_ns=200, keep_ns=1)  # slot 1 is FREE again
    assert state(house, 1) == layout.FREE
    assert fill(pool) == [1, 2, 0]


def test_dead_owners_slots_come_last(house: Bench) -> None:
    dead = house.new_pool()
    assert dead.acquire(0, 1, call_id="dead") == 0
    dead.locks.close()
    assert house.pool.acquire(0, 1) == 1
    house.pool.release(1)
    assert fill(house.pool) == [2, 1, 0]
    assert read_card(house.reader, 0)["call_id"] == ""


def test_all_in_use_is_none_and_not_a_wait(house: Bench) -> None:
    other = house.new_pool()
    assert len(fill(house.pool)) == SLOTS
    assert house.pool.acquire(0, 1) is None
    assert other.acquire(1, 1) is None
    house.pool.release(1)
    assert other.acquire(1, 1) == 1
    assert house.pool.acquire(0, 1) is None
    other.locks.close()


def test_what_this_process_holds_is_not_given_twice(house: Bench) -> None:
    """The kernel would grant our own lock again."""
    assert house.pool.locks.try_lock(0)
    assert house.pool.locks.try_lock(0)
    house.pool.locks.unlock(0)
    slot = house.pool.acquire(0, 1)
    assert slot is not None
    update_card(house.arena, slot, state=layout.ENDED)  # as between release's card and its unlock
    assert slot not in fill(house.pool)


def test_a_lock_that_somebody_holds_is_left_alone(house: Bench) -> None:
    other = house.new_pool()
    assert other.locks.try_lock(0)
    before = read_card(house.reader, 0)
    assert fill(house.pool) == [1, 2]
    assert read_card(house.reader, 0) == before
    other.locks.close()


def test_parked_slots_are_taken_last_and_the_oldest_first(house: Bench) -> None:
    first, second = house.pool.acquire(0, 1, stream_id="first"), house.pool.acquire(0, 1, stream_id="second")
    assert (first, second) == (0, 1)
    house.pool.park(1, NEVER_NS, end_reason="peer_vanished")
    house.pool.park(0, NEVER_NS, end_reason="peer_vanished")
    assert house.pool.acquire(0, 1) == 2
    assert house.pool.pushed_out == []
    assert house.pool.acquire(0, 1) == 1
    assert state(house, 0) == layout.PARKED
    (pushed_out,) = house.pool.pushed_out
    assert (pushed_out["slot"], pushed_out["stream_id"]) == (1, "second")
    assert (pushed_out["state"], pushed_out["end_reason"]) == (layout.ENDED, "peer_vanished")
    assert fill(house.pool) == [0]


def test_a_parked_stream_is_taken_by_one(house: Bench) -> None:
    slot = house.pool.acquire(0, 1)
    assert slot is not None
    epoch = read_card(house.arena, slot)["epoch"]
    house.pool.park(slot, NEVER_NS)
    other = house.new_pool()
    assert not other.take_parked(slot, epoch + 1), "a stream that is gone"
    assert other.take_parked(slot, epoch)
    assert not house.pool.take_parked(slot, epoch)
    assert house.pool.amend_parked(slot, epoch, flags=1) is None
    assert house.pool.end_parked(slot, epoch) is None
    other.let_go(slot)
    before = house.pool.amend_parked(slot, epoch, flags=1)
    assert before is not None
    assert (before["flags"], read_card(house.reader, slot)["flags"]) == (0, 1)
    ended = house.pool.end_parked(slot, epoch, end_reason="call_ended")
    assert ended is not None
    assert (ended["end_reason"], state(house, slot)) == ("call_ended", layout.ENDED)
    assert not other.take_parked(slot, epoch), "it has ended"
    assert house.pool.locks.try_lock(slot), "a lock was kept"
    other.locks.close()


def test_a_parked_stream_outlives_whoever_wanted_to_continue_it(house: Bench) -> None:
    """Killed between taking it and the new card: the kernel gives the lock back, and it is PARKED as before."""
    slot = house.pool.acquire(0, 1)
    assert slot is not None
    house.pool.park(slot, NEVER_NS)
    epoch = read_card(house.arena, slot)["epoch"]
    other = house.new_pool()
    assert other.take_parked(slot, epoch)
    other.locks.close()
    assert [card["slot"] for card in house.pool.parked()] == [slot]
    assert house.pool.mark_dead() == []
    assert house.pool.take_parked(slot, epoch)


def test_parked_between_the_scan_and_the_lock(house: Bench) -> None:
    """The scan saw FREE; by the time the lock was ours the slot had been used and parked."""

    class Parking(SlotPool):
        def _candidates(self, row: int) -> Iterator[tuple[int, int]]:
            found = list(super()._candidates(row))
            slot = house.pool.acquire(0, 1)
            assert slot is not None
            house.pool.park(slot, NEVER_NS)
            return iter(found)

    other = house.new_pool()
    parking = Parking(house.arena, other.locks)
    assert parking.acquire(0, 1) == 1
    assert state(house, 0) == layout.PARKED
    assert house.pool.locks.try_lock(0), "the parked slot's lock was kept"
    other.locks.close()


def test_a_new_card_says_who_and_nothing_of_before(house: Bench) -> None:
    slot = house.pool.acquire(1, 3, call_id="first", ani="+49 30 1", rate_hz=8000)
    assert slot is not None
    house.pool.release(slot, end_reason="peer_closed", close_code=1000)
    house.pool.silence_ended(now_ns=1 << 62, keep_ns=0)
    for other in {0, 1, 2} - {slot}:
        assert house.pool.locks.try_lock(other)
        house.pool.held.add(other)
    again = house.pool.acquire(0, 4, call_id="second")
    assert again == slot
    card = read_card(house.reader, slot)
    assert (card["state"], card["row"], card["generation"], card["epoch"]) == (layout.OPENING, 0, 4, 2)
    assert (card["call_id"], card["ani"], card["end_reason"], card["close_code"], card["rate_hz"]) == (
        "second",
        *("",) * 2,
        0,
        0,
    )
    assert (card["continues_slot"], card["continued_by_slot"]) == (layout.NO_SLOT, layout.NO_SLOT)
    assert b"first" not in house.reader.cards[slot].tobytes()


def test_mark_dead_marks_that_rows_streams_only(house: Bench) -> None:
    dead, alive = house.new_pool(), house.new_pool()
    assert dead.acquire(0, 1, call_id="a") == 0
    living = alive.acquire(1, 1, call_id="b")
    over = dead.acquire(0, 1, call_id="c")
    assert living is not None
    assert over is not None
    dead.release(over, end_reason="peer_closed")
    assert house.pool.mark_dead(0) == [], "its owner lives"
    dead.locks.close()
    died = house.pool.mark_dead(0)
    assert [(card["slot"], card["call_id"], card["state"]) for card in died] == [(0, "a", layout.OPENING)]
    card = read_card(house.reader, 0)
    assert (card["state"], card["end_reason"]) == (layout.ABORTED, WORKER_DIED)
    assert card["ended_monotonic_ns"] > 0
    assert state(house, living) == layout.OPENING
    assert read_card(house.reader, over)["end_reason"] == "peer_closed"
    assert house.pool.mark_dead(0) == []
    assert house.pool.locks.try_lock(0), "the repaired slot's lock was kept"
    alive.locks.close()


def test_a_dead_rows_slot_that_somebody_has_taken_over(house: Bench) -> None:
    dead, taker = house.new_pool(), house.new_pool()
    assert fill(dead, row=0) == [0, 1, 2]
    dead.locks.close()
    assert taker.acquire(1, 1, call_id="new") == 0
    assert {card["slot"] for card in house.pool.mark_dead(0)} == {1, 2}
    card = read_card(house.reader, 0)
    assert (card["state"], card["call_id"], card["row"]) == (layout.OPENING, "new", 1)
    taker.locks.close()


def test_silence_ended_waits_for_its_time(house: Bench) -> None:
    slot = house.pool.acquire(0, 1)
    assert slot is not None
    house.pool.release(slot, ended_monotonic_ns=50 * NS_PER_S)
    assert house.pool.silence_ended(now_ns=110 * NS_PER_S - 1, keep_ns=60 * NS_PER_S) == 0
    assert state(house, slot) == layout.ENDED
    assert house.pool.silence_ended(now_ns=110 * NS_PER_S, keep_ns=60 * NS_PER_S) == 1
    assert state(house, slot) == layout.FREE
    assert house.pool.silence_ended(now_ns=110 * NS_PER_S, keep_ns=60 * NS_PER_S) == 0


def test_silence_ended_zeroes_and_every_view_is_invalid(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool)
    for _ in range(150):
        known.audio(320)
    stream = house.stream(known.slot)
    held = [stream.latest(0.001), stream.latest(1)]
    totals = stream.totals
    known.end()
    assert all(block.still_valid() and block.samples.any() for block in held)
    assert house.pool.silence_ended(now_ns=1 << 62, keep_ns=0) == 1
    assert not any(block.still_valid() for block in held)
    start = SMALL.ring_offset(known.slot)
    ring = memoryview(bytearray(RING_BYTES))
    assert os.preadv(house.files.read_only, [ring], start) == RING_BYTES
    assert not any(ring), "voices lie about"
    assert stream.latest(1).frames == 0
    assert stream.totals == totals
    assert stream.gone


def test_silence_ended_leaves_a_slot_that_is_in_use(house: Bench) -> None:
    other = house.new_pool()
    slot = other.acquire(0, 1)
    assert slot is not None
    update_card(house.arena, slot, state=layout.ENDED, ended_monotonic_ns=1)  # as between release's card and unlock
    assert house.pool.silence_ended(now_ns=1 << 62, keep_ns=0) == 0
    other.locks.close()
    assert house.pool.silence_ended(now_ns=1 << 62, keep_ns=0) == 1


@pytest.mark.parametrize("packets", [0, 1, 5, 50, 102, 103, 150])
@pytest.mark.parametrize("bound_frames", [320, 1920])
def test_a_recycled_slot_never_makes_an_old_view_valid(house: Bench, packets: int, bound_frames: int) -> None:
    """With cursors that restart at 0, 15,421 windows of another call passed as valid."""
    for slot in (1, 2):
        assert house.pool.locks.try_lock(slot)
        house.pool.held.add(slot)
    old = KnownWriter(house.arena, house.pool)
    for _ in range(packets):
        old.audio(320, bound_frames=bound_frames)
    stream = house.stream(old.slot)
    timeline = stream.timeline
    commit, base = timeline.commit, old.card["ring_base"]
    first_bytes = range(base, commit + 1, 64)
    old.end()
    new = KnownWriter(house.arena, house.pool, salt=1)
    assert new.slot == old.slot
    for step in range(300):
        limit = timeline.claim - RING_BYTES
        assert not [byte for byte in first_bytes if limit <= byte], f"a window of the old call is valid after {step}"
        new.audio(320, bound_frames=bound_frames)
    with pytest.raises(Recycled):
        timeline.newest()
    with pytest.raises(Overrun) as caught:
        next(stream.blocks(start="oldest"))
    assert caught.value.next_frame is None
    assert stream.gone


def test_totals_start_anew(house: Bench) -> None:
    for _ in range(3):
        for _ in range(SLOTS):
            known = KnownWriter(house.arena, house.pool)
            assert house.stream(known.slot).totals.length == 0
            known.audio(320)
            known.gap(100, layout.LOSS)
            known.audio(320, layout.CONCEALED)
            known.audio(320)
            totals = house.stream(known.slot).totals
            assert (totals.length, totals.decoded, totals.concealed, totals.gaps["lost"]) == (1060, 640, 320, 100)
        for slot in range(SLOTS):
            house.pool.release(slot)


def test_scan_agrees_with_the_cards(house: Bench) -> None:
    house.pool.acquire(0, 1)
    for _ in range(3):
        update_card(house.arena, 1, state=layout.HELD)
    states = house.reader.states()
    assert list(states) == [layout.OPENING, layout.HELD, layout.FREE]
    assert states.dtype == np.uint32


def test_rows_begin_at_different_slots_and_leave_none_out() -> None:
    with bench(replace(SMALL, slots=8, rows=4)) as house:
        pools = [house.new_pool() for _ in range(4)]
        taken = [pool.acquire(row, 1) for _ in range(2) for row, pool in enumerate(pools)]
        assert sorted(slot for slot in taken if slot is not None) == list(range(8))
        assert len({slot for slot in taken[:4] if slot is not None}) == 4
        assert house.pool.acquire(0, 1) is None
        for pool in pools:
            pool.locks.close()


def test_what_was_seen_free_and_used_meanwhile_comes_after_what_is_free(house: Bench) -> None:
    """The other worker has used 1 since our scan, and its call is over; 2 has never had one."""
    assert house.pool.acquire(0, 1) == 0
    other = house.new_pool()
    assert other.locks.try_lock(2)
    other.held.add(2)
    used = other.acquire(0, 1)
    assert used == 1
    other.release(1)
    other.let_go(2)
    assert fill(house.pool) == [2, 1]
    other.locks.close()
