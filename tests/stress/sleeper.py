"""Sleeps on a word of the arena. Arguments: read-only arena descriptor, byte offset, milliseconds (0: for ever).

Prints the word's value before it sleeps and `awake` when it has been woken, or its time is over.
"""

import ctypes
import sys

from audiohook.memory.arena import Arena
from audiohook.memory.syscalls import FUTEX_WAIT, SYS_FUTEX, futex_wait


def main() -> None:
    arena = Arena(int(sys.argv[1]), writable=False)
    offset, milliseconds = int(sys.argv[2]), int(sys.argv[3])
    value = arena.words[offset // 8]
    print(value, flush=True)
    if milliseconds:
        futex_wait(arena.address + offset, value, milliseconds * 1_000_000)
    else:
        wait = ctypes.CDLL(None)["syscall"]
        wait.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p]
        wait(SYS_FUTEX, arena.address + offset, FUTEX_WAIT, value & 0xFFFFFFFF, None)
    print("awake", flush=True)


main()
