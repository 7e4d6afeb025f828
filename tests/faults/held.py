"""Holds one process to part of a core: by a control group of its own, else by a busy neighbour on the same processor.

A control group of version 1 or 2 needs to be writable and to have the cpu controller. The neighbour is coarse: what it
leaves is set by how nice the process is, in steps of a fifth.
"""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

PERIOD_US = 100_000
LEAST_US = 1000
"""The kernel gives no less in a period."""

GROUPS = Path("/sys/fs/cgroup")
NICEST = 19
NICE_STEP = 1.25
"""sched(7): each step of nice is so much of the processor."""


class Hold(Protocol):
    """`to(share)`: so much of a core from now on; `lift`: all it can get; `end`: leave nothing behind."""

    how: str

    def to(self, share: float) -> None: ...
    def lift(self) -> None: ...
    def end(self) -> None: ...


def hold(pid: int) -> Hold:
    """Return a hold on a process, lifted for now, by the first way there is."""
    ways: tuple[Callable[[int], Hold], ...] = (_Quota2, _Quota1)
    for way in ways:
        try:
            return way(pid)
        except OSError:
            continue
    return _Neighbour(pid)


class _Quota:
    """A control group with one process in it."""

    how = "a control group"

    def __init__(self, pid: int, parent: Path, controller: str) -> None:
        """`controller` is how the hierarchy is called in /proc/PID/cgroup."""
        self._pid = pid
        lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
        self._home = parent / next(path for _, name, path in lines if name == controller).lstrip("/")
        self._group = parent / f"audiohook-faults-{pid}"
        self._group.mkdir()
        try:
            self.lift()
            (self._group / "cgroup.procs").write_text(str(pid))
        except OSError:
            self._group.rmdir()
            raise

    def to(self, share: float) -> None:
        self._write(max(LEAST_US, round(PERIOD_US * share)))

    def lift(self) -> None:
        self._write(None)

    def end(self) -> None:
        if os.path.exists(f"/proc/{self._pid}"):
            (self._home / "cgroup.procs").write_text(str(self._pid))
        self._group.rmdir()

    def _write(self, quota_us: int | None) -> None:
        raise NotImplementedError


class _Quota1(_Quota):
    def __init__(self, pid: int) -> None:
        super().__init__(pid, GROUPS / "cpu", "cpu")

    def _write(self, quota_us: int | None) -> None:
        (self._group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self._group / "cpu.cfs_quota_us").write_text(str(quota_us or -1))


class _Quota2(_Quota):
    def __init__(self, pid: int) -> None:
        if "cpu" not in (GROUPS / "cgroup.subtree_control").read_text().split():
            (GROUPS / "cgroup.subtree_control").write_text("+cpu")
        super().__init__(pid, GROUPS, "")

    def _write(self, quota_us: int | None) -> None:
        (self._group / "cpu.max").write_text(f"{quota_us or 'max'} {PERIOD_US}")


class _Neighbour:
    """A process that never rests, on the processor that ours is pinned to."""

    how = "a busy neighbour"

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = os.sched_getaffinity(pid)
        self._busy: subprocess.Popen[bytes] | None = None

    def to(self, share: float) -> None:
        """Also more coarsely than asked for: a process does not get less nice without privilege."""
        self.lift()
        processor = {min(self._before)}
        self._busy = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        os.sched_setaffinity(self._busy.pid, processor)
        os.sched_setaffinity(self._pid, processor)
        wanted = round(math.log((1 - share) / share, NICE_STEP))
        nice = os.getpriority(os.PRIO_PROCESS, self._pid)
        os.setpriority(os.PRIO_PROCESS, self._pid, max(nice, min(NICEST, wanted)))

    def lift(self) -> None:
        if self._busy is not None:
            os.kill(self._busy.pid, signal.SIGKILL)
            self._busy.wait()
            self._busy = None
            os.sched_setaffinity(self._pid, self._before)

    def end(self) -> None:
        if self._busy is not None:
            os.kill(self._busy.pid, signal.SIGKILL)
            self._busy.wait()
