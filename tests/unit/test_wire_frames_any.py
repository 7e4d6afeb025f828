"""wire/frames.py under hypothesis: a conversation comes out as it was sent, any bytes come out the same in any cut."""

from hypothesis import example, given
from hypothesis import strategies as st

from audiohook.wire.client import masked_frame
from audiohook.wire.frames import CloseReceived, Failed, Message, Ping, Pong, WebSocket
from tests.support.cuts import cut_at, cut_places

LIMIT = 300

MASK = b"\x11\x22\x33\x44"

CONTINUATION, TEXT, BINARY, PING, PONG = 0x0, 0x1, 0x2, 0x9, 0xA


def messages_of(socket: WebSocket, pieces: list[bytes]) -> list[Message]:
    return [message for piece in pieces for message in socket.receive_data(piece)]


CONTROLS = st.one_of(
    st.binary(max_size=125).map(lambda payload: (Ping(payload), masked_frame(payload, MASK, PING))),
    st.binary(max_size=125).map(lambda payload: (Pong(payload), masked_frame(payload, MASK, PONG))),
)


@st.composite
def conversation(draw: st.DrawFn) -> tuple[list[Message], bytes]:
    """Messages in the order of their last byte, and one way to send them: fragmented, with control frames between."""
    expected: list[Message] = []
    data = b""
    for message in draw(st.lists(st.binary(max_size=LIMIT) | st.text(max_size=LIMIT // 4), max_size=6)):
        payload = message.encode() if isinstance(message, str) else message
        pieces = cut_at(payload, draw(st.lists(st.integers(0, len(payload)), max_size=4))) or [b""]
        for place, piece in enumerate(pieces):
            for control, control_frame in draw(st.lists(CONTROLS, max_size=2)):
                expected.append(control)
                data += control_frame
            opcode = CONTINUATION if place else (TEXT if isinstance(message, str) else BINARY)
            data += masked_frame(piece, draw(st.binary(min_size=4, max_size=4)), opcode, place == len(pieces) - 1)
        expected.append(message)
    return expected, data


@given(conversation(), cut_places())
def test_any_conversation_in_any_cut(sent: tuple[list[Message], bytes], places: list[int]) -> None:
    expected, data = sent
    assert messages_of(WebSocket(client=False, max_message_bytes=LIMIT), cut_at(data, places)) == expected


FRAME_LIKE = st.lists(
    st.builds(
        masked_frame,
        st.binary(max_size=20) | st.sampled_from([b"\x03\xe8", b"\xff", bytes(LIMIT), bytes(LIMIT + 1)]),
        st.just(MASK),
        st.integers(0, 15) | st.sampled_from([CONTINUATION, TEXT, BINARY]),
        st.booleans(),
    )
    | st.binary(max_size=6),
    max_size=8,
).map(b"".join)


@given(st.binary(max_size=200) | FRAME_LIKE, cut_places(400), st.booleans())
@example(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + MASK, [3, 9], False)
def test_any_bytes_in_any_cut(data: bytes, places: list[int], client: bool) -> None:
    def run(pieces: list[bytes]) -> list[Message]:
        socket = WebSocket(client, LIMIT)
        found = messages_of(socket, pieces)
        assert socket.failed == any(isinstance(message, Failed) for message in found)
        assert socket.closing == any(isinstance(message, CloseReceived) for message in found)
        assert socket.close(1000) != b""
        if found and isinstance(found[-1], Failed | CloseReceived):
            assert socket.receive_data(masked_frame(b"x", MASK)) == []
        return found

    found = run([data])
    assert run(cut_at(data, places)) == found
    ends = [isinstance(message, Failed | CloseReceived) for message in found]
    assert not any(ends[:-1])
    assert all(len(message) <= LIMIT for message in found if isinstance(message, bytes | str))
