"""The watch words: one a slot, in a memfd of its own, written by the desk only and read by the workers.

A word that is not 0 asks the slot's writer to wake the slot's own futex with every packet. Nobody else than the desk
gets the file writable, and readers do not get it at all.
"""

import mmap
import os


def map_watch(fd: int, *, writable: bool = False) -> memoryview:
    """Map the watch words of every slot, as a memoryview of u64."""
    size_bytes = os.fstat(fd).st_size
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    return memoryview(mmap.mmap(fd, size_bytes, flags=mmap.MAP_SHARED, prot=protection)).cast("Q")
