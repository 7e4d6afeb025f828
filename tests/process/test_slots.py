"""Slot locks with real processes: what they exclude, when they are free again, and the two kinds that would not do.

Each case is a small program in a fresh interpreter, which forks as the supervisor does.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

PREAMBLE = """
import fcntl, json, os, signal, struct, sys, time
from audiohook.memory.locks import F_OFD_SETLK, SlotLocks

locks = os.memfd_create("locks")
os.ftruncate(locks, 8)

def in_child(work):
    '''Run `work` in a forked child and return what it answers; the child stays until it is killed or told to go.'''
    asked, tell = os.pipe()
    answered, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(say, json.dumps(work()).encode())
        os.read(asked, 1)
        os._exit(0)
    return json.loads(os.read(answered, 1000)), pid

def gone(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def posix(fd, kind, slot):
    try:
        fcntl.fcntl(fd, fcntl.F_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, slot, 1, 0))
    except OSError:
        return False
    return True

def ofd(fd, kind, slot):
    try:
        fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, slot, 1, 0))
    except OSError:
        return False
    return True
"""


def answers(program: str) -> list[object]:
    """Run a program behind the preamble and return what it printed, a JSON list."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def test_one_owner_among_processes_and_free_when_it_is_killed() -> None:
    """Free for the parent, taken by the child, still taken, free again once the child is gone; others untouched."""
    program = """
def take():
    global keep
    keep = SlotLocks(locks)
    return keep.try_lock(3)
mine = SlotLocks(locks)
first = mine.try_lock(3); mine.unlock(3)
theirs, pid = in_child(take)
print(json.dumps([first, theirs, mine.try_lock(3), mine.try_lock(4), gone(pid), mine.try_lock(3)]))
"""
    assert answers(program) == [True, True, False, True, None, True]


def test_a_stopped_owner_keeps_its_slot_and_makes_nobody_wait() -> None:
    program = """
def take():
    global keep
    keep = SlotLocks(locks)
    return keep.try_lock(0)
theirs, pid = in_child(take)
os.kill(pid, signal.SIGSTOP)
os.waitpid(pid, os.WUNTRACED)
mine = SlotLocks(locks)
print(json.dumps([theirs, mine.try_lock(0), mine.try_lock(1), gone(pid), mine.try_lock(0)]))
"""
    assert answers(program) == [True, False, True, None, True]


def test_what_this_process_has_is_granted_again() -> None:
    """Why the pool remembers what it holds."""
    assert answers("mine = SlotLocks(locks); print(json.dumps([mine.try_lock(0), mine.try_lock(0)]))") == [True, True]


def test_closing_gives_all_back() -> None:
    program = """
one, two = SlotLocks(locks), SlotLocks(locks)
print(json.dumps([one.try_lock(0), one.try_lock(7), two.try_lock(0), one.close(), two.try_lock(0), two.try_lock(7)]))
"""
    assert answers(program) == [True, True, False, None, True, True]


def test_the_trap_a_lock_on_the_inherited_description_excludes_nobody() -> None:
    """Parent and child share the description that they inherited, so both hold its lock."""
    program = """
theirs, pid = in_child(lambda: ofd(locks, fcntl.F_WRLCK, 0))
both = [theirs, ofd(locks, fcntl.F_WRLCK, 0)]
gone(pid)
print(json.dumps(both))
"""
    assert answers(program) == [True, True]


def test_the_trap_posix_locks_vanish_when_any_descriptor_is_closed() -> None:
    program = """
held = posix(locks, fcntl.F_WRLCK, 0)
before, pid = in_child(lambda: posix(locks, fcntl.F_WRLCK, 0)); gone(pid)
os.close(os.open(f"/proc/self/fd/{locks}", os.O_RDWR))   # some library looks at the file and closes it
after, pid = in_child(lambda: posix(locks, fcntl.F_WRLCK, 0)); gone(pid)
print(json.dumps([held, before, after]))
"""
    assert answers(program) == [True, False, True]


def test_closing_another_descriptor_does_not_matter_to_slot_locks() -> None:
    program = """
mine = SlotLocks(locks)
held = mine.try_lock(0)
os.close(os.open(f"/proc/self/fd/{locks}", os.O_RDWR))
other = SlotLocks(locks)
print(json.dumps([held, other.try_lock(0)]))
"""
    assert answers(program) == [True, False]


@pytest.mark.parametrize("kind", ["F_RDLCK", "LOCK_EX"])
def test_the_trap_a_read_only_descriptor_is_enough_to_lock_a_file(kind: str) -> None:
    """Why the locks are in a file of their own, which no reader ever gets: this reader locks all of the arena."""
    program = f"""
arena = os.memfd_create("arena")
os.ftruncate(arena, 4096)
read_only = os.open(f"/proc/self/fd/{{arena}}", os.O_RDONLY)
mine = os.open(f"/proc/self/fd/{{arena}}", os.O_RDWR)
if "{kind}" == "LOCK_EX":
    fcntl.flock(read_only, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        got = True
    except BlockingIOError:
        got = False
    print(json.dumps([True, got]))
else:
    print(json.dumps([ofd(read_only, fcntl.F_RDLCK, 0), ofd(mine, fcntl.F_WRLCK, 0)]))
"""
    assert answers(program) == [True, False]
