"""The processes of the supervisor that are not reaped yet, and their report pipes. Knows no policy.

Invariants: only pids that were started here and have not been reaped are signalled, or pidfds, so none can have been
reused; what is opened for a child is closed with it, also if it could not be started
(tests/process/test_supervisor_children.py counts).
"""

import contextlib
import os
import selectors
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audiohook.errors import BootError
from audiohook.net.seat import ReportReader, Word
from audiohook.supervisor.command_lines import CommandLines
from audiohook.supervisor.handover import KeptChild
from audiohook.supervisor.orders import Orphan

_READ_BYTES = 4096


@dataclass(slots=True, eq=False)
class Child:
    """A process of ours. `report_fd` is None after its end of file."""

    place: int
    pid: int
    report_fd: int | None
    reader: ReportReader = field(default_factory=ReportReader)
    pidfd: int | None = None
    """Of an orphan, which is not ours to reap: readable when it has ended."""


@dataclass(frozen=True, slots=True)
class Found:
    """An orphan's process; the descriptors belong to whoever takes this. `pidfd` is readable when it has ended."""

    orphan: Orphan
    pid: int
    pidfd: int
    command_fd: int | None = None
    """Our end of its command line, if that has outlived the supervisor before."""


class Children:
    """All of them, by pid. A report pipe is registered with its Child as data: pass that to `read`."""

    def __init__(self, selector: selectors.BaseSelector, lines: CommandLines) -> None:
        self._selector = selector
        self._lines = lines
        self._by_pid: dict[int, Child] = {}

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_pid.values())

    def get(self, pid: int) -> Child | None:
        """Return the child with this pid. As PID 1 of a container we are given other people's orphans to reap."""
        return self._by_pid.get(pid)

    def start(self, place: int, start: Callable[[int, int], int]) -> str | None:
        """Start a process with a report pipe and a command line; return None, or why it could not be started.

        `start(report_fd, command_fd)` forks and returns the pid; the descriptors are the child's ends.
        """

        def with_line(theirs: contextlib.ExitStack, report_fd: int) -> int:
            command_fd = self._lines.open(place)
            theirs.callback(os.close, command_fd)
            return start(report_fd, command_fd)

        return self._start(place, with_line)

    def start_silent(self, place: int, start: Callable[[int], int]) -> str | None:
        """Start a process that has a report pipe only; the rest as `start`."""
        return self._start(place, lambda _, report_fd: start(report_fd))

    def _start(self, place: int, start: Callable[[contextlib.ExitStack, int], int]) -> str | None:
        with contextlib.ExitStack() as theirs:
            try:
                report_read_fd, report_write_fd = os.pipe()
                theirs.callback(os.close, report_write_fd)
                child = Child(place, 0, report_read_fd)
                os.set_blocking(report_read_fd, False)
                # Before the fork, so that a forked child closes its own read end with the others' (`Arbiter._let_go`).
                self._selector.register(report_read_fd, selectors.EVENT_READ, child)
            except OSError as error:
                return str(error)
            try:
                child.pid = start(theirs, report_write_fd)
            except (OSError, BootError) as error:
                self._close_report(child)
                self._lines.drop(place)
                return str(error)
        self._by_pid[child.pid] = child
        return None

    def kept(self) -> list[KeptChild]:
        """Return what another image must know of each process to take it on."""
        return [
            KeptChild(
                child.place,
                child.pid,
                started_ticks(child.pid),
                child.report_fd,
                child.reader.unread.decode("latin-1"),
                child.reader.beats,
                self._lines.fd_of(child.place),
                child.pidfd,
            )
            for child in self
        ]

    def take_on(self, kept: Iterable[KeptChild]) -> list[Child]:
        """Take on the processes of the image before this one; return those that are not what they were.

        We are their parent all the time, so a pid cannot have become somebody else's, unless somebody has reaped it
        meanwhile, as a caretaker does (`cli/stage0.py`). These are kept as dead: nobody is ever signalled for them.
        """
        strangers = []
        for one in kept:
            child = Child(one.place, one.pid, one.report_fd, ReportReader(one.unread.encode("latin-1"), one.beats))
            if one.pidfd is not None:
                self.adopt(one.place, one.pid, one.pidfd, one.command_fd)
                continue
            self._by_pid[child.pid] = child
            if one.report_fd is not None:
                self._selector.register(one.report_fd, selectors.EVENT_READ, child)
            if one.command_fd is not None:
                self._lines.take_on(one.place, one.command_fd)
            if started_ticks(child.pid) != one.started_ticks:
                strangers.append(child)
        return strangers

    def adopt(self, place: int, pid: int, pidfd: int, command_fd: int | None) -> None:
        """Take on a process that is not ours to reap, and its line. Its pidfd is registered with its Child as data."""
        child = Child(place, pid, None, pidfd=pidfd)
        self._by_pid[pid] = child
        self._selector.register(pidfd, selectors.EVENT_READ, child)
        self._lines.adopt(place, command_fd)

    def signal(self, place: int, number: int) -> None:
        for child in self:
            if child.place != place:
                continue
            if child.pidfd is None:
                os.kill(child.pid, number)
            else:
                with contextlib.suppress(ProcessLookupError):  # it has ended, and that is not read yet
                    signal.pidfd_send_signal(child.pidfd, number)

    def read(self, child: Child) -> list[Word] | None:
        """Return the words that the child has said since (`net/seat.py`), None if there is nothing more to be read."""
        if child.report_fd is None:
            return None
        try:
            data = os.read(child.report_fd, _READ_BYTES)
        except BlockingIOError:
            return None
        if not data:
            self._close_report(child)
            return None
        return child.reader.receive_data(data)

    def reaped(self, child: Child) -> None:
        """The process is gone, and its pid anybody's."""
        del self._by_pid[child.pid]
        self._close_report(child)
        if child.pidfd is not None:
            self._selector.unregister(child.pidfd)
            os.close(child.pidfd)

    def _close_report(self, child: Child) -> None:
        if child.report_fd is not None:
            self._selector.unregister(child.report_fd)
            os.close(child.report_fd)
            child.report_fd = None


def started_ticks(pid: int) -> int:
    """Return when a process was started, in clock ticks since the boot (proc(5), field 22); 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0
