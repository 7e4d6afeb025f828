"""The supervisor's policy: what is done with a child that is hung, step by step."""

import pytest

from audiohook.supervisor.orders import (
    AnnounceHung,
    AnnounceStopping,
    Beating,
    DeskExited,
    ForkDesk,
    ForkWorker,
    Hung,
    Input,
    MarkDead,
    Scale,
    Signal,
    SignalDesk,
    SignalWorker,
    WorkerReady,
)
from audiohook.supervisor.phases import ChildPhase, Phase
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.policy import CONDEMNED_NS, DUMP_NS
from audiohook.supervisor.state import DESK, deadline_ns
from audiohook.units import NEVER_NS, NS_PER_S, seconds_ns
from tests.unit.test_supervisor_policy import SERVED, exits, house

PLAN = Plan(workers=2, rows=4, desk=True, boot_ns=seconds_ns(20), drain_ns=seconds_ns(60))
HUNG = Hung(0, 100, 10 * NS_PER_S)


def test_stacks_then_drain_then_kill_then_another_in_its_place() -> None:
    h = house(*SERVED, plan=PLAN)
    began_ns = h.now_ns
    assert h.tell(HUNG) == [AnnounceHung(0, 100, 10 * NS_PER_S), SignalWorker(0, "dump")]
    assert "worker 0 is hung" in h.text()
    assert h.logged[-1].fields == {"pid": 100, "seconds": 10.0}
    assert h.pass_deadline() == [SignalWorker(0, "drain")]
    assert h.now_ns == began_ns + DUMP_NS
    assert h.pass_deadline() == [SignalWorker(0, "kill")]
    assert h.now_ns == began_ns + DUMP_NS + CONDEMNED_NS
    assert h.tell(*exits(0, status=-9)) == [MarkDead(0), ForkWorker(0, 0)]
    assert h.tell(WorkerReady(0)) == []


def test_one_that_goes_on_before_it_was_told_to_drain_goes_on_as_if_nothing_had_been() -> None:
    h = house(*SERVED, HUNG, plan=PLAN)
    assert h.tell(Beating(0)) == []
    assert deadline_ns(h.state) == NEVER_NS
    assert h.tell(HUNG)[-1] == SignalWorker(0, "dump")


def test_one_that_goes_on_later_keeps_its_calls_and_another_serves_in_a_free_row() -> None:
    h = house(*SERVED, HUNG, plan=PLAN)
    h.pass_deadline()
    assert h.tell(Beating(0)) == [ForkWorker(2, 0), SignalWorker(0, "retire")]
    assert h.tell(WorkerReady(2)) == []
    assert deadline_ns(h.state) == NEVER_NS, "nobody kills it any more"
    assert h.state.wanted == 2
    assert h.tell(*exits(0)) == [MarkDead(0)]
    assert h.state.child(0).phase is ChildPhase.ABSENT


def test_without_a_free_row_its_successor_comes_when_it_has_gone() -> None:
    h = house(*SERVED, HUNG, plan=Plan(2, 2, True, seconds_ns(20), seconds_ns(60)))
    h.pass_deadline()
    assert h.tell(Beating(0)) == []
    assert h.tell(*exits(0)) == [MarkDead(0), ForkWorker(0, 0)]


def test_one_that_was_to_leave_anyway_is_killed_and_not_replaced() -> None:
    h = house(*SERVED, Scale(1, (1, 5)), HUNG, plan=PLAN)
    h.pass_deadline()
    assert h.pass_deadline() == [SignalWorker(0, "kill")]
    assert h.tell(*exits(0, status=-9)) == [MarkDead(0)]


@pytest.mark.parametrize(
    ("before", "due"), [((), [SignalWorker(0, "drain")]), ((Signal("TERM"),), [SignalWorker(0, "hurry")])]
)
def test_a_stop_goes_its_way_and_a_hung_worker_its_own(before: tuple[Input, ...], due: list[object]) -> None:
    h = house(*SERVED, HUNG, plan=PLAN)
    orders = h.tell(*before, Signal("TERM"))
    assert [order for order in orders if order in due] == due
    assert orders[0] == AnnounceStopping()
    h.pass_deadline()
    assert SignalWorker(0, "kill") in h.pass_deadline()
    assert h.tell(*exits(0, status=-9)) == [MarkDead(0)], "not replaced"
    assert h.tell(*exits(1))[-1] == SignalDesk("drain")


def test_a_worker_that_goes_on_while_the_service_stops_gets_what_the_phase_deserves() -> None:
    h = house(*SERVED, HUNG, Signal("QUIT"), plan=PLAN)
    assert h.tell(Beating(0)) == [SignalWorker(0, "hurry")]


def test_a_worker_that_hangs_before_all_are_ready_ends_the_start() -> None:
    h = house(*SERVED[:2], HUNG, *SERVED[2:], plan=PLAN)
    assert h.state.phase is Phase.BOOTING
    h.pass_deadline()
    assert h.tell(Beating(0)) == [], "it leaves: too late"
    assert h.pass_deadline()[:2] == [SignalWorker(0, "kill"), AnnounceStopping()]


def test_the_hung_desk_is_replaced_and_a_late_word_of_it_changes_nothing() -> None:
    h = house(*SERVED, plan=PLAN)
    assert h.tell(Hung(DESK, 103, NS_PER_S)) == [AnnounceHung(DESK, 103, NS_PER_S), SignalDesk("dump")]
    assert h.pass_deadline() == [SignalDesk("drain")]
    assert h.tell(Beating(DESK)) == [], "it has heard that it is to leave"
    assert h.pass_deadline() == [SignalDesk("kill")]
    assert h.tell(DeskExited(-9)) == [ForkDesk()]


def test_the_hung_desk_is_told_to_leave_when_its_time_comes() -> None:
    h = house(*SERVED, Hung(DESK, 103, NS_PER_S), Signal("TERM"), *exits(0), plan=PLAN)
    assert h.tell(*exits(1)) == [MarkDead(1), SignalDesk("drain")]
