"""The one place that forks, kills and waits: carries out what `supervisor/policy.py` decides.

Knows no memory, no audio and no configuration: what the service does when a worker dies, when it is ready and every
100 ms is handed in as `Hooks`. One thread, one `selectors` loop over the signal inbox, the children's report pipes and
their command lines (`command_lines.py`), and the policy's deadline as its timeout.

Invariants: a child's reports are told before its exit; only pids that this object forked and has not reaped are
signalled, so none can have been reused; each child holds only what is its own
(tests/process/test_supervisor_children.py lists its descriptors).

The lifeline is one pipe for all children: its write end is here and nowhere else, so that the kernel tells every child
when this process is gone, however it went.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from audiohook.errors import BootError
from audiohook.net.hygiene import exec_child, fork_child
from audiohook.net.seat import ReportReader, WorkerSeat
from audiohook.net.signals import SignalInbox
from audiohook.supervisor.command_lines import CommandLines
from audiohook.supervisor.orders import (
    AnnounceReady,
    AnnounceStopping,
    ChildExited,
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
    Signal,
    SignalDesk,
    SignalName,
    SignalWorker,
    Started,
    Urge,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.policy import DESK, Plan, deadline_ns, initial, step
from audiohook.supervisor.switchboard import Switchboard
from audiohook.units import NS_PER_MS, NS_PER_S

TICK_NS = 100 * NS_PER_MS

SIGNAL_NAMES: dict[int, SignalName] = {
    signal.SIGTERM: "TERM",
    signal.SIGINT: "INT",
    signal.SIGQUIT: "QUIT",
    signal.SIGHUP: "HUP",
}

URGE_SIGNALS: dict[Urge, signal.Signals] = {
    "drain": signal.SIGTERM,
    "hurry": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}

_READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the service does at the supervisor's moments. Called in its one thread; must be short and start no thread.

    An exception out of one is logged and changes nothing else: a fault in a chore must not cost every call.
    """

    log: Callable[[str, str, Mapping[str, object]], None]
    """(level, text, fields)"""
    on_dead: Callable[[int], None]
    """The worker of this row is reaped: mark what it owned ABORTED. Returns before the row is used again."""
    on_ready: Callable[[], None]
    on_stopping: Callable[[], None]
    on_tick: Callable[[], None]
    """About every 100 ms."""


@dataclass(frozen=True, slots=True)
class DeskCommand:
    """How the desk is run, and the descriptors that it gets by name besides `lifeline`, `report` and `commands`."""

    argv: tuple[str, ...]
    fds: Mapping[str, int]


@dataclass(slots=True, eq=False)
class _Child:
    """A process of ours that is not reaped yet. `report_fd` is None after its end of file."""

    place: int
    pid: int
    report_fd: int | None
    reader: ReportReader = field(default_factory=ReportReader)


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
    ) -> None:
        """`worker_main` runs in the forked child and returns its exit code; `listeners` stay the caller's."""
        if plan.desk != (desk is not None):
            raise ValueError("the plan has a desk and the arbiter has none, or the other way round")
        self._state = initial(plan)
        self._listeners = tuple(listeners)
        self._worker_main = worker_main
        self._hooks = hooks
        self._desk = desk
        self._children: dict[int, _Child] = {}
        self._exit_code: int | None = None
        self._last_tick_fault = ""
        self._selector = selectors.EpollSelector()
        self._lines = CommandLines(switchboard, self._selector, self._line_dropped)
        self._inbox = SignalInbox()
        self._lifeline_read_fd, self._lifeline_write_fd = os.pipe()
        self._doers: dict[type, Callable[[Any], Input | None]] = {
            ForkWorker: self._fork_worker,
            ForkDesk: self._fork_desk,
            SignalWorker: lambda command: self._signal(command.row, command.urge),
            SignalDesk: lambda command: self._signal(DESK, command.urge),
            MarkDead: lambda command: self._call_hook(lambda: self._hooks.on_dead(command.row)),
            AnnounceReady: lambda _: self._call_hook(self._hooks.on_ready),
            AnnounceStopping: lambda _: self._call_hook(self._hooks.on_stopping),
            Log: lambda command: self._hooks.log(command.level, command.text, command.fields),
            Exit: self._exit,
        }

    def run(self) -> int:
        """Supervise until the policy says `Exit`; return its code.

        If this raises, the fault is ours: the children see their lifeline close and keep their calls to the end.
        """
        self._inbox.install([*SIGNAL_NAMES, signal.SIGCHLD])
        self._selector.register(self._inbox, selectors.EVENT_READ)
        try:
            self._feed(Started())
            next_tick_ns = 0
            while self._exit_code is None:
                next_tick_ns = self._turn(next_tick_ns)
        finally:
            self._inbox.restore()
            self._selector.close()
            os.close(self._lifeline_read_fd)
            os.close(self._lifeline_write_fd)
        return self._exit_code

    def _turn(self, next_tick_ns: int) -> int:
        wake_ns = min(deadline_ns(self._state), next_tick_ns)
        events = self._selector.select(max(wake_ns - time.monotonic_ns(), 0) / NS_PER_S)
        # The inbox comes last: reaping closes pipes and lines, and their events of this batch must still be theirs.
        for key, _ in events:
            if isinstance(key.data, _Child):
                self._read_report(key.data)
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

    # Processes

    def _fork_worker(self, command: ForkWorker) -> Input | None:
        def start(report_fd: int, command_fd: int) -> int:
            seat = WorkerSeat(
                command.row, command.generation, self._listeners, self._lifeline_read_fd, report_fd, command_fd
            )
            return fork_child(lambda: self._worker_main(seat), prepare=self._let_go, report_fd=report_fd)

        fault = self._start(command.row, start)
        return None if fault is None else ForkFailed(command.row, fault)

    def _fork_desk(self, _: ForkDesk) -> Input | None:
        desk = self._desk
        if desk is None:
            return DeskForkFailed("there is no desk to run")

        def start(report_fd: int, command_fd: int) -> int:
            fds = {**desk.fds, "lifeline": self._lifeline_read_fd, "report": report_fd, "commands": command_fd}
            return exec_child(desk.argv, fds)

        fault = self._start(DESK, start)
        return None if fault is None else DeskForkFailed(fault)

    def _start(self, place: int, start: Callable[[int, int], int]) -> str | None:
        """Start a process with a report pipe and a command line; return None, or why it could not be started."""
        with contextlib.ExitStack() as theirs:
            try:
                report_read_fd, report_write_fd = os.pipe()
                theirs.callback(os.close, report_write_fd)
                child = _Child(place, 0, report_read_fd)
                os.set_blocking(report_read_fd, False)
                # Before the fork, so that `_let_go` closes the child's own read end with the others'.
                self._selector.register(report_read_fd, selectors.EVENT_READ, child)
            except OSError as error:
                return str(error)
            try:
                command_fd = self._lines.open(place)
                theirs.callback(os.close, command_fd)
                child.pid = start(report_write_fd, command_fd)
            except (OSError, BootError) as error:
                self._close_report(child)
                self._lines.drop(place)
                return str(error)
        self._children[child.pid] = child
        return None

    def _let_go(self) -> None:
        """In a forked child, with signals blocked: close all that is the supervisor's."""
        os.close(self._lifeline_write_fd)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                os.close(key.fd)
        self._inbox.abandon()
        # Closing only: to unregister anything here would unregister it in the supervisor's own epoll.
        self._selector.close()

    def _signal(self, place: int, urge: Urge) -> None:
        for child in self._children.values():
            if child.place == place:
                os.kill(child.pid, URGE_SIGNALS[urge])

    def _take_signals(self) -> None:
        numbers = self._inbox.drain()
        for number in numbers:
            if number in SIGNAL_NAMES:
                self._feed(Signal(SIGNAL_NAMES[number]))
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
            # Not in the table: as PID 1 of a container we are given other people's orphans to reap.
            child = self._children.get(dead.si_pid)
            while child is not None and self._read_report(child):
                pass
            _, status = os.waitpid(dead.si_pid, 0)
            if child is not None:
                del self._children[child.pid]
                self._close_report(child)
                self._guard_line(child.place, partial(self._lines.close, child.place))
                code = os.waitstatus_to_exitcode(status)
                self._feed(DeskExited(code) if child.place == DESK else ChildExited(child.place, child.pid, code))

    # Reports

    def _read_report(self, child: _Child) -> bool:
        """Take in what the child has said; return whether there may be more."""
        if child.report_fd is None:
            return False
        try:
            data = os.read(child.report_fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close_report(child)
        for word in child.reader.receive_data(data):
            self._feed(_report_input(child.place, word))
        return bool(data)

    def _close_report(self, child: _Child) -> None:
        if child.report_fd is not None:
            self._selector.unregister(child.report_fd)
            os.close(child.report_fd)
            child.report_fd = None

    # Command lines

    def _guard_line(self, place: int, step: Callable[[int], None]) -> None:
        """Whatever goes wrong with a child's line costs that child its line, and the supervisor nothing."""
        try:
            step(time.monotonic_ns())
        except Exception as error:
            self._hooks.log("error", f"the command line of {_whose(place)} failed: {_fault(error)}", {})
            self._lines.drop(place)

    def _line_dropped(self, place: int) -> None:
        text = f"{_whose(place)} sent what is no command of its kind: its command line is closed"
        self._hooks.log("error", text, {})

    # Moments

    def _call_hook(self, hook: Callable[[], None]) -> None:
        try:
            hook()
        except Exception as error:
            self._hooks.log("error", f"a hook of the supervisor failed: {_fault(error)}", {})

    def _tick(self) -> None:
        try:
            self._lines.tick(time.monotonic_ns())
            self._hooks.on_tick()
        except Exception as error:
            fault = _fault(error)
            if fault != self._last_tick_fault:  # else ten equal lines a second
                self._last_tick_fault = fault
                self._hooks.log("error", f"the supervisor's chores failed: {fault}", {})

    def _exit(self, command: Exit) -> None:
        self._exit_code = command.code


def _report_input(place: int, word: str | None) -> Input:
    if place == DESK:
        return DeskReady() if word is None else DeskReport(word)
    return WorkerReady(place) if word is None else WorkerReport(place, word)


def _whose(place: int) -> str:
    return "the desk" if place == DESK else f"worker {place}"


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
