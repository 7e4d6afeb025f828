"""A malicious reader: with nothing but the read-only arena it moves other readers' sleep to a word nobody ever wakes.

Arguments: read-only arena descriptor, byte offsets of the words to attack. Goes on until it is killed.
"""

import ctypes
import sys
import time

from audiohook.memory.arena import Arena
from audiohook.memory.syscalls import SYS_FUTEX

FUTEX_REQUEUE = 3
NOBODY_WAKES = 40

_libc = ctypes.CDLL(None)
_requeue = _libc["syscall"]
_requeue.restype = ctypes.c_long
_requeue.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_ulong, ctypes.c_void_p]


def requeue(arena: Arena, offset: int) -> int:
    """Move every sleeper of the word at `offset` away; return how many there were."""
    moved: int = _requeue(SYS_FUTEX, arena.address + offset, FUTEX_REQUEUE, 0, 10_000, arena.address + NOBODY_WAKES)
    return moved


def main() -> None:
    arena = Arena(int(sys.argv[1]), writable=False)
    offsets = [int(part) for part in sys.argv[2:]]
    moved = 0
    while True:
        for offset in offsets:
            moved += requeue(arena, offset)
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
