"""memory/admission.py: what counts under which cap, and that a refusal leaves no trace.

Races are in tests/stress/test_caps.py. A second `Admission` on a pool with locks of its own stands for another worker.
"""

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from audiohook.memory import layout
from audiohook.memory.admission import Admission, Cap, Caps
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.layout import Geometry
from audiohook.memory.pool import SlotPool
from audiohook.units import NEVER_NS
from tests.support.memory import Bench, KnownWriter, bench

SIZES = Geometry(slots=8, rows=3, ring_bytes=65_536, descriptors=96, event_records=1)
ADDRESS = "192.0.2.7"


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench(SIZES) as made:
        yield made


def taker(house: Bench, caps: Caps, pool: SlotPool | None = None) -> Callable[..., int | Cap | None]:
    admission = Admission(pool or house.pool, lambda: caps)
    port = iter(range(50_000, 60_000))

    def take(row: int = 0, address: str = ADDRESS, organization: str = "org") -> int | Cap | None:
        source = f"{address}:{next(port)}"
        return admission.acquire(row, 1, source_address=source, organization_id=organization, rate_hz=8000, channels=1)

    return take


def states(house: Bench) -> list[str]:
    return [layout.STREAM_STATES[state] for state in house.reader.states().tolist()]


def test_without_caps_the_pool_is_the_cap(house: Bench) -> None:
    take = taker(house, Caps())
    assert [take() for _ in range(9)] == [*range(8), None]


def test_the_hosts_cap_counts_everybody(house: Bench) -> None:
    take = taker(house, Caps(host=2))
    assert take(row=0) == 0
    assert take(row=1, address="192.0.2.8", organization="other") == 1
    assert take(row=2) is Cap.HOST
    house.pool.release(0)
    assert take(row=2) == 2


def test_caps_that_change_hold_for_whoever_comes_next(house: Bench) -> None:
    now = Caps()
    admission = Admission(house.pool, lambda: now)

    def take() -> int | Cap | None:
        return admission.acquire(0, 1, source_address=f"{ADDRESS}:1", organization_id="org")

    assert [take() for _ in range(3)] == [0, 1, 2]
    now = Caps(worker=2)
    assert take() is Cap.WORKER
    assert states(house)[:4] == ["OPENING", "OPENING", "OPENING", "FREE"], "who is there stays"
    house.pool.release(0)
    assert take() is Cap.WORKER
    house.pool.release(1)
    assert isinstance(take(), int)
    now = Caps()
    assert [take() for _ in range(7)][-1] is None


@pytest.mark.parametrize("state", sorted(layout.OWNED_STATES))
def test_a_stream_counts_from_opening_on(house: Bench, state: int) -> None:
    take = taker(house, Caps(host=1))
    assert take() == 0
    update_card(house.arena, 0, state=state)
    assert take() is Cap.HOST


def test_parked_and_ended_streams_do_not_count(house: Bench) -> None:
    take = taker(house, Caps(host=1, worker=1, address=1, organization=1))
    assert take() == 0
    house.pool.park(0, NEVER_NS)
    assert take() == 1
    house.pool.release(1)
    assert take() == 2


def test_a_workers_cap_is_its_rows(house: Bench) -> None:
    take = taker(house, Caps(worker=1))
    assert [take(row=row) for row in (0, 1, 0, 1, 2)] == [0, 1, Cap.WORKER, Cap.WORKER, 2]


@pytest.mark.parametrize(
    ("address", "others"),
    [
        (ADDRESS, ("192.0.2.70", "192.0.2.17", "92.0.2.7", "2001:db8::7")),
        # What begins with "::1:" is not all ::1: the port is behind the last colon, and colons are in front of it too.
        ("::1", ("::1:7", "::1:50000", "2001::1", "::10")),
        ("2001:db8:1111:2222:3333:4444:255.255.255.255", ("2001:db8:1111:2222:3333:4444:255.255.255.25",)),
    ],
)
def test_an_address_is_compared_as_a_whole_and_without_its_port(
    house: Bench, address: str, others: tuple[str, ...]
) -> None:
    take = taker(house, Caps(address=1))
    for other in others:
        assert isinstance(take(address=other), int)
    assert isinstance(take(address=address), int)
    assert take(address=address) is Cap.ADDRESS


def test_an_organization_without_a_name_is_none(house: Bench) -> None:
    take = taker(house, Caps(organization=1))
    assert [take(organization=name) for name in ("", "", "a", "b", "a", "")] == [0, 1, 2, 3, Cap.ORGANIZATION, 4]


def test_a_name_that_is_cut_to_its_field_is_still_counted(house: Bench) -> None:
    """64 bytes: 61 and two times two of an ä make 65, so the second one is left out whole."""
    take = taker(house, Caps(organization=1))
    long = "o" * 61 + "ää"
    assert take(organization=long) == 0
    assert read_card(house.reader, 0)["organization_id"] == "o" * 61 + "ä"
    assert take(organization=long) is Cap.ORGANIZATION


def test_whoever_comes_when_the_cap_is_reached_touches_nothing(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool)
    known.audio(320)
    ended = house.stream(known.slot)
    known.end()
    take = taker(house, Caps(host=1))
    for slot in range(1, 8):
        assert house.pool.locks.try_lock(slot)  # the ended stream's is the only slot to be had
        house.pool.held.add(slot)
    update_card(house.arena, 1, state=layout.LIVE)
    versions = house.arena.card_versions.copy()
    assert take() is Cap.HOST
    assert np.array_equal(house.arena.card_versions, versions)
    assert ended.latest(1).samples.any()


class Outrun(SlotPool):
    """Another worker publishes a stream between our look and our count."""

    rival: Callable[[], int | None]

    def acquire(self, row: int, generation: int, **identity: int | str) -> int | None:
        slot = super().acquire(row, generation, **identity)
        assert self.rival() is not None
        return slot


def test_who_is_outrun_gives_its_slot_back_without_a_trace(house: Bench) -> None:
    known = KnownWriter(house.arena, house.pool)
    known.audio(320)
    held = house.stream(known.slot).latest(1)
    known.end()
    for slot in range(2, 8):
        assert house.pool.locks.try_lock(slot)
    rival = house.new_pool()
    assert rival.acquire(1, 1) == 1, "the only other slot; an ended stream's is left"
    update_card(house.arena, 1, state=layout.FREE)
    outrun = Outrun(house.arena, house.new_pool().locks)

    def publish() -> int:
        update_card(house.arena, 1, state=layout.OPENING)
        return 1

    outrun.rival = publish
    assert taker(house, Caps(host=1), outrun)() is Cap.HOST
    assert states(house) == ["FREE", "OPENING", *["FREE"] * 6]
    assert not outrun.held
    assert house.pool.locks.try_lock(known.slot), "its lock was kept"
    assert not held.still_valid()
    assert not any(os.pread(house.files.read_only, SIZES.ring_bytes, SIZES.ring_offset(known.slot))), "voices lie about"
    rival.release(1)
    assert isinstance(taker(house, Caps(host=1))(), int), "there is room again"
    outrun.locks.close()
    rival.locks.close()
