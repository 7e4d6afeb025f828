"""Who owns a slot: one byte a slot in a memfd of its own, locked by the owner's process.

Owning a slot is holding its byte's lock, from just before the 101 to the stream's end; the kernel frees it with the
process, whatever kills it. Invariants: try-locks only, so a stopped owner makes nobody wait; the file is never given to
a reader, who could lock it all with a read-only descriptor.

Each process opens the file anew. On the descriptor it inherited an open-file-description lock would exclude nobody
(parent and child share the description), and POSIX locks vanish when any descriptor of the file is closed
(tests/process/test_slots.py shows both).
"""

import fcntl
import os
import struct

F_OFD_SETLK = 37


class SlotLocks:
    """This process' own opening of the lock file. Not for use by a process forked after it was made."""

    def __init__(self, inherited_fd: int) -> None:
        self._fd = os.open(f"/proc/self/fd/{inherited_fd}", os.O_RDWR | os.O_CLOEXEC)

    def try_lock(self, slot: int) -> bool:
        """Take the slot's lock if nobody has it. Taking one that this process holds succeeds again."""
        try:
            fcntl.fcntl(self._fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0))
        except BlockingIOError:
            return False
        return True

    def unlock(self, slot: int) -> None:
        fcntl.fcntl(self._fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, slot, 1, 0))

    def fence(self, slot: int) -> None:
        """Let nobody see our later loads before our earlier stores. `slot` is one that we hold.

        Python has no fence; the kernel's lock around a file's locks is one, and taking a lock again changes nothing.
        """
        self.try_lock(slot)

    def close(self) -> None:
        os.close(self._fd)
