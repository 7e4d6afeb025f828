"""`mass-reconnect`: all calls end at one instant without a word, and come back within a second, on new connections.

As when a proxy in front of the daemon restarts. Who comes back has the same call, participant and direction; in
`audiohook2` it says which session it continues and where its audio goes on.
"""

from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.faults.planned import PlannedFault
from audiohook.load.placed import READ_BYTES, State
from audiohook.units import NEVER_NS


class DroppedCall(FaultyCall):
    """A call that is gone at the instant."""

    _drop_ns = NEVER_NS

    def arm(self, fault: PlannedFault, epoch_ns: int) -> None:
        super().arm(fault, epoch_ns)
        self._drop_ns = epoch_ns + fault.instant_ns

    @property
    def due_ns(self) -> int:
        return min(self._drop_ns, super().due_ns)

    def on_deadline(self, now_ns: int) -> None:
        if now_ns < self._drop_ns:
            super().on_deadline(now_ns)
        elif self.state is State.OPEN:
            self._read_all()
            self._finish("faulted", "dropped")
        else:
            self._finish("unrecovered", "not open when all were to be dropped")

    def _read_all(self) -> None:
        """A close with bytes unread is a reset (RFC 1122, 4.2.2.13): what our kernel has not sent would be lost."""
        assert self._socket is not None
        try:
            while self._socket.recv(READ_BYTES):
                pass
        except OSError:
            return  # nothing more is there: BlockingIOError, or the connection is gone


class ReturnedCall(FaultyCall):
    """A call that comes back: like any other, but that the time counts from the instant at which all were dropped."""

    _dropped_ns = 0

    def arm(self, fault: PlannedFault, epoch_ns: int) -> None:
        super().arm(fault, epoch_ns)
        self._dropped_ns = epoch_ns + fault.instant_ns

    def _follow(self, now_ns: int) -> None:
        super()._follow(now_ns)
        if self._opened and not self._recovered_ns:
            self._recovered_ns = now_ns - self._dropped_ns
