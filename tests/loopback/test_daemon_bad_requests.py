"""Whatever a peer sends to a running daemon gets the documented answer, is counted under its name, and leaves nothing:
no slot, no descriptor, no live count, no traceback. Here: the request before a WebSocket.
"""

from dataclasses import dataclass

import pytest

from audiohook.wire.client import masked_frame
from tests.support.census import REQUEST_BYTES, Census
from tests.support.daemon import Daemon
from tests.support.peer import MASK, Peer, packets_of


@dataclass(frozen=True)
class Case:
    """A request, made of a good one, and the answer to it."""

    name: str
    status: int
    slug: str
    text: str
    replace: tuple[bytes, bytes] = (b"", b"")
    request: bytes = b""
    header: tuple[str, str] | None = None

    def bytes_of(self, good: bytes) -> bytes:
        return self.request or good.replace(*self.replace)


GENESYS = ("x-genesys-call-id", "x-genesys-session-id", "x-genesys-user-id", "x-genesys-participant-id")

CASES = [
    *(
        Case(f"no {name}", 401, "header_missing", f"missing header: {name}", (name.encode(), b"x-other"))
        for name in GENESYS
    ),
    *(
        Case(f"odd {name}", 400, "header_malformed", f"{name} must be", (name.encode(), name.encode() + b": \xe9\r\nx"))
        for name in GENESYS
    ),
    Case("long id", 400, "header_malformed", "x-genesys-user-id must be", (b": a-user", b": " + b"u" * 129)),
    Case("direction", 400, "header_malformed", "x-genesys-direction must be", (b": inbound", b": sideways")),
    Case("twice", 400, "header_malformed", "x-genesys-user-id must be", (b": a-user", b": u\r\nx-genesys-user-id: u")),
    Case(
        "version",
        426,
        "version_unsupported",
        "version 13",
        (b"version: 13", b"version: 8"),
        b"",
        ("sec-websocket-version", "13"),
    ),
    Case(
        "no version",
        426,
        "version_unsupported",
        "version 13",
        (b"sec-websocket-version", b"x"),
        b"",
        ("sec-websocket-version", "13"),
    ),
    Case("no key", 400, "upgrade_malformed", "sec-websocket-key", (b"sec-websocket-key", b"x")),
    Case("no connection", 400, "upgrade_malformed", "connection", (b"connection: upgrade", b"connection: close")),
    Case("http 1.0", 400, "upgrade_malformed", "HTTP/1.1", (b"HTTP/1.1", b"HTTP/1.0")),
    Case("post", 405, "method_not_allowed", "GET", (b"GET /", b"POST /"), b"", ("allow", "GET")),
    Case("long head", 431, "request_too_large", "too large", (b"\r\n\r\n", b"\r\nx: " + b"y" * REQUEST_BYTES)),
    Case("headers", 431, "request_too_large", "too many headers", (b"\r\n\r\n", b"\r\nx: y" * 20 + b"\r\n\r\n")),
    Case("endless line", 431, "request_too_large", "too large", request=b"G" * 3 * REQUEST_BYTES),
    Case("nothing here", 404, "not_found", "nothing here", request=b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n"),
    Case("body", 400, "request_malformed", "body", request=b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\n"),
    Case("no host", 400, "request_malformed", "malformed", request=b"GET / HTTP/1.1\r\n\r\n"),
    Case("words", 400, "request_malformed", "malformed", request=b"hello, is this the telephone?\r\n\r\n"),
    Case("NUL", 400, "request_malformed", "malformed", (b"a-user", b"a\x00user")),
    Case(
        "tls",
        400,
        "request_malformed",
        "malformed",
        request=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 64,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("cut_bytes", [0, 41])
def test_bad_request_is_answered_in_words(daemon: Daemon, census: Census, case: Case, cut_bytes: int) -> None:
    with Peer(daemon.address) as peer:
        request = case.bytes_of(peer.request)
        assert request != peer.request
        for at in range(0, len(request), cut_bytes or len(request)):
            try:
                peer.send(request[at : at + (cut_bytes or len(request))])
            except ConnectionError:
                break  # refused before it was all said
        answer = peer.read_answer()
        assert (answer.status, answer.get("connection") is not None) == (case.status, True)
        assert case.text in answer.body.decode("ascii")
        assert b"sideways" not in answer.body
        if case.header is not None:
            assert answer.get(case.header[0]) == case.header[1]
        assert peer.read_end() == "eof"
    assert census.counted() == {case.slug: 1}


@pytest.mark.parametrize("request_bytes", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: test\r\n"])
def test_request_that_never_ends_is_timed_out(daemon: Daemon, census: Census, request_bytes: bytes) -> None:
    with Peer(daemon.address) as peer:
        peer.send(request_bytes)
        answer = peer.read_answer()
        assert answer.status == 408
    assert census.counted() == {"request_timeout": 1}


def test_request_that_trickles_is_timed_out_all_the_same(daemon: Daemon, census: Census) -> None:
    with Peer(daemon.address) as peer:
        peer.socket.settimeout(0.05)
        answered = b""
        for at in range(len(peer.request)):
            peer.send(peer.request[at : at + 1])
            try:
                answered = peer.receive()
                break
            except TimeoutError:
                continue
        assert answered.startswith(b"HTTP/1.1 408")
    assert census.counted() == {"request_timeout": 1}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_check(daemon: Daemon, census: Census, method: str) -> None:
    before = daemon.counter("health_checks")
    with Peer(daemon.address) as peer:
        peer.send(f"{method} /healthz HTTP/1.0\r\n\r\n".encode())
        text = b""
        while data := peer.receive():
            text += data
    assert text.startswith(b"HTTP/1.1 200 OK\r\n")
    assert text.endswith(b"\r\n\r\nok\n" if method == "GET" else b"\r\n\r\n")
    assert census.counted() == {}
    assert daemon.counter("health_checks") == before + 1


def test_offered_compression_is_declined(daemon: Daemon, census: Census) -> None:
    with Peer(daemon.address) as peer:
        offer = b"\r\nsec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        peer.send(peer.request.replace(b"\r\n\r\n", offer))
        answer = peer.read_answer()
        assert answer.accepted
        assert answer.get("sec-websocket-extensions") is None
        assert peer.close() == 1000


def test_audio_behind_the_request_in_one_piece_is_not_lost(daemon: Daemon, census: Census) -> None:
    with Peer(daemon.address) as peer:
        packets = packets_of(1)[:10]
        peer.send(peer.request + b"".join(masked_frame(packet, MASK) for packet in packets))
        assert peer.read_answer().accepted
        stream = daemon.hub.open(call_id=peer.call_id)
        peer.close()
        assert stream.totals.packets == 10
