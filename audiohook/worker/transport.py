"""What a worker's accepted connections are spoken to through: plain TCP, or TLS, with handshakes in their place.

Theory of operation. A handshake costs as much as some fifty packets, and a thousand peers may come at once. So at most
STEPS_A_TURN steps are taken in a turn of the loop: who waits for one waits in the kernel, and live calls wait for no
more than those few. Which is also all that overload needs: while new calls are refused, a connection that has not begun
its handshake is closed without one. Rejected: a handshake for the sake of a 503, which costs more than what it refuses.

The deadline of a handshake is absolute, from the accept on; bytes do not put it off. Knows nothing of what is said
through a connection.
"""

import logging
import socket
from collections.abc import Iterable

from audiohook.config import Config
from audiohook.errors import OVERLOADED, TLS_FAILED, TLS_TIMEOUT
from audiohook.memory.row import Row
from audiohook.net.loop import Loop
from audiohook.net.stream_socket import StreamSocket, set_options
from audiohook.net.tls_pair import TlsPair
from audiohook.net.tls_socket import TlsSocket
from audiohook.units import NS_PER_MS, seconds_ns
from audiohook.worker.access import Access
from audiohook.worker.overload import Overload

log = logging.getLogger("audiohook.worker")

STEPS_A_TURN = 8

LOOK_EVERY_NS = 250 * NS_PER_MS
"""How often the files of certificate and key are looked at. A change counts when it has stood still for a look."""


class Transport:
    """One worker's."""

    def __init__(
        self, config: Config, pair: TlsPair | None, loop: Loop, overload: Overload, row: Row, access: Access
    ) -> None:
        """`pair` None: no TLS is spoken here."""
        self._user_timeout_seconds = config.server.tcp_user_timeout_seconds
        self._handshake_ns = seconds_ns(config.tls.handshake_seconds)
        self._pair = pair
        self._loop = loop
        self._overload = overload
        self._row = row
        self._access = access
        self._turn = -1
        self._steps_left = 0
        self._looked_ns = 0

    def prepare(self, listeners: Iterable[socket.socket]) -> None:
        """Let what these accept begin with the options that it needs (net/stream_socket.py)."""
        for listener in listeners:
            set_options(listener, self._user_timeout_seconds)

    @property
    def plain(self) -> bool:
        """Whether something can be said to a peer before it has said anything."""
        return self._pair is None

    def open(self, connected: socket.socket, address: str, now_ns: int) -> StreamSocket:
        """Return the socket of a connection that was accepted from `address`."""
        if self._pair is None:
            return StreamSocket(connected, self._user_timeout_seconds)
        made = TlsSocket(
            connected,
            self._user_timeout_seconds,
            _Gate(self, address),
            self._pair.wrap,
            behind_proxy_header=self._access.wants_proxy_header(address),
        )
        self._loop.call_at(now_ns + self._handshake_ns, lambda _now_ns: self._on_deadline(made, address))
        return made

    def turn(self, now_ns: int) -> None:
        """Look, now and then, whether certificate or key have changed. The supervisor looks too, and tells of it."""
        if self._pair is None or now_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        if self._pair.refresh():
            self._row.count("tls_reloads" if self._pair.error is None else "tls_reload_failed")

    def _on_deadline(self, made: TlsSocket, address: str) -> None:
        if made.shaking_hands:
            self._row.count(TLS_TIMEOUT.slug)
            self._access.strangers.note(TLS_TIMEOUT.slug, "TLS handshake not complete in time", address)
            made.abandon()

    # ---------------------------------------------------------------------------------------- for the gates

    def may_begin(self, address: str) -> bool:
        if not self._overload.refusing:
            return True
        self._row.count(OVERLOADED.slug)
        self._access.strangers.note_answer(OVERLOADED.slug, address)
        return False

    def may_step(self) -> bool:
        if self._turn != self._loop.turns:
            self._turn = self._loop.turns
            self._steps_left = STEPS_A_TURN
        self._steps_left -= 1
        return self._steps_left >= 0

    def succeeded(self) -> None:
        self._row.count("tls_handshakes")

    def failed(self, reason: str, address: str) -> None:
        self._row.count(TLS_FAILED.slug)
        self._access.strangers.note(f"{TLS_FAILED.slug} {reason}", f"TLS handshake failed: {reason}", address)


class _Gate:
    """One connection's way to the transport."""

    __slots__ = ("_address", "_transport")

    def __init__(self, transport: Transport, address: str) -> None:
        self._transport = transport
        self._address = address

    def may_begin(self) -> bool:
        return self._transport.may_begin(self._address)

    def may_step(self) -> bool:
        return self._transport.may_step()

    def succeeded(self) -> None:
        self._transport.succeeded()

    def failed(self, reason: str) -> None:
        self._transport.failed(reason, self._address)
