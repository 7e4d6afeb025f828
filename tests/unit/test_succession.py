"""worker/succession.py: who is closed for a newer connection, and when that one goes on. No sockets."""

from collections.abc import Callable, Iterator

import pytest

from audiohook.control.commands import Reply, Status, Verb
from audiohook.errors import SUPERSEDED, Closure
from audiohook.memory import layout
from audiohook.memory.cards import update_card
from audiohook.net.loop import Loop
from audiohook.session.events import Identity
from audiohook.worker.succession import WAIT_NS, Succession
from tests.support.memory import Bench, bench

WHO = Identity("context", "call", session_id="session", participant_id="someone", direction="inbound")


class Older:
    def __init__(self) -> None:
        self.closed: list[Closure] = []

    def give_way(self, why: Closure, now_ns: int) -> None:
        self.closed.append(why)


class House:
    """One worker's succession over a real pool; other workers' streams are of another pool's."""

    def __init__(self, memory: Bench) -> None:
        self.memory = memory
        self.now_ns = 1000
        self.loop = Loop(lambda now_ns: now_ns, lambda: self.now_ns)
        self.calls: dict[int, Older] = {}
        self.asked: list[tuple[int, Callable[[Reply], None]]] = []
        self.went_on: list[int] = []
        self.succession = Succession(memory.pool, self.calls, self.ask, self.loop)
        self.others = memory.new_pool()

    def ask(self, verb: Verb, slot: int, epoch: int, then: Callable[[Reply], None]) -> None:
        assert verb is Verb.TAKEOVER
        self.asked.append((slot, then))

    def stream(self, identity: Identity = WHO, state: int = layout.LIVE, *, elsewhere: bool = False) -> int:
        pool = self.others if elsewhere else self.memory.pool
        names = ("dialect", "call_id", "session_id", "participant_id", "direction")
        slot = pool.acquire(0, 1, **{name: getattr(identity, name) for name in names})
        assert slot is not None
        update_card(self.memory.arena, slot, state=state)
        if not elsewhere:
            self.calls[slot] = Older()
        return slot

    def clear_way(self, identity: Identity = WHO) -> bool:
        return self.succession.clear_way(identity, self.now_ns, self.went_on.append)

    def turn_at(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.loop.turn()


@pytest.fixture
def house() -> Iterator[House]:
    with bench() as memory:
        yield House(memory)


@pytest.mark.parametrize("state", range(len(layout.STREAM_STATES)), ids=layout.STREAM_STATES)
def test_only_an_open_stream_is_in_the_way(house: House, state: int) -> None:
    slot = house.stream(state=state)
    assert house.clear_way()
    in_the_way = state in (layout.LIVE, layout.PAUSED, layout.HELD)
    assert house.calls[slot].closed == ([SUPERSEDED] if in_the_way else [])


@pytest.mark.parametrize(
    "other",
    [
        Identity("context", "another", session_id="session", participant_id="someone", direction="inbound"),
        Identity("context", "call", session_id="session", participant_id="another", direction="inbound"),
        Identity("context", "call", session_id="session", participant_id="someone", direction="outbound"),
        Identity("audiohook2", "call", session_id="session", participant_id="someone", direction="inbound"),
    ],
    ids=["call", "participant", "direction", "dialect"],
)
def test_whoever_differs_is_not_in_the_way(house: House, other: Identity) -> None:
    house.stream(other)
    house.stream(other, elsewhere=True)
    assert house.clear_way()
    assert (house.asked, [older.closed for older in house.calls.values()]) == ([], [[]])


def test_the_other_dialect_never_replaces_anybody(house: House) -> None:
    identity = Identity("audiohook2", "call", session_id="session", participant_id="someone", direction="inbound")
    slot = house.stream(identity)
    assert house.clear_way(identity)
    assert house.calls[slot].closed == []


def test_another_session_is_replaced_where_the_direction_is_said(house: House) -> None:
    slot = house.stream()
    said = Identity("context", "call", session_id="other", participant_id="someone", direction="inbound")
    assert house.clear_way(said)
    assert house.calls[slot].closed == [SUPERSEDED]


def test_another_workers_stream_is_asked_for_and_awaited(house: House) -> None:
    slots = {house.stream(elsewhere=True) for _ in range(2)}
    assert not house.clear_way()
    assert {slot for slot, _ in house.asked} == slots
    house.asked[0][1](Reply(1, Status.OK))
    assert house.went_on == []
    house.now_ns = 1500
    house.asked[1][1](Reply(2, Status.GONE))
    assert house.went_on == [1500], "whatever the answers were"
    house.turn_at(1000 + WAIT_NS)
    assert house.went_on == [1500], "and only once"


def test_no_answer_is_waited_for_a_second(house: House) -> None:
    house.stream(elsewhere=True)
    assert not house.clear_way()
    house.turn_at(1000 + WAIT_NS - 1)
    assert house.went_on == []
    house.turn_at(1000 + WAIT_NS)
    assert house.went_on == [1000 + WAIT_NS]
    house.asked[0][1](Reply(1, Status.OK))
    assert len(house.went_on) == 1


def test_an_answer_that_comes_before_the_asking_returns_counts(house: House) -> None:
    """`CommandPort.ask` may tell its answer before it returns: a line that is full."""
    for _ in range(2):
        house.stream(elsewhere=True)
    house.succession = Succession(
        house.memory.pool, house.calls, lambda verb, slot, epoch, then: then(Reply(1, Status.REFUSED)), house.loop
    )
    assert not house.clear_way()
    assert house.went_on == [1000]
