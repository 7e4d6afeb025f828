"""`half-open`: a peer that stops reading and answering, and does not close. The daemon has to find it.

The peer's kernel goes on to acknowledge, as when a program hangs or a proxy has lost its other side, so TCP finds
nothing: only the dialect's own rule does, the heartbeat of `context` or the idle rule of `audiohook2`. What the socket
holds is left unread, and its end is looked for with poll(), which reads nothing.
"""

import select
import socket

from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.reports import Ending

GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def is_gone(connected: socket.socket) -> bool:
    """Return whether the other side has ended the connection; what it has sent stays unread."""
    poll = select.poll()
    poll.register(connected, select.POLLRDHUP)
    return any(mask & GONE for _, mask in poll.poll(0))


class HalfOpenCall(FaultyCall):
    """Sends what is planned and falls silent; over when the daemon has ended the connection, or has not in time."""

    _silent_ns = 0

    @property
    def due_ns(self) -> int:
        """Silent, it is asked as often as the caller looks; what the dialogue would say in time it does not say."""
        return self.deadline_ns if self._silent_ns else super().due_ns

    def hang_up(self, ending: Ending, now_ns: int) -> None:
        if self._silent_ns:
            self._finish(ending, "half open")
        elif ending == "completed":
            assert self._socket is not None
            self._selector.unregister(self._socket)
            self._silent_ns = self.deadline_ns = now_ns
        else:
            super().hang_up(ending, now_ns)

    def on_deadline(self, now_ns: int) -> None:
        if not self._silent_ns:
            super().on_deadline(now_ns)
            return
        assert self._socket is not None
        if is_gone(self._socket):
            self._recovered_ns = now_ns - self._silent_ns
            self._finish("faulted", "found by the server")
        elif now_ns - self._silent_ns > self._fault.found_within_ns:
            self._finish("unrecovered", "not found by the server in time")
