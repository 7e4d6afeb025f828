"""Files with secrets: read only if nobody but their owner can, and looked at for changes.

Knows nothing of what is in them. Invariant: no error shows a word of a file's content, since errors end up in logs.
"""

import os
import stat

from audiohook.errors import ConfigError

MAX_FILE_BYTES = 1 << 20

Stamp = tuple[int, int, int, int, int]
"""What changes when a file is replaced, written to, or given another mode."""


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp, or None if there is no such file."""
    try:
        return _stamp(os.stat(path))
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None


def read_file(path: str, kind: str, *, private: bool, key: str = "") -> tuple[bytes, Stamp]:
    """Return content and stamp. `kind` says what the file should be, `key` which setting names it; ConfigError."""
    try:
        # Not blocking: opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise unusable(path, f"cannot be read ({reason}); name a file that the daemon's user can read", key) from None
    try:
        return _read_open(path, descriptor, kind, key, private=private)
    finally:
        os.close(descriptor)


def unusable(path: str, remedy: str, key: str = "") -> ConfigError:
    """Return the error to raise for a file as a whole; `key` is the setting that names it, where it helps to say so."""
    return ConfigError(path, "", None, f"{key} {remedy}" if key else remedy)


def _stamp(status: os.stat_result) -> Stamp:
    # ctime too: `cp -p` and `touch -d` keep the other time, and a mode is mended without either.
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)


def _read_open(path: str, descriptor: int, kind: str, key: str, *, private: bool) -> tuple[bytes, Stamp]:
    # The state of the open file, not of the path: what is checked is what is read. The stamp comes before the content,
    # so that a change between the two is seen by the next look.
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise unusable(path, f"not a regular file; name a {kind}", key)
    if private and status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise unusable(path, f"others than its owner have access (mode {mode:04o}); run: chmod 600 {path}", key)
    try:
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise unusable(path, f"cannot be read ({error.strerror})", key) from None
    if len(content) > MAX_FILE_BYTES:
        raise unusable(path, f"larger than {MAX_FILE_BYTES} bytes; name a {kind}", key)
    return content, _stamp(status)
