"""The supervisor's policy: what each rule orders. Every (phase, input) pair is in test_supervisor_pairs.py."""

import dataclasses
from collections.abc import Sequence

import msgspec
import pytest

from audiohook.supervisor.orders import (
    AnnounceReady,
    AnnounceStopping,
    ChildExited,
    Command,
    DeadlineReached,
    DeskExited,
    DeskForkFailed,
    DeskReady,
    DeskReport,
    Exit,
    ForkDesk,
    ForkFailed,
    ForkWorker,
    Input,
    Log,
    MarkDead,
    ReloadRefused,
    Signal,
    SignalDesk,
    SignalName,
    SignalWorker,
    Started,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import (
    Phase,
)
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.policy import step
from audiohook.supervisor.state import LONELY_BACKOFF_NS, LONG_LIFE_NS, backoff_ns, deadline_ns, initial
from audiohook.supervisor.turn import HURRY_NS
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S, seconds_ns

PLAN = Plan(workers=2, rows=2, desk=True, boot_ns=seconds_ns(20), drain_ns=seconds_ns(60))
SERVED = (Started(), WorkerReady(0), WorkerReady(1), DeskReady())


@dataclasses.dataclass
class House:
    """A policy with a clock that the test moves."""

    plan: Plan = PLAN
    now_ns: int = seconds_ns(1000)

    def __post_init__(self) -> None:
        self.state = initial(self.plan)
        self.logged: list[Log] = []

    def tell(self, *inputs: Input) -> list[Command]:
        """Return what all these inputs order; log lines are kept apart."""
        orders: list[Command] = []
        for happened in inputs:
            self.state, commands = step(self.state, happened, self.now_ns)
            self.logged += [command for command in commands if isinstance(command, Log)]
            orders += [command for command in commands if not isinstance(command, Log)]
        return orders

    def pass_deadline(self) -> list[Command]:
        self.now_ns = deadline_ns(self.state)
        return self.tell(DeadlineReached())

    def text(self) -> str:
        return "\n".join(line.text for line in self.logged)


def house(*inputs: Input, plan: Plan = PLAN) -> House:
    made = House(plan)
    made.tell(*inputs)
    return made


def exits(*rows: int, status: int = 0) -> Sequence[Input]:
    return [ChildExited(row, 100 + row, status) for row in rows]


def test_start_forks_every_row_once_and_the_desk() -> None:
    h = house()
    assert h.tell(Started()) == [ForkWorker(0, 0), ForkWorker(1, 0), ForkDesk()]
    assert h.tell(Started()) == []
    assert deadline_ns(h.state) == h.now_ns + PLAN.boot_ns


@pytest.mark.parametrize("last", range(3))
def test_ready_is_announced_once_and_only_when_all_are(last: int) -> None:
    words: list[Input] = [WorkerReady(0), WorkerReady(1), DeskReady()]
    final = words.pop(last)
    h = house(Started())
    assert h.tell(*words) == []
    assert h.tell(final) == [AnnounceReady()]
    assert h.tell(*words, final) == []
    assert deadline_ns(h.state) == NEVER_NS


def test_without_a_desk_workers_are_enough() -> None:
    h = house(plan=msgspec.structs.replace(PLAN, desk=False))
    assert h.tell(Started(), WorkerReady(1), WorkerReady(0)) == [ForkWorker(0, 0), ForkWorker(1, 0), AnnounceReady()]


def test_generation_is_handed_to_every_fork() -> None:
    h = house(plan=msgspec.structs.replace(PLAN, generation=7))
    assert ForkWorker(1, 7) in h.tell(Started())


def test_boot_report_stops_the_service_with_the_workers_message_and_exit_code() -> None:
    h = house(Started(), WorkerReady(1))
    orders = h.tell(WorkerReport(0, "libopus is missing"))
    assert orders == [AnnounceStopping(), SignalWorker(1, "hurry")]
    assert "worker 0 cannot boot: libopus is missing" in h.text()
    assert h.tell(*exits(0, status=42)) == [MarkDead(0)]
    assert h.tell(*exits(1)) == [MarkDead(1), SignalDesk("drain")]
    assert h.tell(DeskExited(0)) == [Exit(42)]


def test_boot_report_of_a_worker_that_then_hangs_is_exit_code_3() -> None:
    h = house(Started(), WorkerReady(1), WorkerReport(0, "no"), *exits(1))
    assert SignalWorker(0, "kill") in h.pass_deadline()
    assert h.tell(*exits(0, status=-9), DeskExited(0)) == [MarkDead(0), SignalDesk("drain"), Exit(3)]


@pytest.mark.parametrize(("status", "code"), [(5, 5), (0, 1), (-11, 1), (1, 1), (3, 3)])
def test_silent_death_before_ready_stops_the_service(status: int, code: int) -> None:
    h = house(Started(), WorkerReady(0), DeskReady())
    assert h.tell(*exits(0, status=status)) == [MarkDead(0), AnnounceStopping(), SignalWorker(1, "drain")]
    assert h.tell(*exits(1, status=-15), DeskExited(0))[-1] == Exit(code)


def test_late_boot_stops_the_service_with_3() -> None:
    h = house(Started(), WorkerReady(0), DeskReady())
    assert h.pass_deadline() == [SignalWorker(1, "kill"), AnnounceStopping(), SignalWorker(0, "hurry")]
    assert "worker 1 did not become ready within 20 s" in h.text()
    assert h.tell(*exits(0), *exits(1, status=-9), DeskExited(0))[-1] == Exit(3)


def test_first_failed_child_decides_the_exit_code() -> None:
    h = house(Started(), WorkerReport(0, "a"), WorkerReport(1, "b"))
    orders = h.tell(*exits(1, status=77), *exits(0, status=44), DeskExited(0))
    assert orders[-1] == Exit(44)


def test_a_desk_that_cannot_boot_stops_the_first_start_too() -> None:
    h = house(Started(), WorkerReady(0), WorkerReady(1))
    assert h.tell(DeskReport("no such folder")) == [
        AnnounceStopping(),
        SignalWorker(0, "hurry"),
        SignalWorker(1, "hurry"),
    ]
    assert h.tell(DeskExited(6), *exits(0, 1)) == [MarkDead(0), MarkDead(1), Exit(6)]


def test_fork_that_fails_at_first_start_stops_the_service() -> None:
    h = house(Started(), WorkerReady(0), DeskReady())
    assert h.tell(ForkFailed(1, "Resource temporarily unavailable"))[:2] == [
        AnnounceStopping(),
        SignalWorker(0, "hurry"),
    ]
    assert h.tell(*exits(0), DeskExited(0))[-1] == Exit(3)
    assert "Resource temporarily unavailable" in h.text()


def test_dead_worker_is_marked_then_restarted_at_once() -> None:
    h = house(*SERVED)
    assert h.tell(*exits(1, status=-9)) == [MarkDead(1), ForkWorker(1, 0)]


def test_backoff_doubles_from_a_quarter_second_to_half_a_minute_and_forgives_after_a_minute() -> None:
    h = house(*SERVED)
    waits_ms = []
    for _ in range(12):
        died_ns = h.now_ns
        orders = h.tell(*exits(0, status=1))
        if ForkWorker(0, 0) not in orders:
            assert h.pass_deadline() == [ForkWorker(0, 0)]
        waits_ms.append((h.now_ns - died_ns) // NS_PER_MS)
        h.tell(WorkerReady(0))
    assert waits_ms == [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000]
    h.now_ns += LONG_LIFE_NS
    assert h.tell(*exits(0, status=1)) == [MarkDead(0), ForkWorker(0, 0)]
    assert h.tell(*exits(0, status=1)) == [MarkDead(0)]


def test_while_nobody_serves_callers_wait_for_no_longer_than_a_second() -> None:
    h = house(*SERVED)
    for _ in range(9):
        h.tell(*exits(0, status=1))
        if deadline_ns(h.state) != NEVER_NS:
            h.pass_deadline()
        h.tell(WorkerReady(0))
    assert h.tell(*exits(0, status=1)) == [MarkDead(0)]
    assert deadline_ns(h.state) == h.now_ns + backoff_ns(9)
    assert h.tell(*exits(1, status=1)) == [MarkDead(1), ForkWorker(1, 0)]
    assert h.state.child(0).due_ns == h.now_ns + LONELY_BACKOFF_NS, "the last one that served is gone"
    h.tell(*exits(1, status=1))
    for _ in range(20):
        died_ns = h.now_ns
        assert set(h.pass_deadline()) & {ForkWorker(0, 0), ForkWorker(1, 0)}
        assert h.now_ns - died_ns <= LONELY_BACKOFF_NS
        h.tell(*exits(0, status=1), *exits(1, status=1))
    h.pass_deadline()
    h.pass_deadline()
    h.tell(WorkerReady(0), WorkerReady(1), *exits(0, status=1))
    assert h.state.child(0).due_ns == h.now_ns + backoff_ns(99), "another serves: no hurry"


def test_one_rows_backoff_is_not_anothers() -> None:
    h = house(*SERVED, *exits(0), *exits(0))
    assert h.tell(*exits(1)) == [MarkDead(1), ForkWorker(1, 0)]


def test_restarted_worker_that_cannot_boot_is_only_a_death() -> None:
    h = house(*SERVED, *exits(0))
    assert h.tell(WorkerReport(0, "disk full"), *exits(0, status=3)) == [MarkDead(0)]
    assert h.pass_deadline() == [ForkWorker(0, 0)]
    assert h.state.phase is Phase.SERVING
    assert "disk full" in h.text()


def test_restarted_worker_that_is_late_is_killed_and_comes_back() -> None:
    h = house(*SERVED, *exits(0))
    assert h.pass_deadline() == [SignalWorker(0, "kill")]
    assert deadline_ns(h.state) == NEVER_NS
    assert h.tell(*exits(0, status=-9)) == [MarkDead(0)]
    assert h.pass_deadline() == [ForkWorker(0, 0)]


def test_fork_that_fails_later_backs_off() -> None:
    h = house(*SERVED, *exits(0))
    assert h.tell(ForkFailed(0, "no memory")) == []
    assert deadline_ns(h.state) == h.now_ns + backoff_ns(1)
    assert h.pass_deadline() == [ForkWorker(0, 0)]


def test_a_desk_that_boots_late_is_killed_and_comes_back() -> None:
    h = house(*SERVED, DeskExited(-9))
    assert deadline_ns(h.state) == h.now_ns + PLAN.boot_ns
    assert h.pass_deadline() == [SignalDesk("kill")]
    assert h.tell(DeskExited(-9)) == []
    assert h.pass_deadline() == [ForkDesk()]


def test_death_of_the_desk_harms_nothing_and_it_comes_back_with_the_same_backoff() -> None:
    h = house(*SERVED)
    assert h.tell(DeskExited(-9)) == [ForkDesk()]
    assert h.tell(DeskExited(1)) == []
    assert deadline_ns(h.state) == h.now_ns + backoff_ns(1)
    assert h.pass_deadline() == [ForkDesk()]
    assert h.tell(DeskForkFailed("no memory")) == []
    assert deadline_ns(h.state) == h.now_ns + backoff_ns(2)


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_stop_drains_and_ends_when_the_workers_have_gone(name: SignalName) -> None:
    h = house(*SERVED)
    assert h.tell(Signal(name)) == [AnnounceStopping(), SignalWorker(0, "drain"), SignalWorker(1, "drain")]
    assert deadline_ns(h.state) == h.now_ns + PLAN.drain_ns
    assert h.tell(*exits(1)) == [MarkDead(1)]
    assert h.tell(*exits(0)) == [MarkDead(0), SignalDesk("drain")]
    assert h.tell(DeskExited(0)) == [Exit(0)]
    assert deadline_ns(h.state) == NEVER_NS


def test_drain_deadline_hurries_then_kills() -> None:
    h = house(*SERVED, Signal("TERM"), *exits(0))
    began_ns = h.now_ns
    assert h.pass_deadline() == [SignalWorker(1, "hurry")]
    assert h.now_ns == began_ns + PLAN.drain_ns
    assert h.pass_deadline() == [SignalWorker(1, "kill")]
    assert h.now_ns == began_ns + PLAN.drain_ns + HURRY_NS
    assert h.tell(*exits(1, status=-9), DeskExited(0)) == [MarkDead(1), SignalDesk("drain"), Exit(0)]


@pytest.mark.parametrize("second", ["TERM", "INT", "QUIT"])
def test_second_signal_hurries_and_third_kills(second: SignalName) -> None:
    h = house(*SERVED, Signal("TERM"))
    assert h.tell(Signal(second)) == [SignalWorker(0, "hurry"), SignalWorker(1, "hurry")]
    assert h.tell(Signal("TERM")) == [SignalWorker(0, "kill"), SignalWorker(1, "kill")]
    assert h.tell(Signal("TERM")) == []


def test_quit_hurries_at_once() -> None:
    h = house(*SERVED)
    assert h.tell(Signal("QUIT")) == [AnnounceStopping(), SignalWorker(0, "hurry"), SignalWorker(1, "hurry")]


def test_death_while_draining_is_marked_and_not_restarted() -> None:
    h = house(*SERVED, Signal("TERM"))
    assert h.tell(*exits(0, status=-11), DeskExited(1)) == [MarkDead(0)]
    assert h.tell(*exits(1)) == [MarkDead(1), Exit(0)]


def test_worker_in_backoff_is_not_started_any_more_once_draining() -> None:
    h = house(*SERVED, *exits(0), *exits(0))
    assert h.tell(Signal("TERM")) == [AnnounceStopping(), SignalWorker(1, "drain")]
    assert h.pass_deadline() == [SignalWorker(1, "hurry")]


def test_booting_worker_is_drained_when_hurried_and_hurried_when_it_is_ready() -> None:
    h = house(*SERVED, *exits(0))
    assert h.tell(Signal("QUIT")) == [AnnounceStopping(), SignalWorker(0, "drain"), SignalWorker(1, "hurry")]
    assert h.tell(WorkerReady(0)) == [SignalWorker(0, "hurry")]


def test_stubborn_desk_is_killed() -> None:
    h = house(*SERVED, Signal("TERM"), *exits(0, 1))
    assert h.pass_deadline() == [SignalDesk("kill")]
    assert h.tell(DeskExited(-9)) == [Exit(0)]


def test_signal_while_the_desk_ends_kills_it() -> None:
    h = house(*SERVED, Signal("TERM"), *exits(0, 1))
    assert h.tell(Signal("INT")) == [SignalDesk("kill")]


def test_stop_before_ready_is_a_stop_and_no_failure() -> None:
    h = house(Started(), WorkerReady(0))
    assert h.tell(Signal("TERM")) == [AnnounceStopping(), SignalWorker(0, "drain"), SignalWorker(1, "drain")]
    assert h.tell(*exits(1, status=-15), *exits(0), DeskExited(-15))[-1] == Exit(0)


def test_drain_of_no_time_hurries_at_the_next_deadline() -> None:
    h = house(*SERVED, plan=msgspec.structs.replace(PLAN, drain_ns=0))
    h.tell(Signal("TERM"))
    assert deadline_ns(h.state) == h.now_ns
    assert h.pass_deadline() == [SignalWorker(0, "hurry"), SignalWorker(1, "hurry")]


def test_hup_before_it_serves_and_without_room_for_new_workers_does_nothing() -> None:
    for told, text in (((Started(),), "the service is starting"), (SERVED, "no room for 2 new workers")):
        h = house(*told)
        before = h.state
        (refused,) = h.tell(Signal("HUP"))
        assert isinstance(refused, ReloadRefused)
        assert text in refused.text
        assert h.state == before
        assert h.logged[-1].level == "warning"


def test_early_deadline_does_nothing() -> None:
    h = house(*SERVED, Signal("TERM"))
    before = h.state
    assert h.tell(DeadlineReached()) == []
    assert h.state == before


def test_backoff_never_overflows_nor_falls() -> None:
    waits = [backoff_ns(restarts) for restarts in range(2000)]
    assert waits == sorted(waits)
    assert waits[-1] == 30 * NS_PER_S
