"""A connected TCP socket, non-blocking, with a bounded queue of what could not be sent yet. Knows no protocol.

Nothing here raises for what a peer or the network did: a reset reads as end of file, and a send that fails is found by
the next read.

On Linux an accepted socket has the options of the one that listens. So a worker prepares its listeners once, and of
each connection only looks whether that was for its own configuration: after a reload that was called off it may not
be, since all generations accept from the same listeners. Then, and on a listener that nobody has prepared, the options
are set one by one (tests/loopback/test_socket_options.py).
"""

import socket
import struct

READ_BYTES = 4096
"""One read, unless its owner knows better (`portion_bytes`): whoever fills it goes to the bulk lane (`loop.py`)."""

PROBES = 3
"""Keep-alive probes in the time that a peer's TCP has to answer: two may be lost."""

MAX_UNSENT_BYTES = 65_536
"""Pongs, closes and refusals are all that is sent. A peer that lets so many pile up does not read."""


def set_options(sock: socket.socket, user_timeout_seconds: float) -> None:
    """Give a connection its options, or a listening socket those of all that it will accept; seconds as below."""
    timeout_ms = _timeout_ms(user_timeout_seconds)
    probe_seconds = max(1, int(user_timeout_seconds / PROBES))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if timeout_ms else 0)
    if timeout_ms:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, probe_seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, probe_seconds)
    # The last one: where it is found, the others are.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def _timeout_ms(seconds: float) -> int:
    return max(1, int(seconds * 1000)) if seconds else 0


class StreamSocket:
    """Owns the socket."""

    def __init__(self, connected: socket.socket, user_timeout_seconds: float = 0) -> None:
        """`user_timeout_seconds`: how long the peer's TCP may acknowledge nothing. Then a read finds the end; 0: never.

        Probes make that true of a connection on which nothing is to be sent as well (tcp(7), TCP_USER_TIMEOUT), such as
        a paused call's: without them a peer that vanished would keep its slot for an hour
        (tests/process/test_daemon_vanished.py).
        """
        connected.setblocking(False)
        timeout_ms = _timeout_ms(user_timeout_seconds)
        if not timeout_ms or connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) != timeout_ms:
            set_options(connected, user_timeout_seconds)
        self._socket = connected
        self._unsent = bytearray()
        self.portion_bytes = READ_BYTES
        """What one read takes at most: more than live audio has to say even where turns are long."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, most_bytes: int = 0) -> bytes | None:
        """Return up to `most_bytes` (0: a portion), b"" at the end of file (or a reset), None if nothing is there."""
        try:
            return self._socket.recv(most_bytes or self.portion_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def send(self, data: bytes) -> bool:
        """Send or queue; return False if more is queued by now than a peer who reads would leave."""
        if not self._unsent:
            try:
                data = data[self._socket.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                return True
        self._unsent += data
        return len(self._unsent) <= MAX_UNSENT_BYTES

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def flush(self) -> None:
        """Send what is queued, as far as it goes."""
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._unsent.clear()

    def end_sending(self) -> None:
        """Shut the sending side; the peer's bytes can still be read."""
        self._shut(socket.SHUT_WR)

    def _shut(self, side: int) -> None:
        try:
            self._socket.shutdown(side)
        except OSError:
            pass

    def close(self, *, reset: bool) -> None:
        """Close; with `reset` the peer sees a reset and the kernel keeps nothing for it."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self._unsent.clear()  # a timer, or its slot, may remember this connection for a while
