"""A WAV file that every player can read at every instant, also after `kill -9`.

Knows nothing of streams. Samples are written first and the header, with the sizes that are true by then, behind them:
44 bytes within one page, by one `pwrite`, which a signal cannot cut in two. So the sizes never claim more than there
is; what is behind them (the end of a write that was killed) no player looks at. The file appears under its name with
its header already in it.

Rejected: the largest possible sizes first, put right on closing. Players differ in what they make of a chunk that is
longer than its file, and the length they show is wrong until somebody repairs it. Rejected too: the stdlib's `wave` for
writing, which knows the sizes when it closes and not before (tests/unit/test_wav.py reads with it).

What survives is what the kernel has: a power cut can cost the last seconds, since nothing here waits for the disk.
"""

import os
import struct
from typing import Self

from audiohook.errors import AudiohookError

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
HEADER_BYTES = HEADER.size
PCM = 1
SAMPLE_BYTES = 2
MAX_DATA_BYTES = 0xFFFFFFFF - HEADER_BYTES
"""RIFF sizes are 32 bits wide: 37 hours of 16 kHz mono."""

PRIVATE = 0o600


class NotOurs(AudiohookError):
    """A file is there that is no WAV file of the kind expected."""


class WavFile:
    """One file, 16 bit, written to at any frame: frames that were never written are silence (a hole in the file)."""

    def __init__(self, fd: int, rate_hz: int, channels: int, frames: int) -> None:
        self._fd = fd
        self._rate_hz = rate_hz
        self._channels = channels
        self.frame_bytes = channels * SAMPLE_BYTES
        self.frames = frames

    @classmethod
    def create(cls, path: str, rate_hz: int, channels: int) -> Self:
        """Make a file, empty and valid, for its owner only. Raises OSError; what has that name already is replaced."""
        folder, name = os.path.split(path)
        new = os.path.join(folder, f".{name}.new")
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
        made = cls(fd, rate_hz, channels, 0)
        try:
            made._write_header()
            os.rename(new, path)
        except BaseException:
            made.close()
            os.unlink(new)
            raise
        return made

    @classmethod
    def reopen(cls, path: str, rate_hz: int, channels: int) -> Self:
        """Go on with a file behind its last frame. Raises OSError, and NotOurs if it is not what is expected."""
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        made = cls(fd, rate_hz, channels, 0)
        found = os.pread(fd, HEADER_BYTES, 0)
        if len(found) == HEADER_BYTES:
            data_bytes = HEADER.unpack(found)[-1]
            made.frames = data_bytes // made.frame_bytes
            if found == made._header() and os.fstat(fd).st_size >= HEADER_BYTES + data_bytes:
                return made
        made.close()
        raise NotOurs(f"{path} is no WAV file of {channels} channels at {rate_hz} Hz")

    @property
    def room_frames(self) -> int:
        """How many frames the file can hold, from its first."""
        return MAX_DATA_BYTES // self.frame_bytes

    def write(self, frame: int, samples: bytes) -> None:
        """Write interleaved samples from `frame` on. Raises OSError; the file is then valid with its old length."""
        rest, at = memoryview(samples), HEADER_BYTES + frame * self.frame_bytes
        while rest:
            written = os.pwrite(self._fd, rest, at)
            rest, at = rest[written:], at + written
        end = frame + len(samples) // self.frame_bytes
        if end > self.frames:
            self._grow(end)

    def extend(self, frames: int) -> None:
        """Make the file `frames` long at least, with silence. Takes no room on the disk. Raises OSError."""
        if frames > self.frames:
            size_bytes = HEADER_BYTES + frames * self.frame_bytes
            if os.fstat(self._fd).st_size < size_bytes:
                os.ftruncate(self._fd, size_bytes)
            self._grow(frames)

    def close(self) -> None:
        """Close the file, which has been complete all the time. More often does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _grow(self, frames: int) -> None:
        before, self.frames = self.frames, frames
        try:
            self._write_header()
        except OSError:
            self.frames = before
            raise

    def _write_header(self) -> None:
        os.pwrite(self._fd, self._header(), 0)

    def _header(self) -> bytes:
        data_bytes = self.frames * self.frame_bytes
        bytes_a_second = self._rate_hz * self.frame_bytes
        return HEADER.pack(
            *(b"RIFF", data_bytes + HEADER_BYTES - 8, b"WAVE"),
            *(b"fmt ", 16, PCM, self._channels, self._rate_hz, bytes_a_second, self.frame_bytes, 8 * SAMPLE_BYTES),
            *(b"data", data_bytes),
        )
