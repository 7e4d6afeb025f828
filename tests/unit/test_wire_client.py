"""wire/client.py: the client's half alone, and back to back with the server's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import XorMaskerSimple

from audiohook import errors
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, masked_frame, upgrade_request
from audiohook.wire.frames import CloseReceived, Ping, Pong, WebSocket
from audiohook.wire.request import Request, RequestReader, accept_bytes, refusal_bytes, response_bytes, upgrade_key
from tests.support.cuts import cut_at, cut_places, same_in_every_cut

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3."""


def answer_of(pieces: list[bytes]) -> tuple[UpgradeAnswer | None, bytes]:
    """Feed pieces until the answer, then the end of the connection; return it and what the WebSocket would get."""
    taker = UpgradeReader(KEY)
    for place, piece in enumerate(pieces):
        answer = taker.receive_data(piece)
        if answer is not None:
            assert taker.receive_data(b"x") is None
            assert taker.receive_eof() is None
            return answer, (taker.trailing() + b"".join(pieces[place + 1 :]) if answer.accepted else b"")
    return taker.receive_eof(), b""


def answer(data: bytes) -> UpgradeAnswer:
    found, _ = same_in_every_cut(data, answer_of)
    assert found is not None
    return found


# Answers


def test_accepted() -> None:
    found = answer(accept_bytes(KEY))
    assert (found.status, found.accepted, found.body) == (101, True, b"")
    assert found.get("upgrade") == "websocket"
    assert found.get("date") is None


def test_frames_behind_a_101_are_kept() -> None:
    frames = bytes(range(256))
    found, trailing = same_in_every_cut(accept_bytes(KEY) + frames, answer_of)
    assert found is not None
    assert found.accepted
    assert trailing == frames


def test_an_answer_to_another_key_is_not_accepted() -> None:
    other = accept_bytes("AAAAAAAAAAAAAAAAAAAAAA==")
    assert not answer(other).accepted
    unchecked = UpgradeReader().receive_data(other)
    assert unchecked is not None
    assert unchecked.accepted


@pytest.mark.parametrize(
    "line", [b"upgrade: h2c", b"connection: close", b"sec-websocket-extensions: permessage-deflate", b"upgrade: "]
)
def test_a_wrong_101_is_not_accepted(line: bytes) -> None:
    name = line.partition(b":")[0]
    head = [kept for kept in accept_bytes(KEY).split(b"\r\n") if kept and not kept.startswith(name)]
    found = answer(b"\r\n".join([*head, line]) + b"\r\n\r\n")
    assert (found.status, found.accepted) == (101, False)


def test_refusal_with_a_length() -> None:
    found = answer(refusal_bytes(errors.NO_SLOT) + b"garbage")
    assert (found.status, found.body, found.accepted) == (503, b"all streams are in use\n", False)
    assert found.get("retry-after") == "5"


def test_body_until_the_end_of_the_connection() -> None:
    found = answer(b"HTTP/1.0 403 Forbidden\r\nserver: other\r\n\r\nsome text")
    assert (found.status, found.body) == (403, b"some text")


def test_body_in_chunks() -> None:
    found = answer(b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
    assert (found.status, found.body) == (500, b"abcd")


def test_body_that_breaks_off() -> None:
    found = answer(b"HTTP/1.1 401 No\r\ncontent-length: 100\r\n\r\nshort")
    assert (found.status, found.body) == (401, b"short")


def test_an_interim_answer_is_passed_over() -> None:
    assert answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" + accept_bytes(KEY)).accepted


@pytest.mark.parametrize("data", [b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/1.1 200", b"SSH-2.0-x\r\n\r\n", b"\r\n\r\n"])
def test_what_is_no_answer_has_no_status(data: bytes) -> None:
    assert answer(data) == UpgradeAnswer(status=0, headers=(), body=b"", accepted=False)


def test_the_end_without_a_byte_is_no_answer() -> None:
    found = UpgradeReader().receive_eof()
    assert found is not None
    assert found.status == 0


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: b"HTTP/1.1 400 a\r\n" + rest), cut_places(300))
def test_any_bytes_in_any_cut(data: bytes, places: list[int]) -> None:
    assert answer_of(cut_at(data, places)) == answer_of([data])


# Frames


@given(st.binary(max_size=400), st.binary(min_size=4, max_size=4))
def test_mask(payload: bytes, mask: bytes) -> None:
    data = masked_frame(payload, mask)
    assert data.endswith(XorMaskerSimple(mask).process(bytearray(payload)))
    assert WebSocket(client=False, max_message_bytes=400).receive_data(data) == [payload]


def test_example_of_the_rfc() -> None:
    # RFC 6455 section 5.7: a masked text message "Hello", and its fragments' first bytes.
    assert masked_frame(b"Hello", bytes.fromhex("37fa213d"), 0x1) == bytes.fromhex("818537fa213d7f9f4d5158")
    assert masked_frame(b"Hel", bytes(4), 0x1, fin=False)[0] == 0x01
    assert masked_frame(b"lo", bytes(4), 0x0)[0] == 0x80


@pytest.mark.parametrize(
    ("size", "length"), [(0, "80"), (125, "fd"), (126, "fe007e"), (65535, "feffff"), (65536, "ff0000000000010000")]
)
def test_length(size: int, length: str) -> None:
    head = bytes([0x82]) + bytes.fromhex(length) + bytes(4)
    assert masked_frame(bytes(size), bytes(4)) == head + bytes(size)


# Back to back


def opened() -> tuple[WebSocket, WebSocket]:
    """A client and a server after a handshake in which neither waited for the other."""
    early = masked_frame(b"early", b"abcd")
    asked = upgrade_request("/a?b=c", "example.org:8443", [("X-Genesys-Call-Id", "1"), ("x-genesys-user-id", "ü")], KEY)
    taker = RequestReader(max_request_bytes=16384, max_headers=100)
    request = taker.receive_data(asked + early)
    assert isinstance(request, Request)
    assert request.target == "/a?b=c"
    assert request.get("host") == "example.org:8443"
    assert request.get("x-genesys-call-id") == "1"
    assert request.get("x-genesys-user-id") == "ü"
    key = upgrade_key(request)
    assert key == KEY
    server = WebSocket(client=False, max_message_bytes=1000)
    assert server.receive_data(taker.trailing()) == [b"early"]

    answers = UpgradeReader(KEY)
    found = answers.receive_data(accept_bytes(key) + server.text("first"))
    assert found is not None
    assert found.accepted
    client = WebSocket(client=True, max_message_bytes=1000)
    assert client.receive_data(answers.trailing()) == ["first"]
    return client, server


def test_both_ends() -> None:
    client, server = opened()
    for sender, receiver in ((client, server), (server, client)):
        data = sender.text("ü") + sender.binary(b"\x00" * 1000) + sender.ping(b"p") + sender.pong(b"q")
        assert receiver.receive_data(data) == ["ü", b"\x00" * 1000, Ping(b"p"), Pong(b"q")]
    assert server.receive_data(client.close(1000, "Hold")) == [CloseReceived(1000, "Hold")]
    assert client.receive_data(server.close(1000)) == [CloseReceived(1000, "")]
    assert client.closing
    assert server.closing


def test_a_refused_client() -> None:
    taker = RequestReader(max_request_bytes=16384, max_headers=100)
    asked = upgrade_request("/", "a", [], "short")
    request = taker.receive_data(asked)
    assert isinstance(request, Request)
    refusal = upgrade_key(request)
    assert isinstance(refusal, errors.Refusal)
    found = UpgradeReader().receive_data(refusal_bytes(refusal))
    assert found is not None
    assert (found.status, found.accepted) == (400, False)
    assert found.body == b"malformed WebSocket upgrade: sec-websocket-key\n"


def test_a_plain_answer() -> None:
    found = UpgradeReader().receive_data(response_bytes(200, "ok"))
    assert found is not None
    assert (found.status, found.body, found.accepted) == (200, b"ok\n", False)
