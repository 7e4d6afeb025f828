"""codec/framing.py, codec/recut.py and codec/opus_packet.py: no byte is lost, added or moved, every packet is judged.

The first byte of an input chooses the policy; the rest is a stream of audio, cut into messages in several ways.
"""

from collections.abc import Iterable

from audiohook.codec.framing import framing_for
from audiohook.codec.framing_self_delimited import LARGEST_BYTES, self_delimited
from audiohook.codec.opus_packet import MAX_FRAME_BYTES, MAX_PACKET_US, packet_frames, parse
from audiohook.codec.recut import SMALLEST_BYTES, packet_size
from tests.fuzz.target import Pieces, chance, random_cut

SIZES = (1, 2, 3, 40, 60, 120, 160, 1274, MAX_FRAME_BYTES)
RATES_HZ = (8000, 12_000, 16_000, 24_000, 48_000)

TOKENS = (b"\xff\xff", b"\x03\x41\xff\xff", b"\x83\xbf", b"\xfb\x30", b"\x02\xfc\xff", bytes(1275), bytes(1276))


def seeds() -> Iterable[Pieces]:
    for number, size in enumerate(SIZES):
        yield [bytes([number]), *(bytes([0x48, turn]) * (size // 2) for turn in range(4))]
    # Packets with one, two equal, two different, and counted frames: RFC 6716 section 3.2.
    packets = [b"\x08abc", b"\x09abab", b"\x0a\x01abb", b"\x0b\x83\x01\x01abc", b"\x0b\x43\x02abc\x00\x00"]
    yield [b"\x00", *packets]
    yield [b"\x00", *map(self_delimited, packets)]


def check(data: bytes) -> None:
    if not data:
        return
    size = SIZES[data[0] % len(SIZES)]
    stream = data[1:]
    choice = chance(data)
    for _ in range(2):
        messages = random_cut(stream, choice)
        if choice.random() < 0.3:
            messages.insert(int(choice.random() * (len(messages) + 1)), b"")
        _check_message(messages)
        _check_fixed(messages, stream, size)
        _check_self_delimited(messages)
        _check_recut(messages, stream)
        for message in messages:
            _check_packet(message)


def _check_message(messages: list[bytes]) -> None:
    framing = framing_for("message")
    for message in messages:
        assert framing.cut(message) == [message]
        assert framing.remainder() == b""


def _check_fixed(messages: list[bytes], stream: bytes, size: int) -> None:
    framing = framing_for(f"fixed:{size}")
    packets = []
    for message in messages:
        packets += framing.cut(message)
        assert len(framing.remainder()) < size
    assert all(len(packet) == size for packet in packets)
    assert b"".join(packets) + framing.remainder() == stream, "not what was sent"


def _check_self_delimited(messages: list[bytes]) -> None:
    """A byte is in a packet, is a length that only this form has (two bytes at most a packet), or is held."""
    framing = framing_for("self_delimited")
    for message in messages:
        before = len(framing.remainder()) + len(message)
        packets = framing.cut(message)
        after = len(framing.remainder()) + sum(map(len, packets))
        assert before - 2 * len(packets) <= after <= before
        assert len(framing.remainder()) <= LARGEST_BYTES
        for packet in packets[-1:]:
            if parse(packet) is not None:
                assert framing_for("self_delimited").cut(self_delimited(packet)) == [packet]


def _check_recut(messages: list[bytes], stream: bytes) -> None:
    sizes = [len(message) for message in messages if message]
    found = packet_size(stream, sizes)
    assert found is None or SMALLEST_BYTES <= found <= MAX_FRAME_BYTES


def _check_packet(packet: bytes) -> None:
    shape = parse(packet)
    if shape is None:
        assert packet_frames(packet, 16_000) is None
        return
    assert 2_500 <= shape.duration_us <= MAX_PACKET_US
    assert all(0 <= size <= MAX_FRAME_BYTES for size in shape.sizes)
    assert sum(shape.sizes) + shape.padding_bytes < len(packet)
    for rate_hz in RATES_HZ:
        assert shape.frames(rate_hz) * 1_000_000 == shape.duration_us * rate_hz
