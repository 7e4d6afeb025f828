"""The memory files as the kernel sees them: what cannot be allocated, resized, or written, and by whom."""

import errno
import fcntl
import json
import mmap
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audiohook.errors import BootError
from audiohook.memory.arena import Arena, MemoryFiles, allocate
from audiohook.memory.layout import Geometry
from tests.support.memory import SMALL, Bench, bench

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65_534


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


@contextmanager
def memfd() -> Iterator[int]:
    fd = os.memfd_create("test:big", os.MFD_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def test_names_sizes_and_modes(house: Bench) -> None:
    files = house.files
    for fd, name, size_bytes in (
        (files.arena, "audiohook:arena", SMALL.arena_bytes),
        (files.locks, "audiohook:locks", SMALL.slots),
        (files.watch, "audiohook:watch", mmap.PAGESIZE),
    ):
        assert os.readlink(f"/proc/self/fd/{fd}") == f"/memfd:{name} (deleted)"
        assert os.fstat(fd).st_size == size_bytes
        assert not os.get_inheritable(fd)
    assert stat.S_IMODE(os.fstat(files.read_only).st_mode) == 0
    assert fcntl.fcntl(files.read_only, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    assert os.path.samestat(os.fstat(files.arena), os.fstat(files.read_only))


def test_all_of_it_is_allocated(house: Bench) -> None:
    """Not only as long as it says: every page is there, so that no call can meet the lack of one."""
    assert os.fstat(house.files.arena).st_blocks * 512 >= SMALL.arena_bytes


@pytest.mark.parametrize("which", ["arena", "locks", "watch"])
@pytest.mark.parametrize("change", [-1, 1, 1 << 20])
def test_the_size_is_sealed(house: Bench, which: str, change: int) -> None:
    fd = getattr(house.files, which)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, os.fstat(fd).st_size + change)


def test_the_seals_are_sealed(house: Bench) -> None:
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    assert fcntl.fcntl(house.files.arena, fcntl.F_GET_SEALS) == seals
    with pytest.raises(PermissionError):
        fcntl.fcntl(house.files.arena, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


# ------------------------------------------------------------------------------------------------ too large

TOO_LARGE = 1 << 34


def test_an_allocation_that_fails_is_told_in_words() -> None:
    """The limit of a file's size stands for any that the kernel may have: it is the child that meets it."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with memfd() as fd:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(
                BootError,
                match=r"17179 MB of shared memory cannot be had: OSError: .*File too large; lower memory\.str",
            ):
                allocate({fd: TOO_LARGE})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert os.fstat(fd).st_blocks == 0


def test_more_than_the_machine_has_is_refused_before_it_is_tried() -> None:
    with pytest.raises(BootError, match=r"the arena needs \d+ MB and .* leaves \d+ MB"):
        MemoryFiles(Geometry(slots=1 << 30, rows=1, ring_bytes=1 << 20, descriptors=64, event_records=1))


def memory_cgroup() -> Path | None:
    """Return a folder of the memory controller in which a group can be made, if we may."""
    v1, v2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    for root, limit in ((v1, "memory.limit_in_bytes"), (v2, "memory.max")):
        made = root / f"audiohook-test-{os.getpid()}"
        try:
            made.mkdir()
        except OSError:
            continue
        if (made / limit).exists():
            return made
        made.rmdir()
    return None


IN_CGROUP = """
import json, os, sys
from pathlib import Path
from audiohook.errors import BootError
from audiohook.memory.arena import allocate

group = Path(sys.argv[1])
limit = "memory.limit_in_bytes" if (group / "memory.limit_in_bytes").exists() else "memory.max"
(group / limit).write_text(str(64 << 20))
(group / "cgroup.procs").write_text(str(os.getpid()))
fd = os.memfd_create("big")
try:
    allocate({fd: 512 << 20})
    said = "allocated"
except BootError as error:
    said = str(error)
os.ftruncate(fd, 0)
print(json.dumps(said))
"""


def test_the_kernel_kills_the_child_and_not_the_daemon() -> None:
    """In a group of 64 MB: the child that asks for 512 MB is killed, its parent lives and says why."""
    group = memory_cgroup()
    if group is None:
        pytest.skip("no cgroup with a memory limit can be made here (needs root and the memory controller)")
    try:
        done = subprocess.run(
            [sys.executable, "-c", IN_CGROUP, str(group)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        group.rmdir()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.startswith("536 MB of shared memory cannot be had: the kernel killed the allocation (out of memory)")
    assert "lower memory.streams" in said


# ------------------------------------------------------------------------------------------------ read-only

ATTEMPTS = """
import ctypes, json, mmap, os, sys
fd, uid = int(sys.argv[1]), int(sys.argv[2])
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)

def attempt(work):
    try:
        work()
        return "done"
    except OSError as error:
        return error.errno

def protect():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    address = libc.mmap(None, 4096, 1, 1, fd, 0)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 3):
        raise OSError(ctypes.get_errno(), "mprotect")

punch = ctypes.CDLL(None, use_errno=True)
def hole():
    if punch.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(4096)):
        raise OSError(ctypes.get_errno(), "fallocate")

print(json.dumps({
    "read": attempt(lambda: mmap.mmap(fd, 4096, prot=mmap.PROT_READ)),
    "map": attempt(lambda: mmap.mmap(fd, 4096)),
    "protect": attempt(protect),
    "write": attempt(lambda: os.pwrite(fd, b"x", 0)),
    "hole": attempt(hole),
    "shrink": attempt(lambda: os.ftruncate(fd, 0)),
    "open": attempt(lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR)),
    "mode": attempt(lambda: os.fchmod(fd, 0o600)),
}))
"""


def attempts(fd: int, uid: int) -> dict[str, object]:
    """Let a process with another uid (0: ours) that got the descriptor try to write; return what came of it."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", ATTEMPTS, str(fd), str(uid)],
        pass_fds=[fd],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_reader_cannot_write_by_any_way(house: Bench) -> None:
    """A reader of another user, or of our own where the tests do not run as root (who can always open it anew)."""
    other = NOBODY if os.geteuid() == 0 else 0
    found = attempts(house.files.read_only, other)
    assert found.pop("read") == "done"
    mode = found.pop("mode")
    assert found == {
        "map": errno.EACCES,
        "protect": errno.EACCES,
        "write": errno.EBADF,
        "hole": errno.EBADF,
        "shrink": errno.EINVAL,
        "open": errno.EACCES,
    }
    assert mode == (errno.EPERM if other else "done")


SAME_UID = """
import json, os, sys
from audiohook.memory.arena import MemoryFiles
from audiohook.memory.layout import Geometry
files = MemoryFiles(Geometry(slots=1, rows=1, ring_bytes=65536, descriptors=64, event_records=1))
if os.geteuid() == 0:   # root can do anything: be somebody else, whose files these are
    uid = int(sys.argv[1])
    os.fchown(files.arena, uid, uid); os.setgroups([]); os.setgid(uid); os.setuid(uid)

def opens(path):
    try:
        os.close(os.open(path, os.O_RDWR))
        return True
    except PermissionError:
        return False

by_mistake = opens(f"/proc/self/fd/{files.read_only}")
os.fchmod(files.read_only, 0o600)
print(json.dumps([by_mistake, opens(f"/proc/self/fd/{files.read_only}")]))
"""


def test_the_daemons_own_user_is_kept_from_mistakes_and_not_from_malice() -> None:
    """Mode 0 stops an open by the same user; but a file's owner may change its mode, also by a read-only descriptor.

    LAYOUT.md says so: run readers as users of their own.
    """
    done = subprocess.run(
        [sys.executable, "-c", SAME_UID, str(NOBODY)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [False, True]


def test_a_readers_map_outlives_every_descriptor() -> None:
    with bench() as made:
        reader = Arena(os.dup(made.files.read_only), writable=False)
        made.arena.words[5] = 4711
    os.close(reader.fd)
    assert reader.words[5] == 4711
    with pytest.raises(TypeError):
        reader.words[5] = 1


def test_what_we_do_is_what_anybody_would_see(house: Bench) -> None:
    """The writer's map and the reader's are the same pages."""
    house.arena.words[100] = 0xABCDEF
    assert house.reader.words[100] == 0xABCDEF
