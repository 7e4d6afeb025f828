"""wire/frames.py: frames in any cut to messages; the limit, the latch, and what is sent when it is too late to send."""

import gc
import tracemalloc

import pytest
from wsproto.connection import Connection

from audiohook.errors import INVALID_PAYLOAD, MESSAGE_TOO_LARGE, PROTOCOL_ERROR, Closure
from audiohook.wire.client import masked_frame
from audiohook.wire.frames import CloseReceived, Failed, Message, Ping, Pong, WebSocket
from tests.support.cuts import same_in_every_cut

LIMIT = 300

MASK = b"\x11\x22\x33\x44"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(payload: bytes, opcode: int = BINARY, fin: bool = True) -> bytes:
    return masked_frame(payload, MASK, opcode, fin)


def server() -> WebSocket:
    return WebSocket(client=False, max_message_bytes=LIMIT)


def messages_of(pieces: list[bytes]) -> list[Message]:
    socket = server()
    return [message for piece in pieces for message in socket.receive_data(piece)]


def messages(data: bytes) -> list[Message]:
    return same_in_every_cut(data, messages_of)


# What is taken

SIZES = [0, 1, 125, 126, 127, LIMIT]


@pytest.mark.parametrize("size", SIZES)
def test_binary_message(size: int) -> None:
    payload = bytes(range(256)) * 2
    (message,) = messages(frame(payload[:size]))
    assert message == payload[:size]
    assert type(message) is bytes


@pytest.mark.parametrize("size", [65535, 65536])
def test_length_in_two_and_in_eight_bytes(size: int) -> None:
    socket = WebSocket(client=False, max_message_bytes=65536)
    data = frame(bytes(size))
    assert socket.receive_data(data[:9]) == []
    assert socket.receive_data(data[9:]) == [bytes(size)]


def test_text_message() -> None:
    assert messages(frame("grüß 𝄞".encode(), TEXT)) == ["grüß 𝄞"]
    assert messages(frame(b"", TEXT)) == [""]


def test_text_cut_within_a_character_by_fragments() -> None:
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    assert messages(frame(first, TEXT, fin=False) + frame(second, CONTINUATION)) == ["ü"]


def test_fragments_are_joined() -> None:
    data = frame(b"ab", fin=False) + frame(b"", CONTINUATION, fin=False) + frame(b"cd", CONTINUATION)
    (message,) = messages(data)
    assert message == b"abcd"
    assert type(message) is bytes


def test_an_empty_first_fragment() -> None:
    assert messages(frame(b"", fin=False) + frame(b"x", CONTINUATION) + frame(b"y")) == [b"x", b"y"]
    assert messages(frame(b"", TEXT, fin=False) + frame(b"x", CONTINUATION) + frame(b"y")) == ["x", b"y"]
    assert messages(frame(b"", fin=False) + frame(b"", CONTINUATION)) == [b""]


def test_control_frames_between_fragments_keep_their_place() -> None:
    data = frame(b"a", fin=False) + frame(b"1", PING) + frame(b"2", PONG) + frame(b"b", CONTINUATION) + frame(b"", PING)
    assert messages(data) == [Ping(b"1"), Pong(b"2"), b"ab", Ping(b"")]


def test_many_messages_at_once() -> None:
    payloads = [bytes([size]) * size for size in range(60)]
    assert messages(b"".join(frame(payload) for payload in payloads)) == payloads


def test_no_bytes() -> None:
    assert server().receive_data(b"") == []


# Close frames


def test_close() -> None:
    assert messages(frame(b"\x03\xe8Hold", CLOSE)) == [CloseReceived(1000, "Hold")]


def test_close_without_a_code() -> None:
    assert messages(frame(b"", CLOSE)) == [CloseReceived(None, "")]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4000, 4999])
def test_legal_close_codes(code: int) -> None:
    (message,) = messages(frame(code.to_bytes(2, "big"), CLOSE))
    assert message == CloseReceived(code, "")
    assert isinstance(message, CloseReceived)
    assert type(message.code) is int


def test_nothing_follows_a_close() -> None:
    behind = frame(b"audio") + frame(b"\x03\xe9", CLOSE) + b"\xff\xff"
    assert messages(frame(b"a") + frame(b"\x03\xe8", CLOSE) + behind) == [b"a", CloseReceived(1000, "")]


def test_a_close_within_a_message_ends_it() -> None:
    assert messages(frame(b"a", fin=False) + frame(b"\x03\xe8", CLOSE)) == [CloseReceived(1000, "")]


def test_longest_close_reason() -> None:
    assert messages(frame(b"\x03\xe8" + b"r" * 123, CLOSE)) == [CloseReceived(1000, "r" * 123)]


# What is refused


def unmasked(first: int, payload: bytes) -> bytes:
    return bytes([first, len(payload)]) + payload


def header(first: int, length: int, wide: int) -> bytes:
    """A masked frame's header with its length written in `wide` bytes, needed or not."""
    return bytes([first, 0x80 | {2: 126, 8: 127}[wide]]) + length.to_bytes(wide, "big") + MASK


BROKEN: dict[str, tuple[bytes, Closure]] = {
    "unmasked": (unmasked(0x82, b"x"), PROTOCOL_ERROR),
    "unmasked and empty": (unmasked(0x82, b""), PROTOCOL_ERROR),
    "reserved bit 1, as permessage-deflate sets it": (frame(b"x", 0x40 | BINARY), PROTOCOL_ERROR),
    "reserved bit 2": (frame(b"x", 0x20 | BINARY), PROTOCOL_ERROR),
    "reserved bit 3": (frame(b"x", 0x10 | BINARY), PROTOCOL_ERROR),
    "reserved bit of a ping": (frame(b"x", 0x40 | PING), PROTOCOL_ERROR),
    **{f"opcode {opcode:#x}": (frame(b"x", opcode), PROTOCOL_ERROR) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragmented ping": (frame(b"x", PING, fin=False), PROTOCOL_ERROR),
    "fragmented close": (frame(b"\x03\xe8", CLOSE, fin=False), PROTOCOL_ERROR),
    "ping of 126": (frame(b"x" * 126, PING), PROTOCOL_ERROR),
    "pong of 126": (frame(b"x" * 126, PONG), PROTOCOL_ERROR),
    "close of 126": (frame(b"\x03\xe8" + b"x" * 124, CLOSE), PROTOCOL_ERROR),
    "ping of 65536": (frame(b"x" * 65536, PING), PROTOCOL_ERROR),
    "continuation of nothing": (frame(b"x", CONTINUATION), PROTOCOL_ERROR),
    "message within a message": (frame(b"x", fin=False) + frame(b"y"), PROTOCOL_ERROR),
    "text within a message": (frame(b"x", fin=False) + frame(b"y", TEXT), PROTOCOL_ERROR),
    "two bytes of length for one": (header(0x82, 125, 2) + bytes(125), PROTOCOL_ERROR),
    "eight bytes of length for two": (header(0x82, 256, 8) + bytes(256), PROTOCOL_ERROR),
    "length above 2^63": (header(0x82, 1 << 63, 8), PROTOCOL_ERROR),
    "close of one byte": (frame(b"\x03", CLOSE), PROTOCOL_ERROR),
    **{
        f"close {code}": (frame(code.to_bytes(2, "big"), CLOSE), PROTOCOL_ERROR)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    "close reason not utf-8": (frame(b"\x03\xe8\xff", CLOSE), INVALID_PAYLOAD),
    "close reason cut short": (frame(b"\x03\xe8\xc3", CLOSE), INVALID_PAYLOAD),
    "text not utf-8": (frame(b"abc\xff", TEXT), INVALID_PAYLOAD),
    "text cut short": (frame(b"abc\xc3", TEXT), INVALID_PAYLOAD),
    "text with a surrogate": (frame(b"\xed\xa0\x80", TEXT), INVALID_PAYLOAD),
    "text overlong": (frame(b"\xc0\xaf", TEXT), INVALID_PAYLOAD),
    "text not utf-8 in a fragment": (frame(b"a", TEXT, fin=False) + frame(b"\xff", 0), INVALID_PAYLOAD),
    "text cut short by its last fragment": (frame(b"\xc3", TEXT, fin=False) + frame(b"", 0), INVALID_PAYLOAD),
    "one byte too many": (frame(bytes(LIMIT + 1)), MESSAGE_TOO_LARGE),
    "text with one byte too many": (frame(b"a" * (LIMIT + 1), TEXT), MESSAGE_TOO_LARGE),
    "2^62 bytes": (header(0x82, 1 << 62, 8) + bytes(20), MESSAGE_TOO_LARGE),
    "fragments with one byte too many": (frame(bytes(LIMIT), fin=False) + frame(b"x", 0), MESSAGE_TOO_LARGE),
}


@pytest.mark.parametrize(("data", "closure"), BROKEN.values(), ids=BROKEN.keys())
def test_broken(data: bytes, closure: Closure) -> None:
    before = frame(b"good")
    behind = frame(b"never seen") + frame(b"\x03\xe8", CLOSE)
    assert messages(before + data + behind) == [b"good", Failed(closure)]


@pytest.mark.parametrize(("data", "closure"), BROKEN.values(), ids=BROKEN.keys())
def test_after_a_failure_nothing_is_read_and_one_close_sent(data: bytes, closure: Closure) -> None:
    socket = server()
    assert socket.receive_data(data)[-1] == Failed(closure)
    assert socket.failed
    assert not socket.closing
    assert closure.code is not None
    assert socket.close(closure.code, closure.text) == close_bytes(closure.code, closure.text)
    assert socket.closing
    assert [socket.close(1000), socket.ping(), socket.pong(b""), socket.text("a"), socket.binary(b"a")] == [b""] * 5
    assert socket.receive_data(frame(b"a")) == []


def test_a_finished_message_has_no_continuation() -> None:
    data = frame(b"x", fin=False) + frame(b"", CONTINUATION) + frame(b"y", CONTINUATION)
    assert messages(data) == [b"x", Failed(PROTOCOL_ERROR)]


def test_masked_frames_are_refused_by_a_client() -> None:
    client = WebSocket(client=True, max_message_bytes=LIMIT)
    assert client.receive_data(unmasked(0x82, b"x") + frame(b"x")) == [b"x", Failed(PROTOCOL_ERROR)]


# The limit


def test_limit_is_exact() -> None:
    halves = frame(bytes(LIMIT // 2), fin=False) + frame(b"ping", PING) + frame(bytes(LIMIT // 2), CONTINUATION)
    assert messages(frame(bytes(LIMIT)) + halves + halves) == [
        bytes(LIMIT),
        *(Ping(b"ping"), bytes(LIMIT)),
        *(Ping(b"ping"), bytes(LIMIT)),
    ]


def test_the_header_is_enough_to_refuse() -> None:
    # Not even the mask has to come, much less the payload.
    header_only = header(0x82, LIMIT + 1, 2)[:-4]
    assert messages(header_only) == [Failed(MESSAGE_TOO_LARGE)]
    assert messages(header_only[:-1]) == []


def test_the_header_of_a_fragment_is_enough_to_refuse() -> None:
    assert messages(frame(bytes(LIMIT - 10), fin=False) + bytes([0x80, 0x80 | 11])) == [Failed(MESSAGE_TOO_LARGE)]


def test_a_ping_between_fragments_does_not_reset_the_limit() -> None:
    data = frame(bytes(LIMIT), fin=False) + frame(b"p", PING) + frame(b"x", CONTINUATION)
    assert messages(data) == [Ping(b"p"), Failed(MESSAGE_TOO_LARGE)]


@pytest.mark.parametrize("last", [frame(b"\x03\xe8", CLOSE), unmasked(0x82, b"x")])
def test_an_ended_websocket_holds_nothing(last: bytes) -> None:
    # Neither the begun message nor what comes afterwards; wsproto by itself would pile the latter up.
    more = frame(bytes(20_000))
    tracemalloc.start()
    try:
        socket = WebSocket(client=False, max_message_bytes=100_000)
        assert socket.receive_data(frame(bytes(50_000), fin=False)) == []
        assert len(socket.receive_data(last)) == 1
        for _ in range(5):
            assert socket.receive_data(more) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20_000


def test_fragments_take_no_more_room_than_their_bytes() -> None:
    count = 4000
    socket = WebSocket(client=False, max_message_bytes=2 * count)
    first, piece = frame(b"ab", fin=False), frame(b"ab", CONTINUATION, fin=False)
    socket.receive_data(first)
    tracemalloc.start()
    try:
        for _ in range(count - 1):
            assert socket.receive_data(piece) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 8 * count, "a list of parts would hold 56 bytes a fragment"
    assert socket.receive_data(frame(b"", CONTINUATION)) == [b"ab" * count]


# What is sent


def close_bytes(code: int, reason: str) -> bytes:
    return unmasked(0x88, code.to_bytes(2, "big") + reason.encode())


def test_what_a_server_sends() -> None:
    socket = server()
    assert socket.ping() == unmasked(0x89, b"")
    assert socket.ping(b"1") == unmasked(0x89, b"1")
    assert socket.pong(b"2") == unmasked(0x8A, b"2")
    assert socket.text("ü") == unmasked(0x81, "ü".encode())
    assert socket.binary(b"abc") == unmasked(0x82, b"abc")
    assert type(socket.binary(b"abc")) is bytes
    assert socket.close(1000, "bye") == close_bytes(1000, "bye")


def test_close_without_code_has_no_reason() -> None:
    assert server().close(None) == unmasked(0x88, b"")
    assert server().close(None, "lost") == unmasked(0x88, b"")


@pytest.mark.parametrize(
    ("reason", "sent"),
    [("a" * 123, "a" * 123), ("a" * 124, "a" * 123), ("a" + "ü" * 100, "a" + "ü" * 61), ("𝄞" * 40, "𝄞" * 30)],
)
def test_close_reason_is_cut_between_characters(reason: str, sent: str) -> None:
    assert server().close(1011, reason) == close_bytes(1011, sent)


def test_after_our_close_the_peer_may_finish() -> None:
    socket = server()
    assert not socket.closing
    assert socket.close(1012, "") != b""
    assert socket.closing
    assert [socket.close(1000), socket.ping(), socket.pong(b""), socket.text(""), socket.binary(b"")] == [b""] * 5
    # Audio that was on its way when we closed still counts.
    assert socket.receive_data(frame(b"late") + frame(b"\x03\xf4", CLOSE)) == [b"late", CloseReceived(1012, "")]
    assert socket.receive_data(frame(b"later")) == []
    assert socket.close(1000) == b""


def test_after_the_peers_close_one_close_is_sent() -> None:
    socket = server()
    assert socket.receive_data(frame(b"\x03\xe8", CLOSE)) == [CloseReceived(1000, "")]
    assert socket.closing
    assert socket.close(1000) == close_bytes(1000, "")
    assert [socket.close(1000), socket.ping(), socket.pong(b""), socket.text(""), socket.binary(b"")] == [b""] * 5
    assert socket.receive_data(frame(b"late")) == []


@pytest.mark.parametrize("end", [frame(b"\x03\xe8", CLOSE), frame(b"", CONTINUATION), frame(b"\xff", TEXT)])
def test_what_came_with_the_end_and_before_it_can_be_answered(end: bytes) -> None:
    # Else the answer depends on the cut. Autobahn's 3.2, 4.1.3, 5.15 and others send a text and a mistake at once.
    socket = server()
    *asked, _ = socket.receive_data(frame(b"hello", TEXT) + frame(b"?", PING) + end)
    assert asked == ["hello", Ping(b"?")]
    assert socket.text("hello") == unmasked(0x81, b"hello")
    assert socket.pong(b"?") == unmasked(0x8A, b"?")
    assert socket.binary(b"a") == unmasked(0x82, b"a")
    assert socket.ping() == unmasked(0x89, b"")
    assert socket.close(1000) == close_bytes(1000, "")
    assert [socket.text("hello"), socket.pong(b"?"), socket.binary(b"a"), socket.ping()] == [b""] * 4


def test_a_failure_while_closing() -> None:
    socket = server()
    socket.close(1012)
    assert socket.receive_data(unmasked(0x82, b"x")) == [Failed(PROTOCOL_ERROR)]
    assert socket.close(1002) == b""


@pytest.mark.parametrize("last", [frame(b"\x03\xe8", CLOSE), unmasked(0x82, b"x"), frame(b"\xff", TEXT)])
def test_an_ended_websocket_leaves_nothing_behind(last: bytes) -> None:
    def connections() -> int:
        return sum(isinstance(thing, Connection) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = connections()
        for _ in range(10):
            socket = server()
            socket.receive_data(frame(b"a") + last + frame(b"b"))
            socket.close(1000)
            del socket
        assert connections() == before
    finally:
        gc.enable()
