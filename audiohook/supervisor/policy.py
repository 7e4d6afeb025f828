"""What the supervisor decides: a pure state machine, without processes, signals or clocks.

Knows nothing of pids, pipes, memory or audio; `supervisor/arbiter.py` turns the kernel's news into inputs and carries
out the commands. The phases and their tables are in `supervisor/phases.py`, what is known in `supervisor/state.py`.
Contract: architecture.md section 2, decisions.md "stop".

Theory of operation. The service goes

    NEW -> BOOTING -> SERVING -> DRAINING -> HURRYING -> KILLING -> ENDING_DESK -> KILLING_DESK -> STOPPED

and only forward; it leaves the first three when it is told to stop or cannot start, and skips what has become needless
(no worker left: on to the desk; no desk left: STOPPED). Entering a phase on the way out tells every child what that
phase wants of it. Before READY, anything that goes wrong with a child ends the service; after it, nothing does.

While it serves, the number of workers may be changed (`supervisor/scaling.py`). A worker that is *leaving* takes no new
calls and is not replaced when it ends. Who is hung is `supervisor/hangs.py`'s to say; what is done then is a matter of
the child's phase alone, in any phase of the service. Reloads are `supervisor/generations.py`'s: it is asked wherever a
worker becomes ready or is lost.

Invariants (tests/unit/test_supervisor_sequences.py): no row ever holds two processes; MarkDead stands between a death
and the next fork of its row; AnnounceReady and Exit at most once; no command names a row that does not exist; after a
DeadlineReached the next deadline lies in the future; after a stop signal `Exit` comes if children obey `kill`.
"""

from collections.abc import Callable
from typing import Any

from audiohook.errors import BootError
from audiohook.supervisor import generations, orphans
from audiohook.supervisor.orders import (
    AnnounceHung,
    AnnounceReady,
    AnnounceStopping,
    Beating,
    ChildExited,
    Command,
    CrossFailed,
    DeadlineReached,
    DeskExited,
    DeskForkFailed,
    DeskReady,
    DeskReport,
    Exit,
    ForkFailed,
    Hung,
    Input,
    MarkDead,
    OrphanGone,
    ReloadAsked,
    Resumed,
    Scale,
    ScaleRefused,
    Signal,
    Started,
    TrialExited,
    TrialFailed,
    TrialPassed,
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
from audiohook.supervisor.reloads import ReloadPhase
from audiohook.supervisor.scaling import free_rows, refusal, scaled
from audiohook.supervisor.state import DESK, LONELY_BACKOFF_NS, LONG_LIFE_NS, State, backoff_ns
from audiohook.supervisor.turn import HURRY_NS, Turn, child_name
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S

DUMP_NS = 250 * NS_PER_MS
"""How long a hung child has for the dump of its stacks before it is told to drain."""

CONDEMNED_NS = NS_PER_S
"""How long a hung child has to hear that it is to drain, before it is killed."""

CRASHED_EXIT_CODE = 1


def step(state: State, happened: Input, now_ns: int) -> tuple[State, list[Command]]:
    """Return the next state and the commands to carry out, in order. Any input may come in any phase.

    What does not fit the phase of the child that it names (news of a process that is not there) is ignored.
    """
    turn = _Turn(state, now_ns)
    _HANDLERS[type(happened)](turn, happened)
    return turn.state, turn.commands


class _Turn(Turn):
    """The policy's rules."""

    def started(self, happened: Started) -> None:
        if self.state.phase is not Phase.NEW:
            return
        self.change(phase=Phase.BOOTING)
        orphans.take_on(self, happened.orphans)
        orphans.fill(self)
        if self.state.plan.desk:
            self.fork(DESK)

    def ready(self, place: int) -> None:
        if self.state.child(place).phase is not ChildPhase.BOOTING:
            return
        self.accepts(place)
        self.log("info", f"{child_name(place)} ready")
        self._welcome(place)

    def reported(self, place: int, message: str) -> None:
        if self.state.child(place).phase is not ChildPhase.BOOTING:
            return
        self.log("error", f"{child_name(place)} cannot boot: {message}")
        self.change_child(place, phase=ChildPhase.FAILED, due_ns=self.now_ns + HURRY_NS)
        if self.state.phase is Phase.BOOTING:
            self._fail_start(BootError.exit_code, failed=place)
        else:
            generations.failed(self, place, f"{child_name(place)} cannot boot: {message}")

    def fork_failed(self, place: int, message: str) -> None:
        if self.state.child(place).phase is not ChildPhase.BOOTING:
            return
        text = f"{child_name(place)} cannot be forked: {message}"
        self.log("error", text)
        self._gone(place, BootError.exit_code, text)

    def exited(self, place: int, status: int, fields: dict[str, object]) -> None:
        child = self.state.child(place)
        if child.phase not in ALIVE:
            return
        if place != DESK:
            self.commands.append(MarkDead(place))
        how = f"exited with {status}" if status >= 0 else f"was killed by signal {-status}"
        expected = child.leaving or self.state.phase not in (Phase.BOOTING, Phase.SERVING)
        text = f"{child_name(place)} {how}"
        self.log(("warning" if status else "info") if expected else "error", text, fields)
        if self.state.failed == place and status > 0:
            self.change(exit_code=status, failed=None)
        self._gone(place, status if status > 0 else CRASHED_EXIT_CODE, text)

    def orphan_gone(self, gone: OrphanGone) -> None:
        if not self.state.child(gone.row).orphan:
            return
        self.commands.append(MarkDead(gone.row))
        text = f"worker {gone.row}, of a daemon that was killed, has ended"
        self.log("info", text, {"pid": gone.pid})
        self._gone(gone.row, CRASHED_EXIT_CODE, text)

    def signalled(self, signal: Signal) -> None:
        if signal.name == "HUP":
            generations.hung_up(self)
            return
        after = AFTER_SIGNAL[self.state.phase].get(signal.name)
        self.log("info", f"SIG{signal.name} received", {"phase": str(after or self.state.phase)})
        if after is not None:
            self._stop(after)

    def hung(self, hung: Hung) -> None:
        if self.state.child(hung.place).phase is not ChildPhase.READY:
            return
        fields: dict[str, object] = {"pid": hung.pid, "seconds": round(hung.stood_ns / NS_PER_S, 1)}
        self.log("error", f"{child_name(hung.place)} is hung: its loop stands still; its stacks follow", fields)
        self.change_child(hung.place, phase=ChildPhase.HUNG, due_ns=self.now_ns + DUMP_NS)
        self.commands.append(AnnounceHung(hung.place, hung.pid, hung.stood_ns))
        self.signal(hung.place, "dump")
        self._hasten()

    def beating(self, beating: Beating) -> None:
        place = beating.place
        phase = self.state.child(place).phase
        if phase is ChildPhase.HUNG:
            self.log("warning", f"{child_name(place)} is not hung any more")
            self.accepts(place)
            self._welcome(place)
        elif phase is ChildPhase.CONDEMNED and place != DESK and self.state.phase is not Phase.BOOTING:
            # It drains by now, and the desk leaves. Its calls are worth more than its row.
            self.log("warning", f"{child_name(place)} is not hung any more: it keeps its calls and takes no new ones")
            self.accepts(place)
            self._replace(place)
            self._welcome(place)

    def scale(self, asked: Scale) -> None:
        fault = refusal(self.state, asked.workers)
        if fault is not None:
            self.log("warning", f"not scaled to {asked.workers} workers: {fault}", asked.asked)
            self.commands.append(ScaleRefused(fault))
            return
        done = scaled(self.state, asked)
        self.change_reload(missing=max(0, self.state.reload.missing - max(0, done.before - done.after)))
        for row in done.leaving:
            self.retire(row)
        for row in done.started:
            self.change_child(row, restarts=0)
            self.fork(row)
        rows = {"started": [*done.started], "leaving": [*done.leaving]}
        self.log("info", f"scaled from {done.before} to {done.after} workers", {**rows, **asked.asked})
        self.commands.append(done)
        self._hasten()

    def deadline(self, _: DeadlineReached) -> None:
        if self.state.due_ns <= self.now_ns:
            self._stop(AFTER_DEADLINE[self.state.phase])
        if self.state.reload.due_ns <= self.now_ns:
            generations.due(self)
        for place in self.state.places:
            if self.state.child(place).due_ns <= self.now_ns:
                self._child_due(place)

    def _child_due(self, place: int) -> None:
        child = self.state.child(place)
        if child.phase is ChildPhase.WAITING:
            self.fork(place)
            return
        if child.phase is ChildPhase.HUNG:
            self.log("error", f"{child_name(place)} still hangs: it is told to drain, then killed")
            self.change_child(place, phase=ChildPhase.CONDEMNED, due_ns=self.now_ns + CONDEMNED_NS)
            self.signal(place, "drain")
            return
        if child.phase is ChildPhase.READY and not child.hurried:
            self.log("warning", f"{child_name(place)} has kept its calls for as long as it may: they are ended")
            self.hurry(place)
            return
        self.signal(place, "kill")
        if child.phase is ChildPhase.BOOTING:
            text = f"{child_name(place)} did not become ready within {self.state.plan.boot_ns / NS_PER_S:g} s"
            self.log("error", text)
            generations.failed(self, place, text)
        if self.state.phase is Phase.BOOTING and not child.orphan:
            self._fail_start(BootError.exit_code)

    def _gone(self, place: int, exit_code: int, why: str) -> None:
        """There is no process at this place any more: what that means depends on the phase of the service."""
        child = self.state.child(place)
        if self.state.phase is Phase.SERVING and (place == DESK or not child.leaving):
            if not generations.lost(self, place, why):
                forgiven = child.leaving or self.now_ns - child.started_ns >= LONG_LIFE_NS
                self._restart(place, 0 if forgiven else child.restarts)
            return
        self.change_child(place, phase=ChildPhase.ABSENT, due_ns=NEVER_NS, leaving=False, orphan=False)
        if self.state.phase is Phase.BOOTING and child.orphan:
            orphans.fill(self)
        elif self.state.phase is Phase.BOOTING:
            self._fail_start(exit_code)
        else:
            self._settle()
            generations.look(self)

    def _restart(self, place: int, restarts: int) -> None:
        self.change_child(place, phase=ChildPhase.WAITING, due_ns=NEVER_NS, restarts=restarts + 1)
        wait_ns = backoff_ns(restarts)
        if place != DESK and not self.state.served:
            wait_ns = min(wait_ns, LONELY_BACKOFF_NS)
        if wait_ns:
            self.log("warning", f"{child_name(place)} is restarted in {wait_ns / NS_PER_S:g} s")
            self.change_child(place, due_ns=self.now_ns + wait_ns)
        else:
            self.fork(place)
        self._hasten()

    def _hasten(self) -> None:
        """Shorten the back-offs if the last worker that served has just ceased to: callers wait for any of them."""
        if self.state.served:
            return
        latest_ns = self.now_ns + LONELY_BACKOFF_NS
        for row, child in enumerate(self.state.workers):
            if child.phase is ChildPhase.WAITING and child.due_ns > latest_ns:
                self.change_child(row, due_ns=latest_ns)

    def _welcome(self, place: int) -> None:
        """A child serves, or serves again: it gets what its phase deserves."""
        if self.state.phase is Phase.BOOTING:
            self._announce_when_all_ready()
        elif place == DESK:
            generations.renew_desk(self)
        else:
            child = self.state.child(place)
            if child.leaving:
                # Also what it could not be told while it was hung: its time runs.
                self.signal(place, "hurry" if child.hurried else "retire")
            self._urge(place)
            generations.look(self)

    def _replace(self, row: int) -> None:
        """Start another in a free row, if there is one, for a worker that will end by itself."""
        free = free_rows(self.state)
        settled = self.state.phase is Phase.SERVING and self.state.reload.phase is ReloadPhase.NONE
        if free and settled and not self.state.child(row).leaving:
            self.change_child(row, leaving=True)
            self.fork(free[0])

    def _announce_when_all_ready(self) -> None:
        workers = [child for child in self.state.workers if child.phase is not ChildPhase.ABSENT and not child.leaving]
        if len(workers) < self.state.plan.workers:
            return
        children = [*workers, *([self.state.desk] if self.state.plan.desk else [])]
        if all(child.phase is ChildPhase.READY for child in children):
            self.change(phase=Phase.SERVING)
            self.log("info", "ready", {"workers": self.state.plan.workers})
            self.commands.append(AnnounceReady())

    def _fail_start(self, exit_code: int, failed: int | None = None) -> None:
        self.change(exit_code=exit_code, failed=failed)
        orphans.let_go(self)
        self._stop(Phase.HURRYING)

    def _stop(self, phase: Phase) -> None:
        """Enter a phase of the way out: tell every child what the phase wants of it."""
        begins = self.state.phase in (Phase.NEW, Phase.BOOTING, Phase.SERVING)
        if begins:
            self.commands.append(AnnounceStopping())
        lasts_ns = {
            Phase.DRAINING: self.state.plan.drain_ns,
            Phase.HURRYING: HURRY_NS,
            Phase.ENDING_DESK: HURRY_NS,
        }.get(phase)
        self.change(phase=phase, due_ns=NEVER_NS if lasts_ns is None else self.now_ns + lasts_ns)
        if begins:
            generations.cancel(self)
        for place in self.state.places:
            if self.state.child(place).phase is ChildPhase.WAITING:
                self.change_child(place, phase=ChildPhase.ABSENT, due_ns=NEVER_NS)
            self._urge(place)
        self._settle()

    def _settle(self) -> None:
        """Go on to the desk when no worker is left, and out when the desk is gone too."""
        phase = self.state.phase
        if phase in STOPPING_WORKERS and not any(child.phase in ALIVE for child in self.state.workers):
            self._stop(Phase.ENDING_DESK)
        elif phase in (Phase.ENDING_DESK, Phase.KILLING_DESK) and self.state.desk.phase not in ALIVE:
            self.change(phase=Phase.STOPPED, due_ns=NEVER_NS)
            self.log("info", "stopped", {"exit_code": self.state.exit_code})
            self.commands.append(Exit(self.state.exit_code))

    def _urge(self, place: int) -> None:
        table = DESK_URGES if place == DESK else WORKER_URGES
        urge = table.get((self.state.phase, self.state.child(place).phase))
        if urge is not None:
            self.signal(place, urge)


_HANDLERS: dict[type, Callable[[_Turn, Any], None]] = {
    Started: _Turn.started,
    WorkerReady: lambda turn, happened: turn.ready(happened.row),
    WorkerReport: lambda turn, happened: turn.reported(happened.row, happened.message),
    ChildExited: lambda turn, happened: turn.exited(happened.row, happened.status, {"pid": happened.pid}),
    OrphanGone: _Turn.orphan_gone,
    ForkFailed: lambda turn, happened: turn.fork_failed(happened.row, happened.message),
    DeskReady: lambda turn, _: turn.ready(DESK),
    DeskReport: lambda turn, happened: turn.reported(DESK, happened.message),
    DeskExited: lambda turn, happened: turn.exited(DESK, happened.status, {}),
    DeskForkFailed: lambda turn, happened: turn.fork_failed(DESK, happened.message),
    Signal: _Turn.signalled,
    Hung: _Turn.hung,
    Beating: _Turn.beating,
    Scale: _Turn.scale,
    ReloadAsked: generations.asked,
    TrialPassed: generations.trial_passed,
    TrialFailed: generations.trial_failed,
    TrialExited: generations.trial_exited,
    Resumed: generations.resumed,
    CrossFailed: generations.cross_failed,
    DeadlineReached: _Turn.deadline,
}
