"""What the supervisor decides: a pure state machine, without processes, signals or clocks.

Knows nothing of pids, pipes, memory or audio; `supervisor/arbiter.py` turns the kernel's news into inputs and carries
out the commands. The phases and their tables are in `supervisor/phases.py`. Contract: architecture.md section 2,
decisions.md "stop".

Theory of operation. The service goes

    NEW -> BOOTING -> SERVING -> DRAINING -> HURRYING -> KILLING -> ENDING_DESK -> KILLING_DESK -> STOPPED

and only forward; it leaves the first three when it is told to stop or cannot start, and skips what has become needless
(no worker left: on to the desk; no desk left: STOPPED). Entering a phase on the way out tells every child what that
phase wants of it. Before READY, anything that goes wrong with a child ends the service; after it, nothing does.

Invariants (tests/unit/test_supervisor_sequences.py): no row ever holds two processes; MarkDead stands between a death
and the next fork of its row; AnnounceReady and Exit at most once; no command names a row that does not exist; after a
DeadlineReached the next deadline lies in the future; after a stop signal `Exit` comes if children obey `kill`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from audiohook.errors import BootError
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
    Level,
    Log,
    MarkDead,
    Signal,
    SignalDesk,
    SignalWorker,
    Started,
    Urge,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import (
    AFTER_DEADLINE,
    AFTER_SIGNAL,
    ALIVE,
    DESK_URGES,
    STOPPING_WORKERS,
    WORKER_URGES,
    ChildPhase,
    Phase,
)
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S

DESK = -1
"""The desk's place among the children; workers are 0 and up."""

FIRST_BACKOFF_NS = 250 * NS_PER_MS
LONGEST_BACKOFF_NS = 30 * NS_PER_S
LONG_LIFE_NS = 60 * NS_PER_S
"""A child that lived at least this long is forgiven: its next restart is immediate again."""

HURRY_NS = 5 * NS_PER_S
"""How long a child has for an end that it was told to make (hurry, the desk's drain, the exit after a report)."""

CRASHED_EXIT_CODE = 1


class Plan(msgspec.Struct, frozen=True):
    """What is to be run. `desk` is whether there is one; a drain of 0 ns hurries at once."""

    workers: int
    desk: bool
    boot_ns: int
    drain_ns: int
    generation: int = 0


class Child(msgspec.Struct, frozen=True):
    """One worker or the desk. `restarts` counts those since its last long life."""

    phase: ChildPhase = ChildPhase.ABSENT
    due_ns: int = NEVER_NS
    started_ns: int = 0
    restarts: int = 0


class State(msgspec.Struct, frozen=True):
    """The whole state. `failed` is the child whose own exit code becomes the service's, once it is known."""

    plan: Plan
    workers: tuple[Child, ...]
    desk: Child = Child()
    phase: Phase = Phase.NEW
    due_ns: int = NEVER_NS
    exit_code: int = 0
    failed: int | None = None

    def child(self, place: int) -> Child:
        """Return the worker of a row, or the desk. A row that does not exist is for ever ABSENT."""
        if place == DESK:
            return self.desk
        return self.workers[place] if 0 <= place < len(self.workers) else Child()


def initial(plan: Plan) -> State:
    """Return the state before `Started`."""
    return State(plan=plan, workers=(Child(),) * plan.workers)


def step(state: State, happened: Input, now_ns: int) -> tuple[State, list[Command]]:
    """Return the next state and the commands to carry out, in order. Any input may come in any phase.

    What does not fit the phase of the child that it names (news of a process that is not there) is ignored.
    """
    turn = _Turn(state, now_ns)
    _HANDLERS[type(happened)](turn, happened)
    return turn.state, turn.commands


def deadline_ns(state: State) -> int:
    """Return when `DeadlineReached` is due (CLOCK_MONOTONIC), or `NEVER_NS`."""
    return min(state.due_ns, state.desk.due_ns, min((child.due_ns for child in state.workers), default=NEVER_NS))


def backoff_ns(restarts: int) -> int:
    """Return how long to wait before the restart that follows `restarts` earlier ones without a long life between."""
    return min(FIRST_BACKOFF_NS << min(restarts - 1, 16), LONGEST_BACKOFF_NS) if restarts else 0


class _Turn:
    """One call of `step`: the state under change and the commands so far."""

    def __init__(self, state: State, now_ns: int) -> None:
        self.state = state
        self.now_ns = now_ns
        self.commands: list[Command] = []

    def started(self, _: Started) -> None:
        if self.state.phase is not Phase.NEW:
            return
        self._change(phase=Phase.BOOTING)
        for row in range(self.state.plan.workers):
            self._fork(row)
        if self.state.plan.desk:
            self._fork(DESK)

    def ready(self, place: int) -> None:
        if self.state.child(place).phase is not ChildPhase.BOOTING:
            return
        self._change_child(place, phase=ChildPhase.READY, due_ns=NEVER_NS)
        self._log("info", f"{_name(place)} ready")
        if self.state.phase is Phase.BOOTING:
            self._announce_when_all_ready()
        elif place != DESK:
            self._urge(place)

    def reported(self, place: int, message: str) -> None:
        if self.state.child(place).phase is not ChildPhase.BOOTING:
            return
        self._log("error", f"{_name(place)} cannot boot: {message}")
        self._change_child(place, phase=ChildPhase.FAILED, due_ns=self.now_ns + HURRY_NS)
        if self.state.phase is Phase.BOOTING:
            self._fail_start(BootError.exit_code, failed=place)

    def fork_failed(self, place: int, message: str) -> None:
        if self.state.child(place).phase is not ChildPhase.BOOTING:
            return
        self._log("error", f"{_name(place)} cannot be forked: {message}")
        self._gone(place, BootError.exit_code)

    def exited(self, place: int, status: int, fields: dict[str, object]) -> None:
        child = self.state.child(place)
        if child.phase not in ALIVE:
            return
        if place != DESK:
            self.commands.append(MarkDead(place))
        how = f"exited with {status}" if status >= 0 else f"was killed by signal {-status}"
        stopping = self.state.phase not in (Phase.BOOTING, Phase.SERVING)
        self._log(("warning" if status else "info") if stopping else "error", f"{_name(place)} {how}", fields)
        if self.state.failed == place and status > 0:
            self._change(exit_code=status, failed=None)
        self._gone(place, status if status > 0 else CRASHED_EXIT_CODE)

    def signalled(self, signal: Signal) -> None:
        if signal.name == "HUP":
            self._log("warning", "SIGHUP: reload is not available in this version; nothing was done")
            return
        after = AFTER_SIGNAL[self.state.phase].get(signal.name)
        self._log("info", f"SIG{signal.name} received", {"phase": str(after or self.state.phase)})
        if after is not None:
            self._stop(after)

    def deadline(self, _: DeadlineReached) -> None:
        if self.state.due_ns <= self.now_ns:
            self._stop(AFTER_DEADLINE[self.state.phase])
        for place in (*range(self.state.plan.workers), DESK):
            if self.state.child(place).due_ns <= self.now_ns:
                self._child_due(place)

    def _child_due(self, place: int) -> None:
        child = self.state.child(place)
        if child.phase is ChildPhase.WAITING:
            self._fork(place)
            return
        if child.phase is ChildPhase.BOOTING:
            boot_s = self.state.plan.boot_ns / NS_PER_S
            self._log("error", f"{_name(place)} did not become ready within {boot_s:g} s")
        self._signal(place, "kill")
        if self.state.phase is Phase.BOOTING:
            self._fail_start(BootError.exit_code)

    def _gone(self, place: int, exit_code: int) -> None:
        """There is no process at this place any more: what that means depends on the phase of the service."""
        child = self.state.child(place)
        if self.state.phase is Phase.SERVING:
            restarts = 0 if self.now_ns - child.started_ns >= LONG_LIFE_NS else child.restarts
            wait_ns = backoff_ns(restarts)
            due_ns = self.now_ns + wait_ns
            self._change_child(place, phase=ChildPhase.WAITING, due_ns=due_ns, restarts=restarts + 1)
            if wait_ns:
                self._log("warning", f"{_name(place)} is restarted in {wait_ns / NS_PER_S:g} s")
            else:
                self._fork(place)
            return
        self._change_child(place, phase=ChildPhase.ABSENT, due_ns=NEVER_NS)
        if self.state.phase is Phase.BOOTING:
            self._fail_start(exit_code)
        else:
            self._settle()

    def _announce_when_all_ready(self) -> None:
        children = [*self.state.workers, *([self.state.desk] if self.state.plan.desk else [])]
        if all(child.phase is ChildPhase.READY for child in children):
            self._change(phase=Phase.SERVING)
            self._log("info", "ready", {"workers": self.state.plan.workers})
            self.commands.append(AnnounceReady())

    def _fail_start(self, exit_code: int, failed: int | None = None) -> None:
        self._change(exit_code=exit_code, failed=failed)
        self._stop(Phase.HURRYING)

    def _stop(self, phase: Phase) -> None:
        """Enter a phase of the way out: tell every child what the phase wants of it."""
        if self.state.phase in (Phase.NEW, Phase.BOOTING, Phase.SERVING):
            self.commands.append(AnnounceStopping())
        lasts_ns = {
            Phase.DRAINING: self.state.plan.drain_ns,
            Phase.HURRYING: HURRY_NS,
            Phase.ENDING_DESK: HURRY_NS,
        }.get(phase)
        self._change(phase=phase, due_ns=NEVER_NS if lasts_ns is None else self.now_ns + lasts_ns)
        for place in (*range(self.state.plan.workers), DESK):
            if self.state.child(place).phase is ChildPhase.WAITING:
                self._change_child(place, phase=ChildPhase.ABSENT, due_ns=NEVER_NS)
            self._urge(place)
        self._settle()

    def _settle(self) -> None:
        """Go on to the desk when no worker is left, and out when the desk is gone too."""
        phase = self.state.phase
        if phase in STOPPING_WORKERS and not any(child.phase in ALIVE for child in self.state.workers):
            self._stop(Phase.ENDING_DESK)
        elif phase in (Phase.ENDING_DESK, Phase.KILLING_DESK) and self.state.desk.phase not in ALIVE:
            self._change(phase=Phase.STOPPED, due_ns=NEVER_NS)
            self._log("info", "stopped", {"exit_code": self.state.exit_code})
            self.commands.append(Exit(self.state.exit_code))

    def _urge(self, place: int) -> None:
        table = DESK_URGES if place == DESK else WORKER_URGES
        urge = table.get((self.state.phase, self.state.child(place).phase))
        if urge is not None:
            self._signal(place, urge)

    def _signal(self, place: int, urge: Urge) -> None:
        self.commands.append(SignalDesk(urge) if place == DESK else SignalWorker(place, urge))
        if urge == "kill":
            self._change_child(place, phase=ChildPhase.ENDING, due_ns=NEVER_NS)

    def _fork(self, place: int) -> None:
        due_ns = self.now_ns + self.state.plan.boot_ns
        self._change_child(place, phase=ChildPhase.BOOTING, due_ns=due_ns, started_ns=self.now_ns)
        self.commands.append(ForkDesk() if place == DESK else ForkWorker(place, self.state.plan.generation))

    def _log(self, level: Level, text: str, fields: dict[str, object] | None = None) -> None:
        self.commands.append(Log(level, text, fields or {}))

    def _change(self, **fields: object) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)

    def _change_child(self, place: int, **fields: object) -> None:
        child = msgspec.structs.replace(self.state.child(place), **fields)
        if place == DESK:
            self._change(desk=child)
        else:
            self._change(workers=(*self.state.workers[:place], child, *self.state.workers[place + 1 :]))


def _name(place: int) -> str:
    return "desk" if place == DESK else f"worker {place}"


_HANDLERS: dict[type, Callable[[_Turn, Any], None]] = {
    Started: _Turn.started,
    WorkerReady: lambda turn, happened: turn.ready(happened.row),
    WorkerReport: lambda turn, happened: turn.reported(happened.row, happened.message),
    ChildExited: lambda turn, happened: turn.exited(happened.row, happened.status, {"pid": happened.pid}),
    ForkFailed: lambda turn, happened: turn.fork_failed(happened.row, happened.message),
    DeskReady: lambda turn, _: turn.ready(DESK),
    DeskReport: lambda turn, happened: turn.reported(DESK, happened.message),
    DeskExited: lambda turn, happened: turn.exited(DESK, happened.status, {}),
    DeskForkFailed: lambda turn, happened: turn.fork_failed(DESK, happened.message),
    Signal: _Turn.signalled,
    DeadlineReached: _Turn.deadline,
}
