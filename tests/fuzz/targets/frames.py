"""wire/frames.py: any bytes come to documented messages, none behind an end, none too long, the same in every cut."""

from collections.abc import Iterable

from audiohook.errors import INVALID_PAYLOAD, MESSAGE_TOO_LARGE, PROTOCOL_ERROR
from audiohook.wire.client import masked_frame
from audiohook.wire.frames import CloseReceived, Failed, Message, Ping, Pong, WebSocket
from tests.fuzz.target import Pieces, chance, random_cut

LIMIT = 1000
MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CLOSURES = (PROTOCOL_ERROR, INVALID_PAYLOAD, MESSAGE_TOO_LARGE)

TOKENS = (
    b"\x82\xff" + (1 << 62).to_bytes(8, "big") + MASK,
    b"\x82\xff" + (1 << 63).to_bytes(8, "big") + MASK,
    b"\x82\xfe\x00\x7d" + MASK,
    b"\x81\x80" + MASK,
    b"\x88\x80" + MASK,
    b"\x88\x82" + MASK,
    b"\x00\x80" + MASK,
    b"\x80\x80" + MASK,
    MASK,
    b"\xf0\x9f\x92",
    b"\xed\xa0\x80",
)

_OPCODES = bytes((TEXT, BINARY, BINARY, CONTINUATION, PING, PONG, CLOSE))


def assemble(pieces: Pieces) -> bytes:
    """Make frames of pieces: a byte of flags (bit 7 FIN, bits 0 to 3 the opcode), then the payload."""
    return b"".join(masked_frame(each[1:], MASK, each[0] & 0x0F, bool(each[0] & 0x80)) for each in pieces if each)


def piece(opcode: int, payload: bytes = b"", fin: bool = True) -> bytes:
    """Return a piece for `assemble`."""
    return bytes([opcode | (0x80 if fin else 0)]) + payload


def seeds() -> Iterable[Pieces]:
    audio = [piece(BINARY, bytes(range(size))) for size in (60, 0, 125, 126)]
    close = piece(CLOSE, b"\x03\xe8bye")
    yield [*audio, close]
    yield [piece(TEXT, "grüß 𝄞".encode()), piece(PING, b"?"), piece(PONG), piece(CLOSE)]
    yield [piece(TEXT, b"gr\xc3", fin=False), piece(PING), piece(CONTINUATION, b"\xbc\xc3\x9f"), close]
    yield [
        piece(BINARY, b"a" * 500, fin=False),
        piece(CONTINUATION, b"b" * 499, fin=False),
        piece(CONTINUATION, b"c"),
    ]
    yield [piece(BINARY, bytes(LIMIT)), piece(BINARY, bytes(LIMIT + 1)), piece(BINARY, b"late")]
    yield [piece(CLOSE, code.to_bytes(2, "big")) for code in (4999, 1005, 999)]
    yield [piece(opcode, b"\x03\xe8") for opcode in _OPCODES]


def check(data: bytes) -> None:
    for client in (False, True) if len(data) % 8 == 0 else (False,):
        whole = _outcome(client, [data] if data else [])
        assert _outcome(client, random_cut(data, chance(data))) == whole, "depends on the cut"


def _outcome(client: bool, pieces: Pieces) -> tuple[list[Message], bytes]:
    """Return the messages, and what a server answers to them if it echoes."""
    socket = WebSocket(client, LIMIT)
    messages: list[Message] = []
    sent = b""
    for part in pieces:
        for message in socket.receive_data(part):
            assert not (messages and isinstance(messages[-1], Failed | CloseReceived)), "something behind the end"
            messages.append(message)
            sent += _answered(socket, message)
    ended = bool(messages) and isinstance(messages[-1], Failed | CloseReceived)
    assert socket.closing is ended
    assert socket.failed is (ended and isinstance(messages[-1], Failed))
    assert bool(socket.close(1000)) is not ended
    # What a client sends is masked by chance.
    return messages, b"" if client else sent


def _answered(socket: WebSocket, message: Message) -> bytes:
    if isinstance(message, bytes):
        assert len(message) <= LIMIT
        return socket.binary(message)
    if isinstance(message, str):
        assert len(message.encode()) <= LIMIT
        return socket.text(message)
    if isinstance(message, Ping | Pong):
        assert len(message.payload) <= 125
        return socket.pong(message.payload)
    if isinstance(message, CloseReceived):
        assert message.code is None or 1000 <= message.code <= 4999
        assert len(message.reason.encode()) <= 123
        return socket.close(message.code)
    assert type(message) is Failed
    assert message.closure in CLOSURES
    assert message.closure.code is not None
    return socket.close(message.closure.code, message.closure.text)
