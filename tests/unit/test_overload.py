"""worker/overload.py and shedding.py: what is shed when, in a simulated worker. Integer clocks, no sockets.

The simulation is the text's own: everybody is served once a turn, so a turn works off what came in the one before.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.worker.overload import FULL, QUIET_NS, Overload, OverloadNotice
from audiohook.worker.shedding import Shedding

LAG_NS = 300 * NS_PER_MS
DECODE_SHARE = 0.75
"""How much of a packet's cost is spared if it is not decoded."""

STRETCHES = 8
"""After so many parts of a turn it is looked at how long it has been."""


class Worker:
    """Turns that take what the load of the turn before demands. `load` is the share of the processor for all of it."""

    def __init__(self, load: float, backlog_ns: int = 0) -> None:
        self.overload = Overload(LAG_NS)
        self.load = load
        self.now_ns = 1000 * NS_PER_S
        self.waiting_ns = backlog_ns  # media time that waits
        self.shed_ns = self.media_ns = self.idle_ns = 0
        self.turns: list[int] = []

    def turn(self) -> None:
        waiting, self.waiting_ns = max(self.waiting_ns, 20 * NS_PER_MS), 0
        self.media_ns += waiting
        turn_ns = 0
        for _ in range(STRETCHES):
            shed = self.overload.share / FULL
            self.shed_ns += int(waiting * shed / STRETCHES)
            turn_ns += int(waiting * self.load * (1 - DECODE_SHARE * shed) / STRETCHES)
            self.overload.during(turn_ns)
        idle_ns = max(0, waiting - turn_ns) if waiting == 20 * NS_PER_MS else 0
        self.now_ns += turn_ns + idle_ns
        self.waiting_ns = turn_ns
        self.turns.append(turn_ns)
        if idle_ns:
            self.idle_ns = self.now_ns
        self.overload.turn(turn_ns, self.now_ns, idle=idle_ns > 0, idle_ns=self.idle_ns)

    def run(self, for_ns: int) -> "Worker":
        until_ns = self.now_ns + for_ns
        while self.now_ns < until_ns:
            self.turn()
        return self


@pytest.mark.parametrize("load", [0.3, 0.7, 0.85])
@pytest.mark.parametrize("backlog_s", [1, 5, 30, 300])
def test_a_backlog_is_worked_off_and_never_shed(load: float, backlog_s: int) -> None:
    worker = Worker(load, backlog_s * NS_PER_S).run(60 * NS_PER_S + 10 * backlog_s * NS_PER_S)
    assert worker.turns[0] >= LAG_NS or backlog_s * load < LAG_NS / NS_PER_S
    assert worker.shed_ns == 0
    assert worker.turns[-1] < LAG_NS // 10


@pytest.mark.parametrize("load", [1.05, 1.2, 1.5, 2.0])
def test_under_overload_turns_stay_bounded_and_it_recovers_by_itself(load: float) -> None:
    worker = Worker(load).run(60 * NS_PER_S)
    assert max(worker.turns[len(worker.turns) // 2 :]) < 2.5 * LAG_NS, "answers come within a turn"
    assert 0 < worker.shed_ns < worker.media_ns
    enough = (1 - 1 / load) / DECODE_SHARE
    assert worker.shed_ns / worker.media_ns < enough + 0.1, "more is shed than has to be"
    worker.load, before = 0.5, worker.shed_ns
    worker.run(5 * NS_PER_S)
    assert worker.overload.share == 0
    assert not worker.overload.refusing
    settled = worker.shed_ns
    worker.run(30 * NS_PER_S)
    assert worker.shed_ns == settled
    assert settled - before < 3 * NS_PER_S


def test_one_long_turn_is_not_compared_with_the_short_one_before_it() -> None:
    overload = Overload(LAG_NS)
    overload.turn(NS_PER_MS, 0, idle=False, idle_ns=0)
    overload.turn(100 * LAG_NS, 100 * LAG_NS, idle=False, idle_ns=0)
    assert overload.share == 0
    overload.turn(100 * LAG_NS, 200 * LAG_NS, idle=False, idle_ns=0)
    assert overload.share > 0


@pytest.mark.parametrize("first_ms", [80, 100, 140, 155])
def test_turns_that_double_are_stopped_before_anybody_waits_for_a_second(first_ms: int) -> None:
    worker = Worker(2.0, first_ms * NS_PER_MS // 2).run(20 * NS_PER_S)
    assert worker.turns[0] == first_ms * NS_PER_MS
    pairs = zip(worker.turns, worker.turns[1:], strict=False)
    assert max(one + next_one for one, next_one in pairs) < NS_PER_S, "a wait is at most two turns"


def test_a_turn_that_is_not_over_is_acted_upon_once() -> None:
    overload = Overload(LAG_NS)
    overload.turn(LAG_NS // 3, 0, idle=False, idle_ns=0)
    overload.turn(LAG_NS * 2 // 3, 0, idle=False, idle_ns=0)
    overload.during(LAG_NS)
    assert overload.share == 0
    overload.during(LAG_NS + 1)
    raised = overload.share
    assert raised >= FULL // 2, "the next one would be twice as long"
    overload.during(3 * LAG_NS)
    overload.turn(3 * LAG_NS, 0, idle=False, idle_ns=0)
    assert overload.share == raised
    overload.during(2 * LAG_NS)
    assert overload.share == raised, "it may be shorter than the one before"
    overload.during(3 * LAG_NS)
    assert overload.share > raised


def test_what_is_left_of_a_turn_that_is_much_too_long_is_not_decoded() -> None:
    overload = Overload(LAG_NS)
    overload.turn(LAG_NS // 2, 0, idle=False, idle_ns=0)
    overload.during(LAG_NS + 1)
    raised = overload.share
    overload.during(LAG_NS * 5 // 4)
    assert overload.share == raised < FULL
    overload.during(LAG_NS * 5 // 4 + 1)
    assert overload.share == FULL
    overload.turn(LAG_NS * 3 // 2, 0, idle=False, idle_ns=0)
    assert overload.share == raised, "the next one is another turn"


@pytest.mark.parametrize("before_ns", [0, LAG_NS // 4, 3 * LAG_NS])
def test_of_a_turn_that_is_no_overload_all_is_decoded(before_ns: int) -> None:
    overload = Overload(LAG_NS)
    overload.turn(before_ns, 0, idle=False, idle_ns=0)
    for turn_ns in range(LAG_NS, 2 * LAG_NS, 5 * NS_PER_MS):
        overload.during(turn_ns)
    assert overload.share == 0


def test_a_turn_behind_an_idle_wait_is_no_overload_however_long() -> None:
    overload = Overload(LAG_NS)
    overload.turn(LAG_NS, 0, idle=False, idle_ns=0)
    overload.turn(2 * LAG_NS, 0, idle=True, idle_ns=0)
    assert overload.share == 0


def test_in_a_rush_two_turns_have_to_be_too_long() -> None:
    overload = Overload(LAG_NS)
    overload.turn(LAG_NS * 2 // 3, 0, idle=False, idle_ns=0, rush=True)
    overload.during(2 * LAG_NS, rush=True)
    overload.turn(2 * LAG_NS, 0, idle=False, idle_ns=0, rush=True)
    assert overload.share == 0
    overload.during(2 * LAG_NS, rush=True)
    assert overload.share > 0


def test_short_turns_behind_a_long_one_do_not_end_an_overload_at_once() -> None:
    overload = Overload(LAG_NS)
    overload.share = FULL
    for now_ns in range(LAG_NS, LAG_NS + NS_PER_MS * 10, NS_PER_MS):
        overload.turn(NS_PER_MS, now_ns, idle=False, idle_ns=0)
    assert overload.share == FULL - 2
    overload.turn(NS_PER_MS, 2 * LAG_NS, idle=True, idle_ns=2 * LAG_NS)
    assert overload.share == FULL - 6


def test_new_calls_are_refused_before_anybody_is_shed() -> None:
    worker = Worker(1.05)
    while not worker.overload.share:
        worker.turn()
        if worker.overload.refusing:
            break
    assert worker.overload.refusing
    assert worker.overload.share == 0


def test_nobody_is_refused_where_there_is_idle_time() -> None:
    worker = Worker(0.9)
    for _ in range(1000):
        worker.turn()
        assert not worker.overload.refusing


@given(st.lists(st.integers(1, 200), min_size=1, max_size=50), st.integers(0, FULL))
def test_over_time_the_share_is_exact_however_messages_are_read(batches: list[int], share: int) -> None:
    overload = Overload(LAG_NS)
    overload.share = share
    shedding = Shedding(overload)
    shed = [shedding.to_shed(messages) for messages in batches]
    assert all(0 <= one <= messages for one, messages in zip(shed, batches, strict=True))
    assert sum(shed) == sum(batches) * share // FULL


def test_in_the_lane_only_who_falls_behind_the_clock_is_shed() -> None:
    start_ns = 1000 * NS_PER_S
    for after_ns, advanced_ns, idle_ns, late in (
        (LAG_NS, 0, 0, False),
        (LAG_NS + 1, 0, 0, True),
        (2 * LAG_NS, 2 * LAG_NS - 1, 0, True),
        (2 * LAG_NS, 2 * LAG_NS, 0, False),
        (2 * LAG_NS, 0, start_ns + 1, False),
        (NS_PER_S, 30 * NS_PER_S, 0, False),
    ):
        shedding = Shedding(Overload(LAG_NS))
        shedding.look(50 * NS_PER_S, 0, start_ns)
        shedding.look(50 * NS_PER_S + advanced_ns, idle_ns, start_ns + after_ns)
        assert shedding.active is late
        assert shedding.to_shed(7) == (7 if late else 0)


def test_who_fell_behind_is_shed_until_the_lane_lets_go_of_it_or_somebody_is_idle() -> None:
    shedding = Shedding(Overload(LAG_NS))
    shedding.look(0, 0, 1)
    shedding.look(0, 0, LAG_NS + 2)
    shedding.look(30 * NS_PER_S, 0, 2 * LAG_NS)
    assert shedding.active, "it has caught up with the clock, and there is more"
    shedding.leave_lane()
    assert not shedding.active
    shedding.look(0, 0, NS_PER_S)
    shedding.look(0, 0, NS_PER_S + LAG_NS + 1)
    assert shedding.active
    shedding.look(0, NS_PER_S + 1, NS_PER_S + 2 * LAG_NS)
    assert not shedding.active


def test_who_is_alone_in_the_lane_is_never_shed_there() -> None:
    """A message in 100,000 fragments takes longer than the worker may lag, and says nothing until its end."""
    shedding = Shedding(Overload(LAG_NS))
    for number in range(1, 9):
        shedding.look(0, 0, number * LAG_NS, alone=True)
        assert not shedding.active
    shedding.look(0, 0, 9 * LAG_NS)
    assert not shedding.active, "counted from when others came"
    shedding.look(0, 0, 10 * LAG_NS + 1)
    assert shedding.active
    shedding.look(0, 0, 10 * LAG_NS + 2, alone=True)
    assert not shedding.active


def test_an_overload_that_flickers_is_told_of_once() -> None:
    told: list[tuple[str, dict[str, object]]] = []
    overload = Overload(LAG_NS)
    notice = OverloadNotice(lambda kind, **fields: told.append((kind, fields)))
    for now_ns in range(0, 10 * NS_PER_S, NS_PER_S // 10):
        overload.share = 2 * (now_ns // NS_PER_S % 2)
        notice.turn(overload, now_ns)
    overload.share = 0
    assert told == [("overload_began", {})]
    notice.turn(overload, 10 * NS_PER_S + QUIET_NS)
    assert [kind for kind, _ in told] == ["overload_began", "overload_ended"]
    assert told[1][1] == {"seconds": 8.9}
    notice.turn(overload, 20 * NS_PER_S)
    assert len(told) == 2
