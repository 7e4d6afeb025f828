"""The supervisor's policy: every (phase, input) pair, against a table written by hand."""

import pytest

from audiohook.supervisor.orders import (
    ChildExited,
    DeadlineReached,
    DeskExited,
    DeskForkFailed,
    DeskReady,
    DeskReport,
    ForkFailed,
    Input,
    Signal,
    Started,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import AFTER_DEADLINE, AFTER_SIGNAL, DESK_URGES, WORKER_URGES, ChildPhase, Phase
from audiohook.supervisor.policy import Plan, deadline_ns, initial, step
from audiohook.units import NEVER_NS, seconds_ns

PLAN = Plan(workers=2, desk=True, boot_ns=seconds_ns(20), drain_ns=seconds_ns(60))
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
#        start ready report exit fork desk  d.rep d.exit d.frk TERM INT QUIT HUP due  row 9 ...
LEADS: dict[Phase, tuple[Phase, ...]] = {
    N: (B, N, N, N, N, N, N, N, N, X, X, X, N, N, N, N, N, N),
    B: (B, B, H, H, H, B, H, H, H, D, D, H, B, H, B, B, B, B),
    S: (S, S, S, S, S, S, S, S, S, D, D, H, S, S, S, S, S, S),
    D: (D, D, D, D, D, D, D, D, D, H, H, H, D, H, D, D, D, D),
    H: (H, H, H, H, H, H, H, H, H, K, K, K, H, K, H, H, H, H),
    K: (K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K, K),
    E: (E, E, E, E, E, E, E, X, E, F, F, F, E, F, E, E, E, E),
    F: (F, F, F, F, F, F, F, X, F, F, F, F, F, F, F, F, F, F),
    X: (X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X),
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
    live = {ChildPhase.BOOTING, ChildPhase.READY}
    for table, phases in (
        (WORKER_URGES, (Phase.DRAINING, Phase.HURRYING, Phase.KILLING)),
        (DESK_URGES, (Phase.ENDING_DESK, Phase.KILLING_DESK)),
    ):
        assert {(phase, child) for phase in phases for child in live} <= set(table)
