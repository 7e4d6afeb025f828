"""The few system calls that Python does not offer: fixed mappings and futexes, by ctypes.

Knows no layout. Every function releases the GIL while it is in the kernel (ctypes.CDLL), so a waiting reader thread
stops nobody. Futexes here are shared ones (no FUTEX_PRIVATE_FLAG): waiter and waker are different processes.
"""

import ctypes
import errno
import os

PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_POPULATE = 0x1, 0x2, 0x10, 0x20, 0x8000
MAP_FAILED = ctypes.c_void_p(-1).value

SYS_FUTEX, SYS_FUTEX_WAITV = 202, 449
FUTEX_WAIT, FUTEX_WAKE = 0, 1
FUTEX_32 = 2
WAKE_AT_MOST = 32
"""Sleepers woken by one call. All of them would cost 24 ms with 5,000 (a reader can make any number of threads)."""

CLOCK_MONOTONIC = 1

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

# Item access gives a function object of one's own, so each keeps the argument types that suit it.
_wake = _libc["syscall"]
_wake.restype = ctypes.c_long
_wake.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
_wait = _libc["syscall"]
_wait.restype = ctypes.c_long
_wait.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p]
_waitv = _libc["syscall"]
_waitv.restype = ctypes.c_long
_waitv.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_int]


class Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class WaitWord(ctypes.Structure):
    """`struct futex_waitv` of linux/futex.h."""

    _fields_ = (
        ("value", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


def map_fixed(address: int | None, size_bytes: int, protection: int, flags: int, fd: int, offset: int) -> int:
    """Call mmap(2) and return the address; raises OSError."""
    got = _mmap(address, size_bytes, protection, flags, fd, offset)
    if got is None or got == MAP_FAILED:
        code = ctypes.get_errno()
        raise OSError(code, f"mmap of {size_bytes} bytes: {os.strerror(code)}")
    return int(got)


def unmap(address: int, size_bytes: int) -> None:
    """Call munmap(2)."""
    _munmap(address, size_bytes)


def futex_wake(address: int) -> int:
    """Wake at most WAKE_AT_MOST waiters of the word at `address`; return how many were woken."""
    woken: int = _wake(SYS_FUTEX, address, FUTEX_WAKE, WAKE_AT_MOST)
    return woken


def futex_wait(address: int, value: int, timeout_ns: int) -> bool:
    """Sleep while the u32 at `address` is `value`, for at most `timeout_ns`; return False if it took all of that.

    A wake-up is a hint, never a promise.
    """
    timeout = Timespec(timeout_ns // 1_000_000_000, timeout_ns % 1_000_000_000)
    got = _wait(SYS_FUTEX, address, FUTEX_WAIT, value & 0xFFFFFFFF, ctypes.addressof(timeout))
    return got >= 0 or ctypes.get_errno() != errno.ETIMEDOUT


def futex_waitv(words: list[tuple[int, int]], deadline_ns: int) -> bool:
    """Sleep while each (address, value) of `words` holds, until `deadline_ns` of CLOCK_MONOTONIC (absolute).

    Returns False where the kernel or a sandbox has no futex_waitv, so that the caller can fall back to a timer.
    """
    array = (WaitWord * len(words))(*(WaitWord(value & 0xFFFFFFFF, address, FUTEX_32, 0) for address, value in words))
    deadline = Timespec(deadline_ns // 1_000_000_000, deadline_ns % 1_000_000_000)
    got = _waitv(SYS_FUTEX_WAITV, array, len(words), 0, ctypes.addressof(deadline), CLOCK_MONOTONIC)
    return got >= 0 or ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM, errno.EINVAL)
