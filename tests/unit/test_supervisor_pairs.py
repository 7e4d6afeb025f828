"""The supervisor's policy: every (phase, input) pair, against a table written by hand."""

import pytest

from audiohook.supervisor.orders import (
    Beating,
    ChildExited,
    DeadlineReached,
    DeskExited,
    DeskForkFailed,
    DeskReady,
    DeskReport,
    ForkFailed,
    Hung,
    Input,
    Scale,
    Signal,
    Started,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import AFTER_DEADLINE, AFTER_SIGNAL, DESK_URGES, WORKER_URGES, ChildPhase, Phase
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.policy import step
from audiohook.supervisor.state import DESK, deadline_ns, initial
from audiohook.units import NEVER_NS, seconds_ns

PLAN = Plan(workers=2, rows=4, desk=True, boot_ns=seconds_ns(20), drain_ns=seconds_ns(60))
SERVED = (Started(), WorkerReady(0), WorkerReady(1), DeskReady())
GONE = (ChildExited(0, 100, 0), ChildExited(1, 101, 0))

REACHED: dict[Phase, tuple[Input, ...]] = {
    Phase.NEW: (),
    Phase.BOOTING: (Started(), WorkerReady(0)),
    Phase.SERVING: SERVED,
    Phase.DRAINING: (*SERVED, Signal("TERM")),
    Phase.HURRYING: (*SERVED, Signal("QUIT")),
    Phase.KILLING: (*SERVED, Signal("QUIT"), Signal("QUIT")),
    Phase.ENDING_DESK: (*SERVED, Signal("TERM"), *GONE),
    Phase.KILLING_DESK: (*SERVED, Signal("TERM"), *GONE, Signal("TERM")),
    Phase.STOPPED: (*SERVED, Signal("TERM"), *GONE, DeskExited(0)),
}

EVERY_INPUT: tuple[Input, ...] = (
    Started(),
    WorkerReady(0),
    WorkerReport(1, "x"),
    ChildExited(0, 100, -9),
    ForkFailed(1, "x"),
    DeskReady(),
    DeskReport("x"),
    DeskExited(0),
    DeskForkFailed("x"),
    Signal("TERM"),
    Signal("INT"),
    Signal("QUIT"),
    Signal("HUP"),
    DeadlineReached(),
    WorkerReady(9),
    WorkerReport(9, "x"),
    ForkFailed(9, "x"),
    ChildExited(9, 100, 0),
    Hung(0, 100, 1),
    Hung(DESK, 102, 1),
    Hung(9, 109, 1),
    Beating(0),
    Beating(DESK),
    Scale(3),
    Scale(1),
    Scale(99),
)

N = Phase.NEW
B = Phase.BOOTING
S = Phase.SERVING
D = Phase.DRAINING
H = Phase.HURRYING
K = Phase.KILLING
E = Phase.ENDING_DESK
F = Phase.KILLING_DESK
X = Phase.STOPPED

# Where each input, in the order of EVERY_INPUT, leads from the state that REACHED describes.
#        start ready report exit fork desk  d.rep d.exit d.frk TERM INT QUIT HUP due  row 9 ...     hung    beat  scale
LEADS: dict[Phase, tuple[Phase, ...]] = {
    N: (B, N, N, N, N, N, N, N, N, X, X, X, N, N, N, N, N, N, N, N, N, N, N, N, N, N),
    B: (B, B, H, H, H, B, H, H, H, D, D, H, B, H, B, B, B, B, B, B, B, B, B, B, B, B),
    S: (S, S, S, S, S, S, S, S, S, D, D, H, S, S, S, S, S, S, S, S, S, S, S, S, S, S),
    D: (D, D, D, D, D, D, D, D, D, H, H, H, D, H, D, D, D, D, D, D, D, D, D, D, D, D),
    H: (H, H, H, H, H, H, H, H, H, K, K, K, H, K, H, H, H, H, H, H, H, H, H, H, H, H),
    K: (K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K),
    E: (E, E, E, E, E, E, E, X, E, F, F, F, E, F, E, E, E, E, E, E, E, E, E, E, E, E),
    F: (F, F, F, F, F, F, F, X, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F),
    X: (X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X),
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("number", range(len(EVERY_INPUT)))
def test_every_phase_and_input(phase: Phase, number: int) -> None:
    now_ns = seconds_ns(1000)
    state = initial(PLAN)
    for happened in REACHED[phase]:
        state, _ = step(state, happened, now_ns)
    assert state.phase is phase
    happened = EVERY_INPUT[number]
    if isinstance(happened, DeadlineReached) and deadline_ns(state) != NEVER_NS:
        now_ns = deadline_ns(state)
    state, _ = step(state, happened, now_ns)
    assert state.phase is LEADS[phase][number]
    assert deadline_ns(state) > now_ns


def test_tables_name_every_phase_that_they_must() -> None:
    assert set(AFTER_SIGNAL) == set(Phase)
    for phase in AFTER_DEADLINE:
        assert phase not in (Phase.NEW, Phase.BOOTING, Phase.SERVING, Phase.STOPPED)
    live = {ChildPhase.BOOTING, ChildPhase.READY, ChildPhase.HUNG}
    for table, phases in (
        (WORKER_URGES, (Phase.DRAINING, Phase.HURRYING, Phase.KILLING)),
        (DESK_URGES, (Phase.ENDING_DESK, Phase.KILLING_DESK)),
    ):
        assert {(phase, child) for phase in phases for child in live} <= set(table)


CHILD_INPUTS: tuple[Input, ...] = (
    WorkerReady(0),
    WorkerReport(0, "x"),
    ForkFailed(0, "x"),
    ChildExited(0, 100, -9),
    Hung(0, 100, 1),
    Beating(0),
    Scale(1, (0, 9)),
)

# What a worker's phase is after each of these inputs, in their order, while the service serves and another worker does.
# The last one makes it leave: it is the one with fewer connections. A fork takes place within the step.
AFTER: dict[ChildPhase, tuple[str, ...]] = {
    #                      ready      report     no fork    exit       hung       beating    scaled down
    ChildPhase.ABSENT: ("absent", "absent", "absent", "absent", "absent", "absent", "absent"),
    ChildPhase.WAITING: ("waiting", "waiting", "waiting", "waiting", "waiting", "waiting", "absent"),
    ChildPhase.BOOTING: ("ready", "failed", "waiting", "waiting", "booting", "booting", "booting, leaving"),
    ChildPhase.READY: ("ready", "ready", "ready", "booting", "hung", "ready", "ready, leaving"),
    ChildPhase.HUNG: ("hung", "hung", "hung", "booting", "hung", "ready", "hung, leaving"),
    ChildPhase.CONDEMNED: (
        *("condemned", "condemned", "condemned", "booting", "condemned"),
        *("ready, leaving", "condemned, leaving"),
    ),
    ChildPhase.FAILED: ("failed", "failed", "failed", "waiting", "failed", "failed", "failed, leaving"),
    ChildPhase.ENDING: ("ending", "ending", "ending", "booting", "ending", "ending", "ending, leaving"),
}

COMES_TO: dict[ChildPhase, tuple[Input, ...]] = {
    ChildPhase.ABSENT: (Scale(1, (0, 9)), ChildExited(0, 100, 0)),
    ChildPhase.WAITING: (ChildExited(0, 100, 1), ChildExited(0, 100, 1)),
    ChildPhase.BOOTING: (ChildExited(0, 100, 1),),
    ChildPhase.READY: (),
    ChildPhase.HUNG: (Hung(0, 100, 1),),
    ChildPhase.CONDEMNED: (Hung(0, 100, 1), DeadlineReached()),
    ChildPhase.FAILED: (ChildExited(0, 100, 1), WorkerReport(0, "x")),
    ChildPhase.ENDING: (Hung(0, 100, 1), DeadlineReached(), DeadlineReached()),
}


@pytest.mark.parametrize("child", ChildPhase)
@pytest.mark.parametrize("number", range(len(CHILD_INPUTS)))
def test_every_phase_of_a_worker_and_every_input_about_it(child: ChildPhase, number: int) -> None:
    now_ns = seconds_ns(1000)
    state = initial(PLAN)
    for happened in (*SERVED, *COMES_TO[child]):
        if isinstance(happened, DeadlineReached):
            now_ns = deadline_ns(state)
        state, _ = step(state, happened, now_ns)
    assert state.child(0).phase is child
    state, _ = step(state, CHILD_INPUTS[number], now_ns)
    assert f"{state.child(0).phase}{', leaving' if state.child(0).leaving else ''}" == AFTER[child][number]
    assert (state.phase, state.child(1).phase) == (Phase.SERVING, ChildPhase.READY)
