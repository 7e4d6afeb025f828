"""The reload: every (phase, input) pair, against a table written by hand."""

import msgspec
import pytest

from audiohook.supervisor.generations import UNDER_WAY
from audiohook.supervisor.orders import (
    ChildExited,
    CrossFailed,
    DeadlineReached,
    DeskExited,
    DeskReady,
    ForkFailed,
    Hung,
    Input,
    ReloadAsked,
    ReloadRefused,
    Resumed,
    Scale,
    Signal,
    Started,
    TrialExited,
    TrialFailed,
    TrialPassed,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import ChildPhase
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.reloads import ReloadPhase
from audiohook.supervisor.state import Child, State
from audiohook.units import NS_PER_S
from tests.unit.test_supervisor_policy import House, house

BOOT_NS = 20 * NS_PER_S
PLAN = Plan(workers=2, rows=4, desk=True, boot_ns=BOOT_NS, drain_ns=BOOT_NS, max_draining=1, generation_ns=10**12)
SERVED: tuple[Input, ...] = (Started(), WorkerReady(0), WorkerReady(1), DeskReady())
CHECKED: tuple[Input, ...] = (*SERVED, ReloadAsked(), TrialPassed())
CHANGES = {"log.level": ("info", "debug"), "admission.streams_per_host": (0, 7)}
FOUND: tuple[Input, ...] = (*SERVED, ReloadAsked(), TrialPassed(CHANGES))
CROSSED: tuple[Input, ...] = (*CHECKED, TrialExited(0), Resumed(PLAN))
AGAIN: tuple[Input, ...] = (
    *(*CROSSED, WorkerReady(2), WorkerReady(3), DeskExited(0), DeskReady()),
    *(ReloadAsked(), TrialPassed(), TrialExited(0), Resumed(PLAN)),
)

REACHED: dict[ReloadPhase, tuple[Input, ...]] = {
    ReloadPhase.NONE: SERVED,
    ReloadPhase.CHECKING: CHECKED,
    ReloadPhase.CROSSING: (*CHECKED, TrialExited(0)),
    # Rows 0 and 1 keep calls of generation 0, rows 2 and 3 serve as generation 1.
    ReloadPhase.MAKING_ROOM: AGAIN,
    ReloadPhase.BOOTING: (*CROSSED, WorkerReady(2)),
}

EVERY_INPUT: tuple[Input, ...] = (
    ReloadAsked(),
    Signal("HUP"),
    TrialPassed(),
    TrialPassed(CHANGES),
    TrialFailed("x"),
    TrialFailed("x", started=False),
    TrialExited(0),
    TrialExited(1),
    Resumed(PLAN),
    Resumed(PLAN, "x"),
    CrossFailed("x"),
    Signal("TERM"),
    Scale(3),
    DeadlineReached(),
    WorkerReady(3),
    WorkerReport(3, "x"),
    ForkFailed(3, "x"),
    ChildExited(0, 100, -9),
    ChildExited(2, 102, -9),
    DeskExited(-9),
    Hung(0, 100, 1),
)

N, C, X, M, B = ReloadPhase

# Where each input, in the order of EVERY_INPUT, leads from the state that REACHED describes.
#  asked HUP pass set fail not exit0 exit1 resumed back nocross TERM scale due ready3 report3 not3 dead0 dead2 desk hung
LEADS: dict[ReloadPhase, tuple[ReloadPhase, ...]] = {
    N: (C, C, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N),
    C: (C, C, C, C, C, N, X, N, C, C, C, N, C, C, C, C, C, C, C, C, C),
    X: (X, X, X, X, X, X, X, X, B, N, N, N, X, X, X, X, X, X, X, X, X),
    M: (M, M, M, M, M, M, M, M, M, M, M, N, M, X, M, M, M, M, M, M, M),
    B: (B, B, B, B, B, B, B, B, B, B, B, N, B, X, N, X, X, B, X, B, B),
}


@pytest.mark.parametrize("phase", ReloadPhase)
@pytest.mark.parametrize("number", range(len(EVERY_INPUT)))
def test_every_phase_and_input(phase: ReloadPhase, number: int) -> None:
    happened = EVERY_INPUT[number]
    assert leads(REACHED[phase], phase, happened) is LEADS[phase][number]


@pytest.mark.parametrize("happened", EVERY_INPUT)
def test_settings_to_change_and_every_input(happened: Input) -> None:
    """As in CHECKING, whose end it may be in one more way."""
    number = EVERY_INPUT.index(happened)
    expected = N if happened == TrialExited(0) else LEADS[C][number]
    assert leads(FOUND, C, happened) is expected


def leads(before: tuple[Input, ...], phase: ReloadPhase, happened: Input) -> ReloadPhase:
    h = house(*before, plan=PLAN)
    assert h.state.reload.phase is phase
    if isinstance(happened, DeadlineReached):
        h.now_ns += BOOT_NS
        if phase is ReloadPhase.MAKING_ROOM:  # those who were hurried are killed before, and here nobody notices
            h.state = msgspec.structs.replace(h.state, workers=tuple(undue(h.state)))
    h.tell(happened)
    return h.state.reload.phase


@pytest.mark.parametrize("phase", [phase for phase in ReloadPhase if phase is not ReloadPhase.NONE])
def test_what_is_refused_meanwhile_does_not_end_the_one_under_way(phase: ReloadPhase) -> None:
    """At its end what it could go back to is let go of, the code and the listeners of before."""
    h = house(*REACHED[phase], plan=PLAN)
    assert h.tell(ReloadAsked()) == [ReloadRefused(UNDER_WAY, {})]


def undue(state: State) -> list[Child]:
    return [msgspec.structs.replace(child, phase=ChildPhase.ENDING, due_ns=1 << 62) for child in state.workers]


def test_reached_is_complete() -> None:
    assert set(REACHED) == set(LEADS) == set(ReloadPhase)
    assert isinstance(house(*AGAIN, plan=PLAN), House)
