"""The mirrored ring: no window has an edge, views keep the mapping, the last one unmaps it."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from audiohook.memory.mirror import MirroredRing

RING = 8192


@pytest.fixture
def fd() -> Iterator[int]:
    made = os.memfd_create("test:ring", os.MFD_CLOEXEC)
    os.posix_fallocate(made, 0, 3 * RING)
    yield made
    os.close(made)


def mapped(address: int) -> bool:
    """Whether anything of this process is mapped at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        if low <= address < high:
            return True
    return False


def test_what_is_written_at_the_end_appears_in_front(fd: int) -> None:
    ring = np.asarray(MirroredRing(fd, RING, RING, writable=True))
    assert ring.shape == (RING,)
    assert ring.dtype == np.int16
    half = RING // 2
    ring[half - 2 : half + 2] = [1, 2, 3, 4]
    assert list(ring[:2]) == [3, 4]
    assert list(ring[-2:]) == [1, 2]
    assert os.pread(fd, 4, RING) == b"\3\0\4\0"
    assert os.pread(fd, 4, 2 * RING - 4) == b"\1\0\2\0"
    assert os.pread(fd, RING, 0) == bytes(RING), "a neighbour was written to"
    assert os.pread(fd, RING, 2 * RING) == bytes(RING), "a neighbour was written to"


def test_a_window_across_the_edge_is_one_piece(fd: int) -> None:
    os.pwrite(fd, np.arange(RING // 2, dtype=np.int16).tobytes(), 0)
    ring = np.asarray(MirroredRing(fd, 0, RING, writable=False))
    for start in range(0, RING // 2, 7):
        window = ring[start : start + RING // 2]
        assert np.array_equal(window, np.arange(start, start + RING // 2) % (RING // 2))


def test_a_readers_ring_is_read_only_twice(fd: int) -> None:
    """NumPy refuses the store; the mapping itself would, too (tests/process/test_arena.py)."""
    ring = np.asarray(MirroredRing(fd, 0, RING, writable=False))
    with pytest.raises(ValueError, match="read-only"):
        ring[0] = 1
    with pytest.raises(ValueError):
        ring.flags.writeable = True


def test_views_keep_the_mapping_and_the_last_one_unmaps(fd: int) -> None:
    made = MirroredRing(fd, 0, RING, writable=True)
    address = made.address
    view = np.asarray(made)[100:200].reshape(50, 2)[:, 1]
    del made
    gc.collect()
    assert mapped(address)
    view[:] = 7
    del view
    gc.collect()
    assert not mapped(address)
    assert not mapped(address + RING)


def test_a_ring_that_cannot_be_mapped_leaves_nothing(fd: int) -> None:
    before = len(Path("/proc/self/maps").read_text().splitlines())
    with pytest.raises(OSError):
        MirroredRing(fd, 100, RING, writable=False)
    with pytest.raises(OSError):
        MirroredRing(-5, 0, RING, writable=False)
    gc.collect()
    assert len(Path("/proc/self/maps").read_text().splitlines()) <= before + 1
