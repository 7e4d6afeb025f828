"""How much of this machine somebody else has used: times taken meanwhile are worth nothing.

What the machine did comes from /proc/stat, what we did from the kernel's account of this process and of its children
that are gone: so it is asked before a row has begun and after everything of it has ended. Whose parent was killed is a
child of this process from then on, else a daemon's workers that outlive their supervisor would count as somebody else.
"""

import ctypes
import os
import resource
import time
from pathlib import Path

MOST = 0.15
"""Share of all processors. Half of it would be enough for one program that keeps looking at the clock."""


_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2)."""


class Neighbours:
    """From now on."""

    def __init__(self) -> None:
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")
        self._began_s = time.monotonic()
        self._busy_s, self._own_s = _busy_s(), _own_s()

    def told(self) -> str:
        """Return why times are void, or nothing. Children that have ended and were not waited for are, now."""
        _reap()
        wall_s = (time.monotonic() - self._began_s) * len(os.sched_getaffinity(0))
        share = (_busy_s() - self._busy_s - (_own_s() - self._own_s)) / wall_s
        return f"others used {share:.0%} of this machine" if share > MOST else ""


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _busy_s() -> float:
    """Return the time that all processors have worked: all but idle and iowait, guests counted once."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, *_ = fields
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
