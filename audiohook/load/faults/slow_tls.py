"""`slow-tls`: a peer that does not get on with its TLS handshake. The daemon has to end it.

In turn it says nothing at all, sends its ClientHello one byte at a time, a byte a look of the caller, or sends all of
it and is never heard of again. Over when the daemon has ended the connection, whatever was sent meanwhile.
"""

from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.faults.half_open import is_gone
from audiohook.load.secured import client_hello

WAYS = ("says nothing", "one byte at a time", "stops after the hello")


class SlowTlsCall(FaultyCall):
    """Connects, and is no call."""

    _begun_slow_ns = 0
    _left = b""

    @property
    def way(self) -> str:
        return WAYS[self._fault.rank % len(WAYS)]

    @property
    def due_ns(self) -> int:
        return self.deadline_ns if self._begun_slow_ns else super().due_ns

    def _on_connected(self) -> None:
        assert self._socket is not None
        self._selector.unregister(self._socket)
        self._begun_slow_ns = self.deadline_ns = self._now_ns
        if self.way != WAYS[0]:
            self._left = client_hello(self._target.host)
        if self.way == WAYS[2]:
            self._send_some(len(self._left))

    def on_deadline(self, now_ns: int) -> None:
        if not self._begun_slow_ns:
            super().on_deadline(now_ns)
            return
        assert self._socket is not None
        if is_gone(self._socket):
            self._recovered_ns = now_ns - self._begun_slow_ns
            self._finish("faulted", f"{self.way}: ended by the server")
        elif now_ns - self._begun_slow_ns > self._fault.found_within_ns:
            self._finish("unrecovered", f"{self.way}: not ended by the server in time")
        else:
            self._send_some(1)

    def _send_some(self, count: int) -> None:
        if self._left:
            try:
                self._left = self._left[self._send(self._left[:count]) :]
            except OSError:
                pass  # the next look finds out
