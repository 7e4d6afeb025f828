"""The memory files: how they are made, sealed, allocated, and mapped by each kind of process.

Three memfds, none with a name in any file system: the arena (rings, cards, cursors, events), the locks (one byte a
slot) and the watch words (one a slot, written by the desk only). What is in the arena: `layout.py` and LAYOUT.md.

Invariants: all memory is allocated before the daemon says READY; the arena's size is sealed, so no reader can be given
a SIGBUS; the only descriptor that leaves the daemon is read-only, and mode 0 stops the same user from opening it anew
for writing.
"""

import mmap
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, fcntl
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.layout import Geometry

# A memfd never answers ENOSPC: asking for too much ends in an OOM kill. So a child that volunteers to be killed first
# does the asking; its death is our error message (tests/process/test_arena.py).
_ALLOCATE = """
import os, sys
with open("/proc/self/oom_score_adj", "w") as score:
    score.write("1000")
for pair in sys.argv[1:]:
    fd, size = pair.split(":")
    os.posix_fallocate(int(fd), 0, int(size))
"""


class Arena:
    """The arena as one process maps it: everything before the rings, as words, cards and bytes.

    `words` is a memoryview of u64. It is the only way in which shared words are stored: `struct.pack_into` shows other
    processes zeros that were never written (tests/stress/test_torn_words.py). Rings are mapped slot by slot.
    """

    def __init__(self, fd: int, *, writable: bool) -> None:
        self.fd = fd
        self.writable = writable
        self.geometry = read_geometry(fd)
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self.map = mmap.mmap(fd, self.geometry.rings_offset, flags=mmap.MAP_SHARED, prot=protection)
        self.words = memoryview(self.map).cast("Q")
        self.bytes = np.frombuffer(self.map, np.uint8)
        self.address = int(self.bytes.ctypes.data)
        self.arena_id = uuid.UUID(int=self.header("arena_id_high") << 64 | self.header("arena_id_low"))
        shape, start = self.geometry.slots, self.geometry.cards_offset
        strided = np.lib.stride_tricks.as_strided
        copies = np.frombuffer(self.map, layout.CARD, count=1, offset=start + layout.CARD_VERSION_BYTES)
        self.cards: npt.NDArray[np.void] = strided(
            copies, (shape, 2), (layout.CARD_STRIDE, layout.CARD_BYTES), writeable=writable
        )
        versions = np.frombuffer(self.map, np.uint64, count=1, offset=start)
        self.card_versions: npt.NDArray[np.uint64] = strided(
            versions, (shape,), (layout.CARD_STRIDE,), writeable=writable
        )
        self._slots = np.arange(shape)
        self._states = self.cards["state"]

    def header(self, name: str) -> int:
        return self.words[layout.HEADER.index(name)]

    def word_address(self, word: int) -> int:
        """Return the address of a shared word: what a futex call wants. Its low half comes first on x86-64."""
        return self.address + word * layout.WORD_BYTES

    def states(self) -> npt.NDArray[np.uint32]:
        """Return the state of every slot: one scan, good for finding candidates; the card decides."""
        current = (self.card_versions & np.uint64(1)).astype(np.intp)
        states: npt.NDArray[np.uint32] = self._states[self._slots, current]
        return states


def read_geometry(fd: int) -> Geometry:
    """Read the sizes from an arena's header; BootError if it is no arena, not ready, or of another major version."""
    start = os.pread(fd, len(layout.HEADER) * layout.WORD_BYTES, 0)
    header = memoryview(start.ljust(len(layout.HEADER) * layout.WORD_BYTES, b"\0")).cast("Q")
    if header[0] >> 32 != layout.MAGIC:
        raise BootError("this descriptor is not an audiohook arena, or the arena is not ready yet")
    major = header[0] >> 16 & 0xFFFF
    if major != layout.MAJOR:
        raise BootError(
            f"the arena has layout {major}, this program reads layout {layout.MAJOR}: "
            "install the audiohook package of the same version as the daemon"
        )
    field = {name: header[i] for i, name in enumerate(layout.HEADER)}
    sizes = Geometry(field["slots"], field["rows"], field["ring_bytes"], field["descriptors"], field["event_records"])
    if sizes.arena_bytes != field["arena_bytes"]:
        raise BootError("the arena's header contradicts itself: refusing to map it")
    return sizes


class MemoryFiles:
    """The supervisor's memory files, as descriptors: `arena` writable, `read_only` for readers, `locks`, `watch`."""

    def __init__(self, sizes: Geometry) -> None:
        check_room(sizes.arena_bytes)
        self.geometry = sizes
        self.arena = os.memfd_create("audiohook:arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.locks = os.memfd_create("audiohook:locks", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.watch = os.memfd_create("audiohook:watch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        watch_bytes = layout.whole_pages(sizes.slots * layout.WORD_BYTES)
        allocate({self.arena: sizes.arena_bytes, self.locks: sizes.slots, self.watch: watch_bytes})
        for fd in (self.arena, self.locks, self.watch):
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
        self.read_only = os.open(f"/proc/self/fd/{self.arena}", os.O_RDONLY | os.O_CLOEXEC)
        os.fchmod(self.arena, 0)
        self._write_header()

    @classmethod
    def taken_on(cls, descriptors: Mapping[str, int]) -> Self:
        """Return the files that another image of this process has made. Raises BootError if the layout is not ours."""
        files = cls.__new__(cls)
        files.arena, files.read_only = descriptors["arena"], descriptors["read_only"]
        files.locks, files.watch = descriptors["locks"], descriptors["watch"]
        files.geometry = read_geometry(files.arena)
        return files

    def descriptors(self) -> dict[str, int]:
        """Return what `taken_on` wants."""
        return {"arena": self.arena, "read_only": self.read_only, "locks": self.locks, "watch": self.watch}

    def _write_header(self) -> None:
        sizes = self.geometry
        arena_id = uuid.uuid4().int
        values = {
            "arena_bytes": sizes.arena_bytes,
            "arena_id_high": arena_id >> 64,
            "arena_id_low": arena_id & (1 << 64) - 1,
            "created_monotonic_ns": time.monotonic_ns(),
            "created_realtime_ns": time.time_ns(),
            "supervisor_pid": os.getpid(),
            "state": layout.SERVING,
            "slots": sizes.slots,
            "rows": sizes.rows,
            "ring_bytes": sizes.ring_bytes,
            "descriptors": sizes.descriptors,
            "event_records": sizes.event_records,
            "rows_offset": sizes.rows_offset,
            "cards_offset": sizes.cards_offset,
            "cursors_offset": sizes.cursors_offset,
            "descriptors_offset": sizes.descriptors_offset,
            "events_offset": sizes.events_offset,
            "rings_offset": sizes.rings_offset,
        }
        with mmap.mmap(self.arena, layout.PAGE_BYTES) as page, memoryview(page).cast("Q") as words:
            for name, value in values.items():
                words[layout.HEADER.index(name)] = value
            words[layout.HEADER.index("version")] = layout.VERSION_WORD


def allocate(sizes_bytes: dict[int, int]) -> None:
    """Give each descriptor its pages, in a child that the kernel would kill in our stead; BootError if it could not."""
    command = [sys.executable, "-I", "-S", "-c", _ALLOCATE, *(f"{fd}:{size}" for fd, size in sizes_bytes.items())]
    done = subprocess.run(command, pass_fds=list(sizes_bytes), capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    megabytes = sum(sizes_bytes.values()) // 1_000_000
    said = "".join(done.stderr.splitlines()[-1:])
    why = "the kernel killed the allocation (out of memory)" if done.returncode < 0 else said
    raise BootError(
        f"{megabytes} MB of shared memory cannot be had: {why}; "
        "lower memory.streams or memory.ring_seconds, or raise the memory limit of the service"
    )


def check_room(needed_bytes: int, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
    """Raise BootError if less than `needed_bytes` are available, by MemAvailable and by every cgroup limit above us."""
    for what, room_bytes in [("MemAvailable", _mem_available(proc)), *_cgroup_rooms(proc, cgroups)]:
        if room_bytes is not None and needed_bytes > room_bytes:
            left_mb = max(0, room_bytes) // 1_000_000
            raise BootError(
                f"the arena needs {needed_bytes // 1_000_000} MB and {what} leaves {left_mb} MB; "
                "lower memory.streams or memory.ring_seconds, or raise that limit"
            )


def _mem_available(proc: Path) -> int | None:
    for line in (proc / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_rooms(proc: Path, cgroups: Path) -> list[tuple[str, int]]:
    """Return what each cgroup from ours up to the root leaves: cgroup v2 files, or those of v1's memory controller."""
    rooms = []
    for line in (proc / "self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root, names, prefix = cgroups, ("memory.max", "memory.current"), ""
        elif "memory" in controllers.split(","):
            root, names, prefix = cgroups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"
        else:
            continue
        group = Path(path.lstrip("/"))
        for above in (group, *group.parents):
            try:
                limit, used = ((root / above / name).read_text().strip() for name in names)
            except OSError:
                continue
            if limit != "max":
                room_bytes = int(limit) - int(used) + _page_cache(root / above / "memory.stat", prefix)
                rooms.append((f"{names[0]} of cgroup /{'' if above == Path('.') else above}", room_bytes))
    return rooms


def _page_cache(stat: Path, prefix: str) -> int:
    """Return the file pages that a cgroup's usage counts and the kernel gives back at need.

    A container that has read many files stands at its limit and has room all the same. Not the line `file` (`cache`),
    which has shared memory in it.
    """
    wanted = (f"{prefix}inactive_file", f"{prefix}active_file")
    try:
        fields = [line.split() for line in stat.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(value) for name, value in fields if name in wanted)
