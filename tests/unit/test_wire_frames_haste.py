"""wire/audio_frames.py and frame_bounds.py: with and without them a WebSocket says the same of any bytes in any cut."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.wire.audio_frames import NUMPY_FROM_BYTES, take_audio
from audiohook.wire.client import masked_frame
from audiohook.wire.frame_bounds import FrameBounds
from audiohook.wire.frames import Message, WebSocket

MAX_MESSAGE_BYTES = 5000
KEY = b"\x5a\xa5\x0f\xf0"


def plain_wsproto() -> WebSocket:
    """A WebSocket that hands every byte to wsproto."""
    socket = WebSocket(client=False, max_message_bytes=MAX_MESSAGE_BYTES)
    socket._haste = False
    return socket


def said(socket: WebSocket, pieces: list[bytes], close_after: int | None) -> tuple[list[Message], bool, bool]:
    messages: list[Message] = []
    for number, piece in enumerate(pieces):
        if number == close_after:
            socket.close(1000)
        messages += socket.receive_data(piece)
    return messages, socket.closing, socket.failed


LENGTHS = st.sampled_from([0, 1, 3, 4, 5, 60, 124, 125, 126, 127, 160, 319, 320, 321, 322, 323, 1600, 3203, 4999, 5000])
PAYLOADS = st.binary(max_size=130) | LENGTHS.map(lambda length: random.Random(length).randbytes(length))
KEYS = st.sampled_from([KEY, bytes(4)]) | st.binary(min_size=4, max_size=4)
AUDIO = st.builds(masked_frame, PAYLOADS, KEYS)
OTHERS = st.builds(
    masked_frame,
    PAYLOADS | st.just(bytes(5001)) | st.just(b"text") | st.just(b"\x03\xe8bye"),
    KEYS,
    opcode=st.sampled_from([0x0, 0x1, 0x2, 0x8, 0x9, 0xA, 0x3, 0x12, 0x42]),
    fin=st.booleans(),
)
ODD = st.sampled_from(
    [
        b"\x82\x05abcde",  # not masked
        b"\x82\xfe\x00\x7d" + KEY + bytes(125),  # a length that is not written in the shortest way
        b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05" + KEY + b"abcde",
        b"\x82\xff" + b"\xff" * 8 + KEY,
        b"\x82",
        b"\x82\x85" + KEY,
    ]
)


@settings(max_examples=600)
@given(
    st.lists(AUDIO | AUDIO | OTHERS | ODD | st.binary(max_size=12), max_size=12),
    st.randoms(use_true_random=False),
    st.none() | st.integers(0, 5),
)
def test_haste_changes_nothing_in_any_cut(frames: list[bytes], chance: random.Random, close_after: int | None) -> None:
    data = b"".join(frames)
    cuts = sorted(chance.sample(range(len(data) + 1), min(len(data) + 1, chance.randrange(8))))
    pieces = [data[low:high] for low, high in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    plain = said(plain_wsproto(), pieces, close_after)
    assert said(WebSocket(client=False, max_message_bytes=MAX_MESSAGE_BYTES), pieces, close_after) == plain
    if close_after is None:
        assert said(WebSocket(client=False, max_message_bytes=MAX_MESSAGE_BYTES), [data], None) == plain


@pytest.mark.parametrize("length", [*range(9), 124, 125, 126, 127, *range(318, 330), 1600, 4999, 5000])
def test_audio_is_taken_without_wsproto(length: int) -> None:
    payload = random.Random(length).randbytes(length)
    data = masked_frame(payload, KEY) * 3
    messages: list[bytes] = []
    assert take_audio(data, 0, MAX_MESSAGE_BYTES, messages) == len(data)
    assert messages == [payload] * 3
    assert all(type(message) is bytes for message in messages)


@pytest.mark.parametrize(
    "other",
    [
        masked_frame(b"ping", KEY, opcode=0x9),
        masked_frame(b"text", KEY, opcode=0x1),
        masked_frame(b"begun", KEY, fin=False),
        masked_frame(bytes(5001), KEY),
        masked_frame(b"cut", KEY)[:-1],
        masked_frame(bytes(NUMPY_FROM_BYTES), KEY)[:-1],
        b"\x82",
        b"\xc2\x80" + KEY,
    ],
)
def test_what_is_no_whole_audio_is_left_where_it_is(other: bytes) -> None:
    audio = masked_frame(b"audio", KEY)
    messages: list[bytes] = []
    assert take_audio(audio + other, 0, MAX_MESSAGE_BYTES, messages) == len(audio)
    assert messages == [b"audio"]


@given(st.lists(AUDIO | OTHERS, max_size=8), st.data())
def test_bounds_are_the_frames_own_in_any_cut(frames: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frames)
    ends = {sum(len(frame) for frame in frames[: number + 1]) for number in range(len(frames))}
    bounds = FrameBounds()
    done = 0
    while done < len(whole):
        piece = whole[done : done + data.draw(st.integers(1, 300))]
        at = 0
        while at < len(piece):
            behind = bounds.frame_end(piece, at)
            assert behind > at
            at = behind
            assert bounds.at_boundary is (done + at in ends)
        done += len(piece)


def test_an_open_message_is_noticed_and_forgotten() -> None:
    bounds = FrameBounds()
    for opcode, fin, expected in (
        (1, False, True),
        (9, True, True),
        (0, False, True),
        (0, True, False),
        (2, True, False),
    ):
        frame = masked_frame(b"x", KEY, opcode=opcode, fin=fin)
        assert bounds.frame_end(frame, 0) == len(frame)
        assert bounds.message_open is expected
