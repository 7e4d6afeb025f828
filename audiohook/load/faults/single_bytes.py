"""`byte-at-a-time`: request, frames and answers, one byte a segment. The audio must arrive whole nevertheless.

TCP_NODELAY, which is set on every call, is not enough: what waits for the congestion window is joined by the kernel (a
sixth of the segments was left). MSG_EOR keeps the next byte out of the last one's segment. The cost is a system call a
byte: 4,000 a second and call in `context`, 16,000 in `audiohook2`. Under TLS each byte is a record of its own.
"""

import socket

from audiohook.load.faults.faulty import FaultyCall


class SingleBytesCall(FaultyCall):
    """A call in all respects, but for how its bytes are cut."""

    def _use(self, connected: socket.socket) -> None:
        super()._use(connected)
        self._send = self._send_single_bytes

    def _send_single_bytes(self, data: bytes | memoryview) -> int:
        """Send as much as the kernel has room for; return how much. Raises as socket.send does if that is nothing."""
        assert self._socket is not None
        send = self._socket.send
        flags = 0 if self._target.tls else socket.MSG_EOR
        for place in range(len(data)):
            try:
                send(data[place : place + 1], flags)
            except BlockingIOError:
                if place == 0:
                    raise
                return place
        return len(data)
