"""The processes of a run: forked, told to stop by the end of a pipe, heard through another. Knows nothing of calls.

Each child has two pipes of its own: `orders` (parent → child; its EOF, also by the parent's death, means "stop") and
`reports` (child → parent; its EOF means that the child is gone). Lines of JSON both ways, of the types in `reports.py`.

Fork hygiene: one thread (asserted: a lock that another thread holds stays locked in the child), signals blocked around
the fork, handlers reset in the child, the pipes of its elder siblings closed in it, or their parent's end would never
be seen. Children ignore SIGINT: a Ctrl-C reaches the whole process group, and how a run ends is the parent's to say.
"""

import fcntl
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable

import msgspec

from audiohook.load.errors import LoadError
from audiohook.load.reports import Finish, Report

REPORT_PIPE_BYTES = 1 << 20
"""Room for many seconds of reports: a child must not wait for a parent that draws a table."""

READ_BYTES = 1 << 16
HANDLED = {signal.SIGINT, signal.SIGTERM}

_report_decoder: "msgspec.json.Decoder[Report]" = msgspec.json.Decoder(Report)
_encode = msgspec.json.encode

Main = Callable[[int, Callable[[Report], None]], None]
"""What a child does: it gets the reading end of its orders and a function that reports."""


class Child:
    """The parent's side of one child process."""

    def __init__(self, name: str, pid: int, orders_fd: int, reports_fd: int) -> None:
        self.name = name
        self.pid = pid
        self.reports_fd = reports_fd
        self.finished = False
        """Its last report was final: that it exits now is in order."""
        self._orders_fd = orders_fd
        self._unread = b""
        self._reaped = False

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a younger sibling must close."""
        return tuple(fd for fd in (self._orders_fd, self.reports_fd) if fd >= 0)

    def read_reports(self) -> list[Report]:
        """Return the reports that have come, after `reports_fd` was found readable. LoadError if the child has died."""
        data = os.read(self.reports_fd, READ_BYTES)
        if not data and not self.finished:
            raise LoadError(f"{self.name} died: {self._reap(block=True)}")
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [_report_decoder.decode(line) for line in lines]

    def finish(self, order: Finish) -> None:
        """Tell it how the calls went."""
        os.write(self._orders_fd, _encode(order) + b"\n")

    def stop(self) -> None:
        """Tell it to end: the EOF of its orders."""
        if self._orders_fd >= 0:
            os.close(self._orders_fd)
            self._orders_fd = -1

    def end(self) -> None:
        """Be done with it: one that has not finished is killed, all are reaped."""
        self.stop()
        if not self._reaped:
            if not self.finished:
                os.kill(self.pid, signal.SIGKILL)
            self._reap(block=True)
        if self.reports_fd >= 0:
            os.close(self.reports_fd)
            self.reports_fd = -1

    def _reap(self, *, block: bool) -> str:
        _, status = os.waitpid(self.pid, 0 if block else os.WNOHANG)
        self._reaped = True
        code = os.waitstatus_to_exitcode(status)
        return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def fork_child(name: str, main: Main, elders: Iterable[Child]) -> Child:
    """Fork a child that runs `main` and exits; `elders` are its siblings so far."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise LoadError(
            f"a run forks and needs a process with one thread; this one has {threads} "
            "(set OPENBLAS_NUM_THREADS=1 before NumPy is imported)"
        )
    orders_read, orders_write = os.pipe()
    reports_read, reports_write = os.pipe()
    fcntl.fcntl(reports_write, fcntl.F_SETPIPE_SZ, REPORT_PIPE_BYTES)
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            foreign = [orders_write, reports_read, *(fd for elder in elders for fd in elder.descriptors)]
            _be_child(main, foreign, orders_read, reports_write)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    os.close(orders_read)
    os.close(reports_write)
    return Child(name, pid, orders_write, reports_read)


def _be_child(main: Main, foreign: Iterable[int], orders_fd: int, reports_fd: int) -> None:
    """Run `main` and exit; never returns, not even by an exception."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        for fd in foreign:
            os.close(fd)

        def tell(report: Report) -> None:
            _write_all(reports_fd, _encode(report) + b"\n")

        main(orders_fd, tell)
        status = 0
    except BrokenPipeError:
        pass  # the parent is gone, nobody is left to be told
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
