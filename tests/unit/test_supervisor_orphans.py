"""What the policy does with living workers of a daemon that was killed: their rows, their calls, and its own start."""

import msgspec
import pytest

from audiohook.supervisor.orders import (
    AnnounceReady,
    AnnounceStopping,
    Beating,
    ChildExited,
    DeskExited,
    DeskReady,
    Exit,
    ForkDesk,
    ForkWorker,
    Hung,
    Input,
    MarkDead,
    Orphan,
    OrphanGone,
    Signal,
    SignalDesk,
    SignalWorker,
    Started,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import ChildPhase, Phase
from audiohook.supervisor.plan import Plan
from audiohook.units import NS_PER_S, seconds_ns
from tests.unit.test_supervisor_policy import House, house

PLAN = Plan(workers=2, rows=6, desk=True, boot_ns=seconds_ns(20), drain_ns=seconds_ns(60), generation=4)
BEGUN = Started((Orphan(0, 3), Orphan(1, 2)))
SERVED: tuple[Input, ...] = (BEGUN, WorkerReady(2), WorkerReady(3), DeskReady())


def begun(*inputs: Input, plan: Plan = PLAN) -> House:
    return house(*inputs, plan=plan)


def test_new_workers_get_the_rows_that_no_orphan_has() -> None:
    h = begun()
    assert h.tell(BEGUN) == [ForkWorker(2, 4), ForkWorker(3, 4), ForkDesk()]
    assert "keep their calls" in h.text()
    assert h.tell(WorkerReady(2), WorkerReady(3)) == []
    assert h.tell(DeskReady()) == [AnnounceReady()]
    assert h.state.wanted == 2


def test_an_orphan_s_end_frees_its_row_and_nothing_else() -> None:
    h = begun(*SERVED)
    assert h.tell(OrphanGone(0, 100)) == [MarkDead(0)]
    assert h.state.child(0).phase is ChildPhase.ABSENT
    assert not h.state.child(0).orphan
    assert h.tell(OrphanGone(0, 100), OrphanGone(2, 102), OrphanGone(5, 105)) == []


def test_an_orphan_s_end_while_others_boot_is_no_failed_start() -> None:
    h = begun(BEGUN)
    assert h.tell(OrphanGone(1, 101)) == [MarkDead(1)]
    assert h.state.phase is Phase.BOOTING
    assert h.tell(WorkerReady(2), WorkerReady(3), DeskReady()) == [AnnounceReady()]


def test_a_hung_orphan_is_killed_like_any_worker_and_the_start_goes_on() -> None:
    h = begun(BEGUN)
    h.tell(Hung(0, 100, 10 * NS_PER_S))
    assert SignalWorker(0, "drain") in h.pass_deadline()
    assert h.pass_deadline() == [SignalWorker(0, "kill")]
    assert h.tell(OrphanGone(0, 100)) == [MarkDead(0)]
    assert h.state.phase is Phase.BOOTING


def test_an_orphan_that_goes_on_in_time_keeps_its_calls() -> None:
    h = begun(*SERVED)
    h.tell(Hung(0, 100, 10 * NS_PER_S))
    h.pass_deadline()
    orders = h.tell(Beating(0))
    assert not [order for order in orders if isinstance(order, ForkWorker)], "nobody takes its place"
    assert h.state.child(0).phase is ChildPhase.READY


@pytest.mark.parametrize("why", [WorkerReport(2, "no decoder"), ChildExited(2, 102, 1)])
def test_a_start_that_fails_does_not_touch_the_orphans(why: Input) -> None:
    h = begun(BEGUN)
    orders = h.tell(why, ChildExited(2, 102, 3), ChildExited(3, 103, 0))
    orders += h.tell(DeskExited(0))
    assert [order for order in orders if isinstance(order, Exit)]
    assert not [order for order in orders if isinstance(order, SignalWorker) and order.row in (0, 1)]


def test_a_stop_drains_hurries_and_kills_orphans_too() -> None:
    h = begun(*SERVED)
    orders = h.tell(Signal("TERM"))
    assert orders == [AnnounceStopping(), *(SignalWorker(row, "drain") for row in range(4))]
    orders = h.tell(OrphanGone(0, 100), ChildExited(2, 102, 0), ChildExited(3, 103, 0))
    assert orders == [MarkDead(0), MarkDead(2), MarkDead(3)]
    assert SignalWorker(1, "hurry") in h.tell(Signal("TERM"))
    assert h.tell(Signal("TERM")) == [SignalWorker(1, "kill")]
    assert h.tell(OrphanGone(1, 101)) == [MarkDead(1), SignalDesk("drain")]
    assert h.tell(DeskExited(0)) == [Exit(0)]


def test_where_rows_are_lacking_the_oldest_orphans_end_their_calls() -> None:
    h = begun(plan=msgspec.structs.replace(PLAN, rows=4))
    orphans = Started((Orphan(0, 3), Orphan(1, 3), Orphan(2, 1)))
    assert h.tell(orphans) == [ForkWorker(3, 4), SignalWorker(2, "hurry"), ForkDesk()]
    assert h.tell(WorkerReady(3), DeskReady()) == []
    assert h.tell(OrphanGone(2, 102)) == [MarkDead(2), ForkWorker(2, 4)]
    assert h.tell(WorkerReady(2)) == [AnnounceReady()]


def test_with_every_row_taken_the_start_waits_for_the_first_to_end() -> None:
    h = begun(plan=msgspec.structs.replace(PLAN, rows=2, workers=1))
    assert h.tell(Started((Orphan(0, 3), Orphan(1, 3)))) == [SignalWorker(0, "hurry"), ForkDesk()]
    assert h.tell(DeskReady()) == []
    assert h.tell(OrphanGone(0, 100)) == [MarkDead(0), ForkWorker(0, 4)]
    assert h.tell(WorkerReady(0)) == [AnnounceReady()]


def test_a_successor_in_an_orphan_s_row_is_a_worker_like_any() -> None:
    h = begun(plan=msgspec.structs.replace(PLAN, rows=2, workers=1))
    h.tell(Started((Orphan(0, 3),)), WorkerReady(1), DeskReady(), OrphanGone(0, 100))
    orders = h.tell(ChildExited(1, 101, -9))
    assert ForkWorker(1, 4) in orders
    assert h.tell(OrphanGone(1, 101)) == []
