"""Finds the living workers of the daemon whose memory was taken on. Knows no policy; signals nobody.

Whoever holds the lock file open is a worker: no reader ever gets it, the desk has no use for it. Its row is the one
that names its pid. A worker that was forked and had no row yet has no call that could be lost: it leaves by itself,
since its lifeline is closed. It is waited for, briefly, so that it does not write into a row that is another's by then.
"""

import os
import time

from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.supervisor.children import Found
from audiohook.supervisor.orders import Orphan

PATIENCE_S = 5.0
LOOK_S = 0.01


def take_over(arena: Arena, locks_fd: int) -> list[Found]:
    """Make the arena this supervisor's; return the living workers of the one before, if there was one."""
    at = layout.HEADER.index("supervisor_pid")
    if arena.words[at] == os.getpid():
        return []
    orphans = find_orphans(arena, locks_fd)
    arena.words[at] = os.getpid()
    return orphans


def find_orphans(arena: Arena, locks_fd: int) -> list[Found]:
    """Return every living worker of the daemon before, in the order of their rows.

    Raises BootError if a worker without a row does not leave: its calls, if it has any, could not be told from ours.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        found, rowless = _look(arena, locks_fd)
        if not rowless:
            return found
        for one in found:
            os.close(one.pidfd)
        if time.monotonic() > end:
            raise BootError(f"processes {rowless} hold the slots and have no row; end them (kill -QUIT), then start")
        time.sleep(LOOK_S)


def _look(arena: Arena, locks_fd: int) -> tuple[list[Found], list[int]]:
    rows = {pid: row for row in range(arena.geometry.rows) if (pid := _word(arena, row, "pid"))}
    found, rowless = [], []
    for pid in _holders(locks_fd):
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        # Looked at again, now that the pid cannot become another's unnoticed.
        if not _holds(pid, _identity(locks_fd)):
            os.close(pidfd)
        elif pid in rows:
            found.append(Found(Orphan(rows[pid], _word(arena, rows[pid], "generation")), pid, pidfd))
        else:
            os.close(pidfd)
            rowless.append(pid)
    return sorted(found, key=lambda one: one.orphan.row), rowless


def _word(arena: Arena, row: int, name: str) -> int:
    return arena.words[layout.row_word(arena.geometry, row, name)]


def _holders(locks_fd: int) -> list[int]:
    """Return who runs what we run and has the lock file open. Who has started us has it too, in the fd store."""
    program = os.readlink("/proc/self/exe")
    identity = _identity(locks_fd)
    others = {os.getpid(), os.getppid()}
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in others]
    return [pid for pid in pids if _program(pid) == program and _holds(pid, identity)]


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _holds(pid: int, identity: tuple[int, int]) -> bool:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == identity:
            return True
    return False
