"""The reload: what each rule of generations.py orders. Every (phase, input) pair is in test_generations_pairs.py."""

import msgspec
import pytest

from audiohook.errors import BootError
from audiohook.supervisor.generations import STOPPING, UNDER_WAY, draining, refusal
from audiohook.supervisor.handover import VERSION, Handover, KeptChild, KeptImage, Lot, decode, encode
from audiohook.supervisor.orders import (
    AnnounceStopping,
    ChildExited,
    Command,
    Cross,
    CrossFailed,
    DeskExited,
    DeskReady,
    ForkDesk,
    ForkWorker,
    KillTrial,
    MarkDead,
    ReloadAsked,
    Reloaded,
    ReloadFailed,
    ReloadRefused,
    Resumed,
    Scale,
    ScaleRefused,
    Signal,
    SignalDesk,
    SignalWorker,
    Started,
    StartTrial,
    TrialExited,
    TrialFailed,
    TrialPassed,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import ChildPhase
from audiohook.supervisor.reloads import NO_NEW_GENERATION, Outcome, ReloadPhase
from audiohook.supervisor.switchboard import Waiting
from audiohook.units import NEVER_NS
from tests.unit.test_generations_pairs import AGAIN, BOOT_NS, CHANGES, CHECKED, CROSSED, FOUND, PLAN, SERVED
from tests.unit.test_supervisor_policy import House, house

HUP = {"signal": "SIGHUP"}


def generations(h: House) -> list[tuple[int, str]]:
    return [(one.generation, str(one.phase)) for one in h.state.workers if one.phase is not ChildPhase.ABSENT]


def test_the_way_of_a_reload() -> None:
    h = house(*SERVED, plan=PLAN)
    assert h.tell(Signal("HUP")) == [StartTrial()]
    assert h.tell(TrialPassed()) == []
    assert h.tell(TrialExited(0)) == [Cross()]
    assert h.tell(Resumed(PLAN)) == [ForkWorker(2, 1), ForkWorker(3, 1)]
    assert h.tell(WorkerReady(3)) == []
    ends_ns = h.now_ns + PLAN.generation_ns
    assert h.tell(WorkerReady(2)) == [
        SignalWorker(0, "retire"),
        SignalWorker(1, "retire"),
        Reloaded(1, 1, HUP),
        SignalDesk("drain"),
    ]
    assert [h.state.child(row).due_ns for row in range(4)] == [ends_ns, ends_ns, NEVER_NS, NEVER_NS]
    assert h.tell(DeskExited(0)) == [ForkDesk()]
    assert h.tell(ChildExited(0, 100, 0), ChildExited(1, 101, 0)) == [MarkDead(0), MarkDead(1)]
    assert h.state.reload.outcomes == (Outcome(1, 1, "generation 1 takes new calls: 2 workers"),)
    assert not [line for line in h.logged if line.level in ("warning", "error")]


def test_settings_that_are_changed_in_place_bring_no_generation() -> None:
    h = house(*SERVED, Signal("HUP"), plan=PLAN)
    assert h.tell(TrialPassed(CHANGES)) == []
    workers = h.state.workers
    assert h.tell(TrialExited(0)) == [Reloaded(0, 0, HUP, CHANGES)]
    text = "generation 0 goes on with log.level = debug (was info), admission.streams_per_host = 7 (was 0)"
    assert h.state.reload.outcomes == (Outcome(1, NO_NEW_GENERATION, text),)
    assert h.logged[-1].text == f"reloaded: {text}"
    assert (h.state.workers, h.state.plan) == (workers, PLAN)
    assert refusal(h.state) is None
    h.tell(ReloadAsked(), TrialPassed())
    assert h.tell(TrialExited(0)) == [Cross()], "what one trial has found is not the next one's"


def test_a_worker_that_was_missing_is_started_when_settings_are_changed() -> None:
    plan = msgspec.structs.replace(PLAN, workers=1, rows=1)
    h = house(Started(), WorkerReady(0), DeskReady(), *[ChildExited(0, 100, -9)] * 2, plan=plan)
    h.tell(ReloadAsked(), TrialPassed(), TrialExited(0), Resumed(plan), WorkerReport(0, "x"), Resumed(plan, "x"))
    assert h.state.reload.missing == 1
    h.tell(ReloadAsked(), TrialPassed(CHANGES))
    assert h.tell(TrialExited(0)) == [Reloaded(0, 1, {}, CHANGES)]
    assert h.state.reload.missing == 1, "its row is not free yet"
    assert h.tell(ChildExited(0, 101, -9)) == [MarkDead(0), ForkWorker(0, 0)]


def test_a_trial_that_has_found_settings_and_then_dies_has_failed() -> None:
    h = house(*FOUND, plan=PLAN)
    assert isinstance(h.tell(TrialExited(-9))[0], ReloadFailed)
    h = house(*FOUND, Signal("HUP"), plan=PLAN)
    assert h.tell(TrialExited(0)) == [Reloaded(0, 0, {}, CHANGES), StartTrial()], "and another one follows"


def test_a_trial_that_says_no_says_why_and_one_that_just_ends_has_failed() -> None:
    h = house(*SERVED, ReloadAsked(), TrialFailed("no such file"), plan=PLAN)
    assert h.tell(TrialExited(1)) == [ReloadFailed("no such file", {})]
    h.tell(ReloadAsked())
    assert h.tell(TrialExited(0)) == [ReloadFailed("the trial process ended with 0 and gave no reason", {})]
    h.tell(ReloadAsked(), TrialPassed())
    assert h.tell(TrialExited(-11)) == [
        ReloadFailed("the trial process was killed by signal 11 and gave no reason", {})
    ]
    assert [outcome.attempt for outcome in h.state.reload.outcomes] == [1, 2, 3]
    assert generations(h) == [(0, "ready")] * 2


def test_a_trial_that_does_not_end_is_killed() -> None:
    h = house(*CHECKED, plan=PLAN)
    assert h.pass_deadline() == [KillTrial()]
    assert h.tell(TrialExited(-9)) == [ReloadFailed("the trial process did not end within 20 s", {})]


def test_only_one_reload_at_a_time_and_a_hup_meanwhile_is_another_one_after_it() -> None:
    h = house(*CHECKED, plan=PLAN)
    assert refusal(h.state) == UNDER_WAY
    assert h.tell(ReloadAsked()) == [ReloadRefused(UNDER_WAY, {})]
    assert h.tell(Scale(3)) == [ScaleRefused(UNDER_WAY)]
    assert h.tell(Signal("HUP"), Signal("HUP"), Signal("HUP")) == []
    h.tell(TrialExited(0), Resumed(PLAN), WorkerReady(2))
    assert h.tell(WorkerReady(3))[-2:] == [SignalDesk("drain"), StartTrial()]
    assert h.state.reload.attempt == 2
    h.tell(TrialFailed("x"))
    assert h.tell(TrialExited(1)) == [ReloadFailed("x", HUP)], "and no third one"


def test_workers_whose_rows_were_taken_come_back_when_these_are_free() -> None:
    """With a worker in its back-off there is just room for a reload; when that fails, its row is not free at once."""
    plan = msgspec.structs.replace(PLAN, workers=1, rows=1)
    h = house(Started(), WorkerReady(0), DeskReady(), *[ChildExited(0, 100, -9)] * 2, plan=plan)
    h.tell(ReloadAsked(), TrialPassed(), TrialExited(0))
    assert h.tell(Resumed(plan)) == [ForkWorker(0, 1)]
    assert h.tell(WorkerReport(0, "x"))[-1] == Cross("worker 0 cannot boot: x")
    assert h.tell(Resumed(plan, "x")) == [ReloadFailed("x", {})]
    assert h.state.wanted == 1
    assert h.tell(ChildExited(0, 101, -9)) == [MarkDead(0), ForkWorker(0, 0)]
    assert (h.state.wanted, h.state.reload.missing) == (1, 0)


def test_what_execve_refuses_and_what_stage_0_sends_back() -> None:
    h = house(*CHECKED, TrialExited(0), plan=PLAN)
    assert h.tell(CrossFailed("no python")) == [ReloadFailed("no python", {})]
    h.tell(ReloadAsked(), TrialPassed(), TrialExited(0))
    assert h.tell(Resumed(PLAN, "ImportError")) == [ReloadFailed("ImportError", {})]
    assert generations(h) == [(0, "ready")] * 2
    assert h.state.plan == PLAN


def test_a_new_worker_that_fails_takes_the_reload_back_and_keeps_calls_that_others_took() -> None:
    h = house(*CROSSED, WorkerReady(2), plan=PLAN)
    assert h.tell(WorkerReport(3, "no libopus")) == [
        SignalWorker(2, "retire"),
        SignalWorker(3, "kill"),
        Cross("worker 3 cannot boot: no libopus"),
    ]
    assert h.tell(Resumed(PLAN, "no libopus")) == [ReloadFailed("no libopus", {})]
    assert h.tell(ChildExited(3, 103, -9)) == [MarkDead(3)]
    assert generations(h) == [(0, "ready"), (0, "ready"), (1, "ready")]
    assert (h.state.plan.generation, h.state.wanted, draining(h.state)) == (0, 2, [1])
    h.tell(ChildExited(2, 102, 0), ReloadAsked(), TrialPassed(), TrialExited(0))
    assert h.tell(Resumed(PLAN)) == [ForkWorker(2, 2), ForkWorker(3, 2)], "a number is given once"


@pytest.mark.parametrize("how", ["late", "killed"])
def test_a_new_worker_that_is_late_or_killed(how: str) -> None:
    h = house(*CROSSED, plan=PLAN)
    if how == "late":
        orders = h.pass_deadline()
        assert "worker 2 did not become ready within 20 s" in h.text()
    else:
        orders = h.tell(ChildExited(2, 102, -9))
    assert [one for one in orders if isinstance(one, Cross)]
    assert {h.state.child(row).phase for row in (2, 3)} <= {ChildPhase.ENDING, ChildPhase.ABSENT}


def test_an_old_worker_that_dies_meanwhile_is_replaced_by_the_new_generation_or_by_the_old_code() -> None:
    h = house(*CROSSED, plan=PLAN)
    assert h.tell(ChildExited(0, 100, -9)) == [MarkDead(0)]
    h.tell(WorkerReport(2, "x"))
    assert h.tell(Resumed(PLAN, "x")) == [ForkWorker(0, 0), ReloadFailed("x", {})]
    assert h.state.wanted == 2


def test_the_oldest_generation_ends_where_its_rows_are_needed() -> None:
    h = house(*AGAIN, plan=PLAN)
    assert h.state.reload.phase is ReloadPhase.MAKING_ROOM
    assert [h.state.child(row).hurried for row in range(4)] == [True, True, False, False]
    assert h.tell(ChildExited(1, 101, 0)) == [MarkDead(1)]
    assert h.pass_deadline() == [SignalWorker(0, "kill")]
    assert h.tell(ChildExited(0, 100, -9)) == [MarkDead(0), ForkWorker(0, 2), ForkWorker(1, 2)]
    h.tell(WorkerReady(0))
    orders = h.tell(WorkerReady(1))
    assert orders[:2] == [SignalWorker(2, "retire"), SignalWorker(3, "retire")]
    assert draining(h.state) == [1]


def test_of_more_generations_than_may_drain_the_oldest_end_also_where_there_is_room() -> None:
    plan = msgspec.structs.replace(PLAN, rows=9)
    h = house(*SERVED, plan=plan)
    for first in (2, 4):
        h.tell(ReloadAsked(), TrialPassed(), TrialExited(0), Resumed(plan), WorkerReady(first))
        orders: list[Command] = h.tell(WorkerReady(first + 1))
        h.tell(DeskExited(0), DeskReady())
    assert SignalWorker(0, "hurry") in orders
    assert SignalWorker(1, "hurry") in orders
    assert SignalWorker(2, "hurry") not in orders
    assert Reloaded(2, 2, {}) in orders


def test_calls_of_an_old_generation_end_at_its_deadline() -> None:
    h = house(*CROSSED, WorkerReady(2), WorkerReady(3), DeskExited(0), DeskReady(), plan=PLAN)
    assert h.pass_deadline() == [SignalWorker(0, "hurry"), SignalWorker(1, "hurry")]
    assert h.pass_deadline() == [SignalWorker(0, "kill"), SignalWorker(1, "kill")]


def test_a_number_of_workers_that_was_scaled_stays_unless_the_configuration_says_another() -> None:
    scaled = (*SERVED, Scale(1, (0, 0)), ChildExited(1, 101, 0), ReloadAsked(), TrialPassed(), TrialExited(0))
    assert house(*scaled, plan=PLAN).tell(Resumed(PLAN)) == [ForkWorker(1, 1)]
    wider = msgspec.structs.replace(PLAN, workers=3)
    assert len(house(*scaled, plan=PLAN).tell(Resumed(wider))) == 3


def test_without_rows_for_a_second_generation_no_reload_begins() -> None:
    h = house(*SERVED, Scale(3), WorkerReady(2), plan=PLAN)
    (failed,) = h.tell(ReloadAsked())
    assert isinstance(failed, ReloadRefused)
    assert failed.text == "3 of 4 rows are in use: no room for 3 new workers beside; scale down first"


@pytest.mark.parametrize("begun", [CHECKED, CROSSED, AGAIN])
def test_a_stop_ends_the_reload_too(begun: tuple[object, ...]) -> None:
    h = house(*begun, plan=PLAN)  # type: ignore[arg-type]
    orders = h.tell(Signal("TERM"))
    assert orders[0] == AnnounceStopping()
    assert ReloadFailed(STOPPING, {}) in orders
    assert (KillTrial() in orders) == (begun is CHECKED)
    assert SignalDesk("drain") not in orders
    assert {command.urge for command in orders if isinstance(command, SignalWorker)} == {"drain"}


def test_a_handover_comes_out_as_it_went_in() -> None:
    h = house(*CHECKED, TrialExited(0), plan=PLAN)
    child = KeptChild(0, 4711, 12345, 7, "Eé\x00", 9, None)
    lot = Lot(h.state, [child], [Waiting(3, -1, 8, 0, NEVER_NS)], 3, (5, 6))
    handover = Handover(
        version=VERSION,
        image="",
        back="/proc/self/fd/9",
        fault="",
        stage0_fd=10,
        former=KeptImage(9, 10),
        arguments=["--config", "x"],
        config={"server": {"workers": 2}},
        patience_seconds=BOOT_NS / 1e9,
        memory={"arena": 3},
        layout={"MAJOR": 1},
        listeners=[("127.0.0.1:0", 4)],
        hub_fd=8,
        hub_path="/run/hub.sock",
        hub_inode=1 << 60,
        lot=lot,
        keep=[3, 4, *lot.fds],
    )
    assert decode(encode(handover)) == handover
    assert lot.fds == [5, 6, 7]
    with pytest.raises(BootError, match="a restart is needed"):
        decode(encode(msgspec.structs.replace(handover, version=VERSION + 1)))
    with pytest.raises(BootError, match="cannot be read"):
        decode(b'{"version": 1}')
