"""The processes of the supervisor that are not reaped yet, and their report pipes. Knows no policy.

Invariants: only pids that were started here and have not been reaped are signalled, so none can have been reused; what
is opened for a child is closed with it, also if it could not be started
(tests/process/test_supervisor_children.py counts).
"""

import contextlib
import os
import selectors
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from audiohook.errors import BootError
from audiohook.net.seat import ReportReader
from audiohook.supervisor.command_lines import CommandLines

_READ_BYTES = 4096


@dataclass(slots=True, eq=False)
class Child:
    """A process of ours. `report_fd` is None after its end of file."""

    place: int
    pid: int
    report_fd: int | None
    reader: ReportReader = field(default_factory=ReportReader)


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
                command_fd = self._lines.open(place)
                theirs.callback(os.close, command_fd)
                child.pid = start(report_write_fd, command_fd)
            except (OSError, BootError) as error:
                self._close_report(child)
                self._lines.drop(place)
                return str(error)
        self._by_pid[child.pid] = child
        return None

    def signal(self, place: int, number: int) -> None:
        for child in self:
            if child.place == place:
                os.kill(child.pid, number)

    def read(self, child: Child) -> list[str | None] | None:
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

    def _close_report(self, child: Child) -> None:
        if child.report_fd is not None:
            self._selector.unregister(child.report_fd)
            os.close(child.report_fd)
            child.report_fd = None
