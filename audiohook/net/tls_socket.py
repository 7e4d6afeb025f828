"""A `StreamSocket` that speaks TLS: the same methods, plaintext on this side, records on the wire. Knows no protocol.

Theory of operation
-------------------
    HEADER ──complete──▶ HANDSHAKE ──done──▶ OPEN ──end_sending──▶ LEAVING
       └───────────────────┴──fault, deadline──┴──close_notify, fault──▶ OVER

HEADER is for peers that a proxy speaks for: its PROXY header comes before TLS and is handed on as it is, to the byte,
so that nothing of TLS has been read with it. In HANDSHAKE and before, nothing can be said, and `send` drops what it is
given. A peer's close_notify is its end of file, as is a record that cannot be read. In LEAVING everything has been
said, close_notify too: what comes is dropped, undecrypted.

The trap. OpenSSL reads whole records of up to 16 KB, and what it holds the selector cannot see: with `ssl.SSLSocket`
and reads of 4 KB a peer's last 11,904 bytes lay there with epoll silent. So `read` has one rule
(tests/loopback/test_tls_socket.py): *if it returns less than `portion_bytes`, nothing is left here that could be
returned without the socket becoming readable*. Whoever gets so much asks again without waiting, as everybody does who
has a bulk lane. An end that was found behind data makes the socket readable itself, by shutting its receiving side.

Handshakes are dear (0.7 ms) beside packets (15 µs). So the gate is asked before each step, and if it says no the bytes
stay in the kernel, where level-triggered readiness finds them in the next turn.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from audiohook.net.stream_socket import READ_BYTES, StreamSocket

READS_A_RECORD = 5
"""So many reads hold the largest record (RFC 8446 section 5.2: 16,640 bytes). A peer that sends such gets out of one
`read` what one record holds, instead of leaving and joining the bulk lane with each."""

_PROXY_FIXED_BYTES = 16
_PROXY_LENGTH = slice(14, 16)
"""Where a PROXY header of version 2 says how much follows; whether it is one is judged by whoever gets it."""


class Gate(Protocol):
    """Says when handshakes may go on, and is told how they end."""

    def may_begin(self) -> bool:
        """Whether a handshake may begin; if not, the connection is over."""

    def may_step(self) -> bool:
        """Whether a step may be taken in this turn."""

    def succeeded(self) -> None: ...

    def failed(self, reason: str) -> None:
        """The handshake failed for this reason, which has nothing in it that the peer has written."""


class TlsSocket(StreamSocket):
    """Owns the socket. `wrap` is called with (incoming, outgoing) when the first bytes are there."""

    def __init__(
        self,
        connected: socket.socket,
        user_timeout_seconds: float,
        gate: Gate,
        wrap: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject],
        *,
        behind_proxy_header: bool = False,
    ) -> None:
        super().__init__(connected, user_timeout_seconds)
        self._gate = gate
        self._wrap = wrap
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._header = b""
        self._header_left = _PROXY_FIXED_BYTES if behind_proxy_header else 0
        self._open = False
        self._over = False
        self._leaving = False
        self._given_up = False

    @property
    def shaking_hands(self) -> bool:
        """Whether the handshake, or what comes before it, is still going on."""
        return not self._open and not self._over and not self._leaving

    def abandon(self) -> None:
        """End a handshake that takes too long: the next read finds the end, and `close` resets."""
        if self.shaking_hands:
            self._given_up = True
            self._end()

    # ---------------------------------------------------------------------------------------- reading

    def read(self, most_bytes: int = 0) -> bytes | None:
        """Return up to `portion_bytes` of plaintext, b"" at the end, None if nothing is there; never more."""
        if self._over:
            return b""
        if self._leaving:
            return None if super().read() else b""
        if self._header_left:
            return self._read_header()
        if not self._open and not self._shake_hands():
            return b"" if self._over else None
        return self._read_plain()

    def _read_header(self) -> bytes | None:
        data = super().read(min(self._header_left, READ_BYTES))
        if data:
            self._header_left -= len(data)
            if len(self._header) < _PROXY_FIXED_BYTES:
                self._header += data
                if not self._header_left:
                    self._header_left = int.from_bytes(self._header[_PROXY_LENGTH], "big")
        return data

    def _shake_hands(self) -> bool:
        """Take a step, if bytes are there and it may be taken; return whether the handshake is done."""
        if self._tls is None and not self._gate.may_begin():
            self._end()
            return False
        if not self._gate.may_step():
            return False
        data = super().read()
        if not data:
            if data is not None:
                self._over = True
                if self._tls is not None:  # one that says nothing at all only looks whether somebody listens
                    self._gate.failed("it was ended by the peer")
            return False
        if self._tls is None:
            self._tls = self._wrap(self._incoming, self._outgoing)
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
            self._open = True
            self._gate.succeeded()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._put_out()  # the alert
            self._end()
            self._gate.failed(reason_of(error))
            return False
        self._put_out()
        return self._open

    def _read_plain(self) -> bytes | None:
        tls, incoming, portion_bytes = self._tls, self._incoming, self.portion_bytes
        assert tls is not None
        plain = self._decrypt(tls, portion_bytes) if incoming.pending or tls.pending() else b""
        for _ in range(READS_A_RECORD):
            if len(plain) == portion_bytes or self._over:
                break
            data = super().read()
            if data is None:
                break
            if not data:
                if plain:
                    break  # the end of file stays to be found
                return b""
            incoming.write(data)
            plain += self._decrypt(tls, portion_bytes - len(plain))
            if len(data) < portion_bytes:
                break
        if self._outgoing.pending:
            self._put_out()
        if plain:
            return plain
        return b"" if self._over else None

    def _decrypt(self, tls: ssl.SSLObject, room: int) -> bytes:
        """Return up to `room` bytes; less only if nothing more can be had of what has been read, or it is over."""
        pieces = []
        while room:
            try:
                piece = tls.read(room)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                self._end()
                break
            if not piece:
                self._end()
                break
            pieces.append(piece)
            room -= len(piece)
            if not self._incoming.pending and not tls.pending():
                break
        return b"".join(pieces)

    def _end(self) -> None:
        """Nothing more is read; the selector is made to see that."""
        self._over = True
        self._shut(socket.SHUT_RD)

    # ---------------------------------------------------------------------------------------- sending

    def send(self, data: bytes) -> bool:
        """Send or queue, as `StreamSocket.send`; nothing can be said before the handshake is done."""
        if not self._open or self._leaving:
            return True
        assert self._tls is not None
        try:
            self._tls.write(data)
        except ssl.SSLError:
            return True  # broken: the next read finds the end
        return super().send(self._outgoing.read())

    def _put_out(self) -> None:
        """Send what OpenSSL has to say by itself. A peer that asks and asks and does not read is at its end."""
        if not super().send(self._outgoing.read()):
            self._end()

    def flush(self) -> None:
        super().flush()
        if self._leaving and not self.has_unsent:
            super().end_sending()

    def end_sending(self) -> None:
        """Say close_notify, then shut the sending side, as soon as that is out."""
        if self._leaving:
            return
        self._say_goodbye()
        self._leaving = True
        if not self.has_unsent:
            super().end_sending()

    def _say_goodbye(self) -> None:
        if self._open and not self._leaving:
            assert self._tls is not None
            try:
                self._tls.unwrap()
            except (ssl.SSLError, OSError):
                pass  # it is said; what the peer says to it nobody waits for
            super().send(self._outgoing.read())

    def close(self, *, reset: bool) -> None:
        """Close, with close_notify where that is not a reset."""
        if not reset and not self.has_unsent:
            self._say_goodbye()
        super().close(reset=reset or self._given_up)


def reason_of(error: ssl.SSLError) -> str:
    """Return OpenSSL's word for what went wrong, in plain writing: "no shared cipher"."""
    if isinstance(error, ssl.SSLEOFError):
        return "it was ended by the peer"
    return (error.reason or type(error).__name__).replace("_", " ").lower()
