"""What an Opus packet says about itself, by the rules of RFC 6716 section 3, without decoding it.

A packet is a TOC byte (configuration, stereo bit, frame count code), lengths, Opus frames and padding. All seven
requirements of section 3.4 (R1 to R7) are checked, so that a packet that `parse` accepts is one that libopus parses,
and the other way round (tests/unit/test_codec_opus_packet.py asks libopus).

Pure arithmetic on bytes; never raises for what a packet contains. An *Opus frame* here is RFC 6716's (a coded piece of
2.5 to 60 ms); a plain frame is one sample per channel, as everywhere else.
"""

from dataclasses import dataclass

MAX_FRAME_BYTES = 1275
MAX_PACKET_US = 120_000

# RFC 6716 table 2: configurations 0-11 are SILK, 12-15 hybrid, 16-31 CELT.
_SILK_US = (10_000, 20_000, 40_000, 60_000)
_HYBRID_US = (10_000, 20_000)
_CELT_US = (2_500, 5_000, 10_000, 20_000)
FRAME_US = _SILK_US * 3 + _HYBRID_US * 2 + _CELT_US * 4
"""How long an Opus frame of each configuration lasts."""


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """A packet's shape. `config` is RFC 6716 table 2's number, `sizes` the bytes of each Opus frame (0 = DTX, lost)."""

    config: int
    stereo: bool
    sizes: tuple[int, ...]
    padding_bytes: int

    @property
    def duration_us(self) -> int:
        """How long the packet lasts, in microseconds: 2,500 to 120,000."""
        return FRAME_US[self.config] * len(self.sizes)

    def frames(self, rate_hz: int) -> int:
        """Return how many frames the packet decodes to at `rate_hz` (8, 12, 16, 24 or 48 kHz: no remainder)."""
        return self.duration_us * rate_hz // 1_000_000


def parse(packet: bytes) -> OpusPacket | None:
    """Return the packet's shape, or None if it breaks one of R1 to R7."""
    if not packet:  # R1
        return None
    toc = packet[0]
    body = len(packet) - 1
    padding = 0
    sizes: tuple[int, ...] | None
    match toc & 3:
        case 0:
            sizes = (body,)
        case 1:
            sizes = (body // 2, body // 2) if body % 2 == 0 else None  # R3
        case 2:
            sizes = _explicit_sizes(packet, 1, 2, body)  # R4
        case _:
            sizes, padding = _counted(packet)
    if sizes is None or max(sizes) > MAX_FRAME_BYTES:  # R2
        return None
    return OpusPacket(config=toc >> 3, stereo=bool(toc & 4), sizes=sizes, padding_bytes=padding)


def packet_frames(packet: bytes, rate_hz: int) -> int | None:
    """Return how many frames `packet` decodes to at `rate_hz`, or None if it is not a valid Opus packet."""
    if packet and not packet[0] & 3 and len(packet) <= 1 + MAX_FRAME_BYTES:
        # One Opus frame, as nearly all are: what `parse` finds at five times the cost, where a worker is late.
        return FRAME_US[packet[0] >> 3] * rate_hz // 1_000_000
    shape = parse(packet)
    return None if shape is None else shape.frames(rate_hz)


def _counted(packet: bytes) -> tuple[tuple[int, ...] | None, int]:
    """Read a code 3 packet: TOC, frame count byte, padding length, lengths if VBR, Opus frames, padding."""
    if len(packet) < 2:
        return None, 0
    count = packet[1] & 0x3F
    if count == 0 or count * FRAME_US[packet[0] >> 3] > MAX_PACKET_US:  # R5
        return None, 0
    at = 2
    padding = 0
    if packet[1] & 0x40:
        measured = read_padding(packet, at)
        if measured is None:
            return None, 0
        at, padding = measured
    rest = len(packet) - at - padding
    if rest < 0:  # R6, R7
        return None, 0
    if packet[1] & 0x80:
        return _explicit_sizes(packet, at, count, rest), padding  # R7
    return ((rest // count,) * count if rest % count == 0 else None), padding  # R6


def read_padding(packet: bytes, at: int) -> tuple[int, int] | None:
    """Return the place behind the padding's length and that length; 255 means 254 and another byte. None: cut off."""
    padding = 0
    while at < len(packet):
        value = packet[at]
        at += 1
        padding += min(value, 254)
        if value != 255:
            return at, padding
    return None


def read_size(packet: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Return the place behind an Opus frame's length and that length (section 3.2.1: 0 to 1275). None: cut off."""
    if at >= end:
        return None
    size = packet[at]
    if size < 252:
        return at + 1, size
    return None if at + 1 >= end else (at + 2, size + 4 * packet[at + 1])


def _explicit_sizes(packet: bytes, at: int, count: int, available: int) -> tuple[int, ...] | None:
    """Read `count` - 1 lengths at `at`; the last Opus frame is the rest of `available` (lengths included)."""
    sizes = []
    end = at + available
    for _ in range(count - 1):
        read = read_size(packet, at, end)
        if read is None:
            return None
        at, size = read
        sizes.append(size)
    last = end - at - sum(sizes)
    return None if last < 0 else (*sizes, last)
