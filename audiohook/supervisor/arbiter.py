"""The one place that forks, kills and waits: carries out what `supervisor/policy.py` decides.

Knows no memory, no audio and no configuration: what the service does when a worker dies, when it is ready and every
100 ms is handed in as `Hooks`. One thread, one `selectors` loop over the signal inbox, the children's report pipes and
their command lines (`command_lines.py`), and the policy's deadline as its timeout.

Invariants: a child's reports are told before its exit; each child holds only what is its own
(tests/process/test_supervisor_children.py lists its descriptors).

The lifeline is one pipe for all children: its write end is here and nowhere else, so that the kernel tells every child
when this process is gone, however it went.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from audiohook.net.hygiene import exec_child, fork_child
from audiohook.net.seat import WorkerSeat
from audiohook.net.signals import SignalInbox
from audiohook.net.stacks import STACKS_SIGNAL
from audiohook.supervisor.children import Child, Children, Found
from audiohook.supervisor.command_lines import CommandLines
from audiohook.supervisor.crossing import Crossing, Resumption
from audiohook.supervisor.hangs import HangWatch, Sign
from audiohook.supervisor.hooks import DeskCommand, Hooks, Reloading
from audiohook.supervisor.news import child_words, exit_input, report_input
from audiohook.supervisor.orders import (
    AnnounceHung,
    AnnounceReady,
    AnnounceStopping,
    ChildExited,
    Cross,
    DeadlineReached,
    DeskExited,
    DeskForkFailed,
    Exit,
    ForkDesk,
    ForkFailed,
    ForkWorker,
    Input,
    KillTrial,
    Log,
    MarkDead,
    OrphanGone,
    Reloaded,
    ReloadFailed,
    ReloadRefused,
    Scaled,
    ScaleRefused,
    Signal,
    SignalDesk,
    SignalName,
    SignalWorker,
    Started,
    StartTrial,
    Urge,
)
from audiohook.supervisor.phases import WATCHED
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.policy import step
from audiohook.supervisor.service_commands import ServiceCommands
from audiohook.supervisor.state import DESK, TRIAL, deadline_ns, initial
from audiohook.supervisor.switchboard import Switchboard
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S

TICK_NS = 100 * NS_PER_MS
LATE_NS = NS_PER_S
"""A tick that comes so much later than it should is worth a line: somebody stopped us, or took all the CPU."""

SIGNAL_NAMES: dict[int, SignalName] = {
    signal.SIGTERM: "TERM",
    signal.SIGINT: "INT",
    signal.SIGQUIT: "QUIT",
    signal.SIGHUP: "HUP",
}

SCALE_SIGNALS = {signal.SIGTTIN: 1, signal.SIGTTOU: -1}

URGE_SIGNALS: dict[Urge, signal.Signals] = {
    "drain": signal.SIGTERM,
    "hurry": signal.SIGQUIT,
    "kill": signal.SIGKILL,
    "retire": signal.SIGUSR1,
    "dump": STACKS_SIGNAL,
}


class Arbiter:
    """The supervisor's loop. Made and run once, in the main thread of a process with one thread."""

    def __init__(
        self,
        plan: Plan,
        listeners: Sequence[socket.socket],
        worker_main: Callable[[WorkerSeat], int],
        hooks: Hooks,
        switchboard: Switchboard,
        desk: DeskCommand | None = None,
        hang_ns: int = NEVER_NS,
        reloading: Reloading | None = None,
        resumption: Resumption | None = None,
        orphans: Sequence[Found] = (),
    ) -> None:
        """`worker_main` runs in the forked child and returns its exit code; `listeners` stay the caller's.

        Commands for the service as a whole are answered here from now on (`Switchboard.on_service`). With `resumption`
        the supervisor goes on where another image stopped, by its lot, and without `reloading` it never does. `orphans`
        are the living workers of a daemon before, and their descriptors are this one's from now on.
        """
        if plan.desk != (desk is not None):
            raise ValueError("the plan has a desk and the arbiter has none, or the other way round")
        self._resumption = resumption
        self._orphans = tuple(orphans)
        self._state = initial(plan) if resumption is None else resumption.lot.state
        self._listeners = tuple(listeners)
        self._worker_main = worker_main
        self._hooks = hooks
        self._desk = desk
        self._exit_code: int | None = None
        self._last_tick_fault = ""
        self._ticked_ns = 0
        self._hangs = HangWatch(hang_ns, 2 * TICK_NS)
        self._commands = ServiceCommands(self._feed, lambda: self._state, hooks, self._call_hook)
        switchboard.on_service = self._commands.serve
        self._selector = selectors.EpollSelector()
        self._lines = CommandLines(switchboard, self._selector, self._line_dropped)
        self._children = Children(self._selector, self._lines)
        self._inbox = SignalInbox()
        lifeline = os.pipe() if resumption is None else resumption.lot.lifeline
        self._lifeline_read_fd, self._lifeline_write_fd = lifeline
        self._crossing = Crossing(reloading, self._children, switchboard, self._inbox, lifeline)
        self._cross_due: Cross | None = None
        self._doers: dict[type, Callable[[Any], Input | None]] = {
            ForkWorker: self._fork_worker,
            ForkDesk: self._fork_desk,
            SignalWorker: lambda command: self._children.signal(command.row, URGE_SIGNALS[command.urge]),
            SignalDesk: lambda command: self._children.signal(DESK, URGE_SIGNALS[command.urge]),
            MarkDead: lambda command: self._call_hook(lambda: self._hooks.on_dead(command.row)),
            AnnounceReady: lambda _: self._call_hook(self._hooks.on_ready),
            AnnounceStopping: lambda _: self._call_hook(self._hooks.on_stopping),
            AnnounceHung: lambda command: self._call_hook(lambda: self._hooks.on_hung(command)),
            Scaled: self._commands.scaled,
            ScaleRefused: self._commands.scaled,
            StartTrial: lambda _: self._crossing.start_trial(self._state),
            KillTrial: lambda _: self._children.signal(TRIAL, signal.SIGKILL),
            Cross: self._note_crossing,
            Reloaded: lambda command: self._call_hook(lambda: self._hooks.on_reload(command)),
            ReloadFailed: lambda command: self._call_hook(lambda: self._hooks.on_reload(command)),
            ReloadRefused: lambda command: self._call_hook(lambda: self._hooks.on_reload_refused(command)),
            Log: lambda command: self._hooks.log(command.level, command.text, command.fields),
            Exit: self._exit,
        }

    def run(self) -> int:
        """Supervise until the policy says `Exit`; return its code.

        If this raises, the fault is ours: the children see their lifeline close and keep their calls to the end.
        """
        # SIGUSR1 means nothing here and is taken all the same: elsewhere it reopens logs, and it would end us.
        self._inbox.install([*SIGNAL_NAMES, *SCALE_SIGNALS, signal.SIGCHLD, signal.SIGUSR1])
        self._selector.register(self._inbox, selectors.EVENT_READ)
        try:
            self._begin()
            next_tick_ns = 0
            while self._exit_code is None:
                next_tick_ns = self._turn(next_tick_ns)
        finally:
            self._inbox.restore()
            self._selector.close()
            os.close(self._lifeline_read_fd)
            os.close(self._lifeline_write_fd)
        return self._exit_code

    def _begin(self) -> None:
        if self._resumption is None:
            for found in self._orphans:
                self._children.adopt(found.orphan.row, found.pid, found.pidfd, found.command_fd)
            self._feed(Started(tuple(found.orphan for found in self._orphans)))
            return
        for news in self._crossing.take_on(self._resumption):
            if isinstance(news, DeskExited | ChildExited):
                self._hooks.log("error", "a child was reaped by somebody else", {"exited": news})
            self._feed(news)
        # A SIGCHLD between the two images may have stood for several deaths.
        self._reap()

    def _turn(self, next_tick_ns: int) -> int:
        wake_ns = min(deadline_ns(self._state), next_tick_ns)
        events = self._selector.select(max(wake_ns - time.monotonic_ns(), 0) / NS_PER_S)
        # The inbox comes last: reaping closes pipes and lines, and their events of this batch must still be theirs.
        for key, _ in events:
            if isinstance(key.data, Child):
                self._hear(key.data)
            elif key.data is not None:
                self._guard_line(key.data.place, partial(self._lines.serve, key.data))
        if any(key.data is None for key, _ in events):
            self._take_signals()
        now_ns = time.monotonic_ns()
        if deadline_ns(self._state) <= now_ns:
            self._feed(DeadlineReached())
        if now_ns < next_tick_ns:
            return next_tick_ns
        self._tick()
        return now_ns + TICK_NS

    def _feed(self, happened: Input) -> None:
        """Put one input, and those that its commands bring about, through the policy."""
        waiting = [happened]
        while waiting:
            self._state, commands = step(self._state, waiting.pop(0), time.monotonic_ns())
            outcomes = [self._doers[type(command)](command) for command in commands]
            waiting += [outcome for outcome in outcomes if outcome is not None]
            if not waiting and self._cross_due is not None:
                # Last of all: nothing that was ordered is left for the other image to do.
                crossing, self._cross_due = self._cross_due, None
                waiting.append(self._crossing.cross(self._state, crossing.fault))

    def _note_crossing(self, command: Cross) -> None:
        self._cross_due = command

    # Processes

    def _fork_worker(self, command: ForkWorker) -> Input | None:
        def start(report_fd: int, command_fd: int) -> int:
            seat = WorkerSeat(
                command.row, command.generation, self._listeners, self._lifeline_read_fd, report_fd, command_fd
            )
            return fork_child(lambda: self._worker_main(seat), prepare=self._let_go, report_fd=report_fd)

        fault = self._children.start(command.row, start)
        if fault is not None:
            return ForkFailed(command.row, fault)
        line_fd = self._lines.fd_of(command.row)
        if line_fd is not None:
            self._call_hook(lambda: self._hooks.on_forked(command.row, line_fd))
        return None

    def _fork_desk(self, _: ForkDesk) -> Input | None:
        desk = self._desk
        if desk is None:
            return DeskForkFailed("there is no desk to run")

        def start(report_fd: int, command_fd: int) -> int:
            fds = {**desk.fds, "lifeline": self._lifeline_read_fd, "report": report_fd, "commands": command_fd}
            return exec_child(desk.argv, fds)

        fault = self._children.start(DESK, start)
        return None if fault is None else DeskForkFailed(fault)

    def _let_go(self) -> None:
        """In a forked child, with signals blocked: close all that is the supervisor's."""
        os.close(self._lifeline_write_fd)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                os.close(key.fd)
        self._inbox.abandon()
        # Closing only: to unregister anything here would unregister it in the supervisor's own epoll.
        self._selector.close()

    def _take_signals(self) -> None:
        numbers = self._inbox.drain()
        for number in numbers:
            if number in SIGNAL_NAMES:
                self._feed(Signal(SIGNAL_NAMES[number]))
            if number in SCALE_SIGNALS:
                name = signal.Signals(number).name
                self._commands.scale(self._state.wanted + SCALE_SIGNALS[signal.Signals(number)], {"signal": name})
        if signal.SIGCHLD in numbers:
            self._reap()

    def _reap(self) -> None:
        """Wait for every child that is dead. One SIGCHLD may stand for many, so: until there is none.

        Looked at first, reaped last (WNOWAIT): its last words can make the policy signal it, and until it is reaped its
        pid is nobody else's.
        """
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            child = self._children.get(dead.si_pid)
            while child is not None and self._read_report(child):
                pass
            _, status = os.waitpid(dead.si_pid, 0)
            if child is not None:
                self._children.reaped(child)
                self._guard_line(child.place, partial(self._lines.close, child.place))
                code = os.waitstatus_to_exitcode(status)
                self._feed(exit_input(child.place, child.pid, code))

    # Reports

    def _hear(self, child: Child) -> None:
        """A report pipe has something, or an orphan has ended."""
        if child.pidfd is None:
            self._read_report(child)
        else:
            self._children.reaped(child)
            self._guard_line(child.place, partial(self._lines.close, child.place))
            self._feed(OrphanGone(child.place, child.pid))

    def _read_report(self, child: Child) -> bool:
        """Take in what the child has said; return whether there may be more."""
        words = self._children.read(child)
        for word in words or []:
            news = report_input(child.place, word)
            if news is not None:
                self._feed(news)
        return words is not None

    # Command lines

    def _guard_line(self, place: int, step: Callable[[int], None]) -> None:
        """Whatever goes wrong with a child's line costs that child its line, and the supervisor nothing."""
        try:
            step(time.monotonic_ns())
        except Exception as error:
            self._hooks.log("error", f"the command line of {child_words(place)} failed: {_fault(error)}", {})
            self._lines.drop(place)

    def _line_dropped(self, place: int) -> None:
        text = f"{child_words(place)} sent what is no command of its kind: its command line is closed"
        self._hooks.log("error", text, {})

    # Moments

    def _call_hook(self, hook: Callable[[], None]) -> None:
        try:
            hook()
        except Exception as error:
            self._hooks.log("error", f"a hook of the supervisor failed: {_fault(error)}", {})

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        late_ns = now_ns - self._ticked_ns - TICK_NS
        if self._ticked_ns and late_ns >= LATE_NS:
            text = "the supervisor itself stood still: nobody is judged by that time"
            self._hooks.log("warning", text, {"seconds": round(late_ns / NS_PER_S, 1)})
        self._ticked_ns = now_ns
        try:
            self._lines.tick(now_ns)
            self._hooks.on_tick()
            for news in self._hangs.look(now_ns, self._signs()):
                self._feed(news)
        except Exception as error:
            fault = _fault(error)
            if fault != self._last_tick_fault:  # else ten equal lines a second
                self._last_tick_fault = fault
                self._hooks.log("error", f"the supervisor's chores failed: {fault}", {})

    def _signs(self) -> dict[int, Sign]:
        """Return the signs of life of whoever is expected to turn its loop. The desk's are its words on its pipe."""
        heartbeats = self._hooks.heartbeats()
        return {
            child.place: Sign(child.pid, child.reader.beats if child.place == DESK else heartbeats[child.place])
            for child in self._children
            if child.place != TRIAL and self._state.child(child.place).phase in WATCHED
        }

    def _exit(self, command: Exit) -> None:
        self._exit_code = command.code


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
