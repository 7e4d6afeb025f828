"""`rst`: TCP is reset in the middle of a call; of every second one in the middle of a frame, too.

A reset throws away what the peer's kernel has not taken yet, on both sides. So it comes when all whole packets are
acknowledged (SIOCOUTQ, tcp(7)): from then on they are in the daemon's hands, and must be readable, every one.
"""

import fcntl
import socket
import struct
import termios

from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.reports import Ending
from audiohook.units import NS_PER_S

ACKNOWLEDGED_WITHIN_NS = 10 * NS_PER_S
LINGER_ZERO = struct.pack("ii", 1, 0)
"""close() resets instead of closing (socket(7), SO_LINGER)."""


class ResetCall(FaultyCall):
    """Sends what is planned, perhaps a part of the next frame, and resets."""

    _since_ns = 0

    def hang_up(self, ending: Ending, now_ns: int) -> None:
        if ending != "completed":
            super().hang_up(ending, now_ns)
            return
        self._since_ns = self.deadline_ns = now_ns

    def on_deadline(self, now_ns: int) -> None:
        if not self._since_ns:
            super().on_deadline(now_ns)
        elif not self._waiting and self._unacknowledged_bytes() == 0:
            self._reset()
        elif now_ns - self._since_ns > ACKNOWLEDGED_WITHIN_NS:
            self._finish("unrecovered", "the server takes no more bytes")

    def _reset(self) -> None:
        assert self._socket is not None
        within = self._fault.rank % 2 == 0
        if within:
            frame = next(self._frames)
            self._send_control(frame[: 1 + self._fault.draw % (len(frame) - 1)])
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self._finish("faulted", "reset within a frame" if within else "reset between frames")

    def _unacknowledged_bytes(self) -> int:
        assert self._socket is not None
        (count,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))
        return int(count)
