"""A client process of `accept.py`: connects, asks and leaves as often as it is told, some connections at once.

    python -m tests.bench.accept_clients ACT HOST PORT plain|tls

Each line on standard input is a number of connections; when all have had the answer that ACT is about, the number is
said on standard output. What else comes ends the process with an AssertionError. Made to cost less than the daemon:
requests and answers are bytes, and no answer is read before all of a batch have asked.
"""

import io
import socket
import ssl
import sys
import uuid
from collections.abc import Callable, Iterator

from audiohook.session.context_client import upgrade_headers
from audiohook.wire.client import masked_frame, upgrade_request
from tests.support.genesys import Genesys
from tests.support.peer import CLOSE, KEY, MASK, PATIENCE_S, Address
from tests.support.tls import TlsClient, anybody

AT_ONCE = 16
PLAIN, TLS = "plain", "tls"
CLOSED, KEPT, OPENED, NOT_FOUND, REFUSED = "closed", "kept", "opened", "not-found", "refused"
"""What happens to a connection: a stream that ends at once, a stream that stays, a session of AudioHook v2 that is
opened and closed, a request for what there is not (404), an upgrade that finds no room (503)."""

CLOSE_FRAME = masked_frame((1000).to_bytes(2, "big"), MASK, CLOSE)
CLOSE_ANSWER = b"\x88\x02\x03\xe8"
NOTHING_THERE = b"GET /nothing HTTP/1.1\r\nhost: test\r\n\r\n"
STATUS = {CLOSED: b"101", KEPT: b"101", NOT_FOUND: b"404", REFUSED: b"503"}


class Line:
    """One plain connection."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self._received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """Return what comes, b"" at the end."""
        return self.socket.recv(65_536)

    def until(self, mark: bytes) -> bytes:
        """Read until this has come; return all that came before it."""
        while mark not in self._received:
            data = self.receive()
            assert data, f"the connection ended before {mark!r}, behind {self._received!r}"
            self._received += data
        before, _, self._received = self._received.partition(mark)
        return before

    def ended(self) -> None:
        """Read to the end, and close."""
        while self.receive():
            pass
        self.socket.close()


class SecuredLine(Line):
    """One connection over TLS. It has greeted when it is made, and shakes hands with the first `send`."""

    context: ssl.SSLContext = anybody()

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._tls = TlsClient(self.context)
        super().send(self._tls.step())

    def send(self, data: bytes) -> None:
        last = b""
        while not self._tls.established:
            came = super().receive()
            assert came, "the connection ended in the handshake"
            last = self._tls.step(came)
            if last and not self._tls.established:
                super().send(last)
                last = b""
        super().send(last + self._tls.records(data))

    def receive(self) -> bytes:
        while not self._tls.received and not self._tls.ended:
            came = super().receive()
            if not came:
                return b""
            self._tls.step(came)
        plain = bytes(self._tls.received)
        self._tls.received.clear()
        return plain


def request_of(act: str) -> bytes:
    """Return what a connection asks; every call has names of its own."""
    if act == NOT_FOUND:
        return NOTHING_THERE
    names = upgrade_headers(
        call_id=str(uuid.uuid4()),
        session_id="a-session",
        user_id="a-user",
        participant_id=str(uuid.uuid4()),
        direction="inbound",
    )
    return upgrade_request("/", "test", names, KEY)


def batch(act: str, connect: Callable[[Address], Line], address: Address, count: int) -> list[Line]:
    """Connect so many, ask, read all answers, leave; return those that stay."""
    lines = [connect(address) for _ in range(count)]
    for line in lines:
        line.send(request_of(act))
    for line in lines:
        answer = line.until(b"\r\n\r\n")
        assert answer.split(b" ", 2)[1] == STATUS[act], answer
    if act == KEPT:
        return lines
    if act == CLOSED:
        for line in lines:
            line.send(CLOSE_FRAME)
        for line in lines:
            line.until(CLOSE_ANSWER)
    for line in lines:
        line.ended()
    return []


def sessions(address: Address, count: int) -> None:
    """Open and close sessions of AudioHook v2, as Genesys does."""
    for _ in range(count):
        with Genesys(address) as session:
            session.opened().close()


def served(act: str, connect: Callable[[Address], Line], address: Address, counts: Iterator[int]) -> Iterator[int]:
    """Do as many each time as `counts` says."""
    kept: list[Line] = []
    for count in counts:
        if act == OPENED:
            sessions(address, count)
        else:
            for begin in range(0, count, AT_ONCE):
                kept += batch(act, connect, address, min(AT_ONCE, count - begin))
        yield count


def main() -> None:
    act, host, port, how = sys.argv[1:]
    assert isinstance(sys.stdin, io.TextIOWrapper)
    connect = SecuredLine if how == TLS else Line
    for count in served(act, connect, (host, int(port)), map(int, sys.stdin)):
        print(count, flush=True)


if __name__ == "__main__":
    main()
