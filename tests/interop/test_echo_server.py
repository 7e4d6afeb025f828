"""A handful of the conformance cases in every run of the suite: real bytes to the real echo server, in a process.

All 301 are `make conformance`. What is sent here is written by hand, what comes back is read by our client half.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from audiohook.wire.client import UpgradeReader, masked_frame, upgrade_request
from audiohook.wire.frames import CloseReceived, Message, Pong, WebSocket
from tests.support.echo import echo_server
from tests.support.echo_server import MAX_MESSAGE_BYTES

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
DEADLINE_SECONDS = 20


def frame(payload: bytes, opcode: int = BINARY, fin: bool = True) -> bytes:
    return masked_frame(payload, MASK, opcode, fin)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with echo_server() as port:
        yield port


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield peer


def told(peer: socket.socket) -> list[Message]:
    """Return what the server says from the 101 to its end of file."""
    reader = UpgradeReader(KEY)
    answer = None
    while answer is None:
        data = peer.recv(65_536)
        assert data, "end of file instead of an answer"
        answer = reader.receive_data(data)
    assert answer.accepted
    websocket = WebSocket(client=True, max_message_bytes=MAX_MESSAGE_BYTES)
    messages = websocket.receive_data(reader.trailing())
    while data := peer.recv(65_536):
        messages += websocket.receive_data(data)
    return messages


CLOSING = frame(b"\x03\xe8bye", CLOSE)
ECHOED = CloseReceived(1000, "")

CASES = {
    "text": (frame("grüß".encode(), TEXT) + CLOSING, ["grüß", ECHOED]),
    "empty": (frame(b"") + frame(b"", TEXT) + CLOSING, [b"", "", ECHOED]),
    "lengths": (
        b"".join(frame(bytes(size)) for size in (125, 126, 65_535, 65_536)) + CLOSING,
        [bytes(125), bytes(126), bytes(65_535), bytes(65_536), ECHOED],
    ),
    "a ping between fragments": (
        frame(b"one", TEXT, fin=False) + frame(b"?", PING) + frame(b"two", CONTINUATION) + CLOSING,
        [Pong(b"?"), "onetwo", ECHOED],
    ),
    "a pong that nobody asked for": (frame(b"!", PONG) + frame(b"a") + CLOSING, [b"a", ECHOED]),
    "a close without a code": (frame(b"", CLOSE), [CloseReceived(None, "")]),
    "nothing after a close": (CLOSING + frame(b"late"), [ECHOED]),
    "a reserved bit": (frame(b"a", TEXT) + b"\xa1\x80" + MASK, ["a", CloseReceived(1002, "protocol error")]),
    "a reserved opcode": (frame(b"a", TEXT) + frame(b"", 0x5), ["a", CloseReceived(1002, "protocol error")]),
    "a continuation of nothing": (frame(b"", CONTINUATION), [CloseReceived(1002, "protocol error")]),
    "text broken in its first fragment": (
        frame(b"\xce\xba\xff", TEXT, fin=False),
        [CloseReceived(1007, "text is not UTF-8")],
    ),
    "a close code that must not be sent": (frame(b"\x03\xed", CLOSE), [CloseReceived(1002, "protocol error")]),
    "a header too large": (
        b"\x82\xff" + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big") + MASK,
        [CloseReceived(1009, "message too large")],
    ),
}


@pytest.mark.parametrize(("data", "messages"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("pieces", ["whole", "with the request", "halves"])
def test_case(port: int, data: bytes, messages: list[Message], pieces: str) -> None:
    request = upgrade_request("/", "audio.example", (), KEY)
    half = len(data) // 2
    sends = {
        "whole": (request, data),
        "with the request": (request + data,),
        "halves": (request, data[:half], data[half:]),
    }
    with connected(port) as peer:
        for piece in sends[pieces]:
            peer.sendall(piece)
        assert told(peer) == messages


def test_a_message_of_the_largest_size(port: int) -> None:
    payload = bytes(range(256)) * (MAX_MESSAGE_BYTES // 256)
    with connected(port) as peer:
        peer.sendall(upgrade_request("/", "audio.example", (), KEY) + frame(payload) + CLOSING)
        assert told(peer) == [payload, ECHOED]


def test_a_request_that_is_no_upgrade(port: int) -> None:
    with connected(port) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nhost: audio.example\r\n\r\n")
        answer = b""
        while data := peer.recv(65_536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")
