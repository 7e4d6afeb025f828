"""Policy `self_delimited`: the messages are a byte stream of self-delimited packets (RFC 6716 appendix B).

Such a packet is a packet of section 3 with one length more, which says where its last Opus frame ends (where all Opus
frames of a packet are of one size: how large each is). It stands behind the lengths that the packet has anyway; without
it the packet is the one that libopus takes. So the messages' bounds mean nothing: one packet a message, several, or cut
anywhere, they come out the same.

What is malformed: a length is 1275 at most by its coding (R2), so what bytes can break is R5 only (no Opus frames, or
more than 120 ms), and LARGEST_BYTES, without which a padding length of nothing but 255s would be held for ever. Nobody
knows then where the next packet starts. What is held and the rest of that message become one packet that libopus
refuses, so one packet's time is concealed, and the next message's first byte is taken for the first of a packet. A peer
whose messages begin with a packet is understood again from there.

A length that is wrong and possible is not seen at once: bytes of sound are taken for packets until R5 is broken, which
they do within some packets (one in four has code 3, and few counts are legal), and then as above. The format has no
mark to search for; a search that guesses finds packets in any sound (`framing.py`).

Pure; one object a stream; holds less than one packet, LARGEST_BYTES at most.
"""

from typing import NamedTuple

from audiohook.codec.opus_packet import FRAME_US, MAX_PACKET_US, parse, read_padding, read_size

LARGEST_BYTES = 65_535
"""The largest packet that is understood. The most Opus frames there can be, 48 of 1275 bytes, need 61,300; padding, to
which the RFC sets no bound, has the rest."""

_HEAD_BYTES = 2 + 259 + 2 * 48
"""TOC and frame count, the padding length of a packet of LARGEST_BYTES, 48 lengths: no head is longer."""


class _Measured(NamedTuple):
    """How long a self-delimited packet is, and where in it the length stands that the other form does not have.

    A NamedTuple, since one is made for every packet.
    """

    total_bytes: int
    extra_first: int
    extra_end: int


_MALFORMED = _Measured(LARGEST_BYTES + 1, 0, 0)


class SelfDelimitedFraming:
    """Policy `self_delimited`."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def cut(self, message: bytes) -> list[bytes]:
        data = self._held + message
        packets = []
        at = 0
        while at < len(data):
            measured = _measure(data[at : at + _HEAD_BYTES])
            if measured is None:
                break
            end = at + measured.total_bytes
            if measured.total_bytes > LARGEST_BYTES:
                packets.append(_refused(data[at:]))
                at = len(data)
            elif end > len(data):
                break
            else:
                packets.append(data[at : at + measured.extra_first] + data[at + measured.extra_end : end])
                at = end
        self._held = data[at:]
        return packets

    def remainder(self) -> bytes:
        return self._held


def self_delimited(packet: bytes) -> bytes:
    """Return a packet of section 3 in the form of appendix B. Raises ValueError if it is none.

    For who sends; `SelfDelimitedFraming` is the way back.
    """
    shape = parse(packet)
    if shape is None:
        raise ValueError(f"{len(packet)} bytes that are no Opus packet")
    head = len(packet) - shape.padding_bytes - sum(shape.sizes)
    size = shape.sizes[-1]
    # Section 3.2.1: two bytes from 252 on, of which the first alone has the two lowest bits.
    length = bytes([size]) if size < 252 else bytes([252 + size % 4, (size - 252) // 4])
    return packet[:head] + length + packet[head:]


def _measure(head: bytes) -> _Measured | None:
    """Measure the packet that starts with `head`, its first _HEAD_BYTES; None if more has to be known of it first."""
    code = head[0] & 3
    count, at, padding = (1 if code == 0 else 2), 1, 0
    each = code != 1
    """Whether every Opus frame has a length of its own."""
    if code == 3:
        if len(head) < 2:
            return None
        count, at, each = head[1] & 0x3F, 2, bool(head[1] & 0x80)
        if count == 0 or count * FRAME_US[head[0] >> 3] > MAX_PACKET_US:
            return _MALFORMED
        if head[1] & 0x40:
            padded = read_padding(head, at)
            if padded is None:
                return _unfinished(head)
            at, padding = padded
    sound = 0
    first = at
    for _ in range(count if each else 1):
        first = at
        read = read_size(head, at, len(head))
        if read is None:
            return _unfinished(head)
        at, size = read
        sound += size
    return _Measured(at + (sound if each else sound * count) + padding, first, at)


def _unfinished(head: bytes) -> _Measured | None:
    return None if len(head) < _HEAD_BYTES else _MALFORMED


def _refused(rest: bytes) -> bytes:
    """Return bytes of the same length that libopus refuses as a packet of code 3 without Opus frames (R5).

    `rest` begins with a code 3 packet that breaks R5 or is too large. As it is, libopus could take the latter for one.
    """
    return rest[:1] + b"\0" + rest[2:]
