"""supervisor/parking.py: how long PARKED streams wait, by integer clocks; and what they are told."""

from collections.abc import Iterator
from typing import Any

import pytest

from audiohook.control.commands import Command, Status, Verb
from audiohook.memory import layout
from audiohook.memory.cards import read_card
from audiohook.memory.row import Row
from audiohook.supervisor.parking import EXPECTED_BACK_NS, Parking
from audiohook.units import NS_PER_S
from tests.support.memory import Bench, bench

HOLD_NS = 3600 * NS_PER_S


class House:
    def __init__(self, memory: Bench) -> None:
        self.memory = memory
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.row = Row(memory.arena, memory.geometry.supervisor_row)
        self.parking = Parking(memory.new_pool(), self.row, self.tell, HOLD_NS)

    def tell(self, kind: str, **fields: Any) -> None:
        self.told.append((kind, fields))

    def park(self, until_ns: int) -> tuple[int, int]:
        slot = self.memory.pool.acquire(0, 1, stream_id="s", call_id="c", rate_hz=16_000, channels=1)
        assert slot is not None
        self.memory.pool.park(slot, until_ns, end_reason="peer_vanished")
        return slot, read_card(self.memory.arena, slot)["epoch"]

    def card(self, slot: int) -> dict[str, Any]:
        return read_card(self.memory.reader, slot)

    def count(self, name: str) -> int:
        return self.memory.arena.words[layout.counter_word(self.memory.geometry, self.row.number, name)]


@pytest.fixture
def house() -> Iterator[House]:
    with bench() as memory:
        yield House(memory)


def test_a_stream_waits_until_its_time_and_no_longer(house: House) -> None:
    slot, _ = house.park(until_ns=1000)
    house.parking.look(999)
    assert (house.card(slot)["state"], house.told) == (layout.PARKED, [])
    house.parking.look(1000)
    assert (house.card(slot)["state"], house.card(slot)["end_reason"]) == (layout.ENDED, "peer_vanished")
    ((kind, fields),) = house.told
    assert (kind, fields["stream"], fields["reason"], fields["length_frames"]) == (
        *("stream_ended", "s"),
        *("peer_vanished", 0),
    )
    assert (house.count("streams_ended"), house.count("peer_vanished")) == (1, 0), "that was counted when it parked"
    house.parking.look(1001)
    assert len(house.told) == 1


def test_one_that_is_being_taken_on_is_left_alone(house: House) -> None:
    slot, epoch = house.park(until_ns=1000)
    assert house.memory.pool.take_parked(slot, epoch)
    house.parking.look(2000)
    house.parking.end_all()
    assert (house.card(slot)["state"], house.told) == (layout.PARKED, [])
    reply = house.parking.command(Command(1, Verb.END, slot, epoch))
    assert (reply.status, reply.text) == (Status.REFUSED, "the stream is just being continued")
    house.memory.pool.let_go(slot)
    house.parking.look(2000)
    assert house.card(slot)["state"] == layout.ENDED


def test_who_is_expected_back_and_does_not_come_is_told_of_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slot, epoch = house.park(until_ns=HOLD_NS)
    monkeypatch.setattr("audiohook.supervisor.parking.time.monotonic_ns", lambda: 5 * NS_PER_S)
    assert house.parking.command(Command(1, Verb.UNHOLD, slot, epoch)).status is Status.OK
    assert [kind for kind, _ in house.told] == ["command"]
    house.parking.look(5 * NS_PER_S + EXPECTED_BACK_NS - 1)
    assert len(house.told) == 1
    for _ in range(2):
        house.parking.look(5 * NS_PER_S + EXPECTED_BACK_NS)
    assert house.told[1:] == [("expected_back", {"stream": "s", "call": "c"})]
    assert (house.count("expected_back"), house.card(slot)["state"]) == (1, layout.PARKED), "it may still come"


def test_a_hold_that_is_told_late_keeps_the_stream_and_forgets_whom_it_expected(house: House) -> None:
    slot, epoch = house.park(until_ns=15 * NS_PER_S)
    house.parking.command(Command(1, Verb.UNHOLD, slot, epoch))
    assert house.parking.command(Command(2, Verb.HOLD, slot, epoch)).status is Status.OK
    card = house.card(slot)
    assert (card["flags"], card["expected_until_ns"]) == (layout.FLAG_HELD, 0)
    assert card["parked_until_ns"] > HOLD_NS


@pytest.mark.parametrize(("verb", "reason"), [(Verb.END, "call_ended"), (Verb.DISCONNECT, "disconnected")])
def test_a_command_ends_it_with_its_own_reason(house: House, verb: Verb, reason: str) -> None:
    slot, epoch = house.park(until_ns=HOLD_NS)
    assert house.parking.command(Command(1, verb, slot, epoch)).status is Status.OK
    assert (house.card(slot)["state"], house.card(slot)["end_reason"]) == (layout.ENDED, reason)
    assert [kind for kind, _ in house.told] == ["stream_ended", "command"]
    assert (house.count(reason), house.count("commands_done")) == (1, 1)
    assert house.parking.command(Command(2, verb, slot, epoch)).status is Status.REFUSED


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.MASK, Verb.UNMASK, Verb.EVENT])
def test_what_needs_a_peer_is_not_available(house: House, verb: Verb) -> None:
    slot, epoch = house.park(until_ns=HOLD_NS)
    assert house.parking.command(Command(1, verb, slot, epoch)).status is Status.NOT_AVAILABLE
    assert (house.card(slot)["state"], house.count("commands_done"), house.told) == (layout.PARKED, 0, [])
