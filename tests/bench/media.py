"""What the calls of the bench say: packets of one length of time, made ahead, the same in every run.

A `Media` has what a server must know (its kind, as the programs in C and in `peers/` call it) and what the driver must
(the packets, how often). Speech-like sound, so that the decoder works as it does on telephones; PCMU has two channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiohook.codec import pcmu
from audiohook.units import SAMPLE_BYTES
from tests.support.memory import Samples
from tests.support.opus_streams import decoded, packets, sound

RING_SECONDS = 2
HEADER_BYTES = 64


@dataclass(frozen=True, slots=True)
class Media:
    """One kind of packets. `bitrate_bps` and `constant` are the Opus encoder's."""

    name: str
    kind: str
    rate_hz: int
    channels: int
    packet_ms: int
    bitrate_bps: int = 0
    constant: bool = False

    @property
    def packet_frames(self) -> int:
        return self.rate_hz * self.packet_ms // 1000

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot in a peer's RINGFILE."""
        return HEADER_BYTES + RING_SECONDS * self.rate_hz * self.channels * SAMPLE_BYTES

    @property
    def is_opus(self) -> bool:
        return self.kind != "pcmu"

    def packets(self) -> tuple[bytes, ...]:
        """Return the packets that each call sends, over and over."""
        if self.is_opus:
            return packets("speech", self.rate_hz, self.packet_ms, self.bitrate_bps, self.constant)
        frames = self.rate_hz * self.channels * RING_SECONDS
        coded = pcmu.encode(np.frombuffer(sound("speech", self.rate_hz, frames), np.int16))
        step = self.packet_frames * self.channels
        return tuple(coded[at : at + step] for at in range(0, len(coded), step))

    def decoded(self, sent: Sequence[bytes]) -> Samples:
        """Return what a ring must have of such packets, channels interleaved."""
        if self.is_opus:
            return decoded(sent, self.rate_hz)
        return pcmu.DECODED[np.frombuffer(b"".join(sent), np.uint8)]

    @property
    def about(self) -> str:
        sizes = [len(packet) for packet in self.packets()]
        coding = f"Opus {self.rate_hz // 1000} kHz" if self.is_opus else "PCMU stereo"
        return f"{coding}, {self.packet_ms} ms, {round(np.mean(sizes))} bytes"


OPUS_16K = Media("opus16k", "opus16k", 16_000, 1, 20, 21_300)
OPUS_8K = Media("opus8k", "opus8k", 8000, 1, 20, 56_000, constant=True)
PCMU_20, PCMU_100, PCMU_200 = (Media(f"pcmu-{ms}", "pcmu", 8000, 2, ms) for ms in (20, 100, 200))

USUAL = (OPUS_16K, PCMU_100)
ALL = (OPUS_16K, PCMU_100, OPUS_8K, PCMU_20, PCMU_200)
