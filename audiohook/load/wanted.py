"""What a scenario's stream must sound like, one class a codec. Knows no hub and no gap's reason.

Of PCMU it is a function of media time: frame f of a call always carries the same two samples, whatever was paused,
discarded or offered again. Opus cannot be cut so: there the connection's packets are decoded one after another, also
those whose audio nobody may hear.
"""

from typing import Protocol

import numpy as np

import audiohook
from audiohook.codec import pcmu
from audiohook.codec.opus import OpusDecoder
from audiohook.load.acting import OPUS_FRAMES, OPUS_RATE_HZ, Connection, expected_frames
from audiohook.load.check import ExpectedPcm, Samples

CHUNK_FRAMES = 4000
DECODED_AND_UNHEARD = "masked"
"""The cause of gaps whose packets the daemon has decoded all the same, for the decoder's sake."""


class Wanted(Protocol):
    """Asked for in the order of media time. `sent_frames` is how much the connection has sent."""

    sent_frames: int

    def take(self, first_frame: int, frames: int) -> Samples:
        """Return the audio of `frames` frames (at most CHUNK_FRAMES) from media frame `first_frame` on."""

    def pass_over(self, gap: audiohook.Gap) -> None:
        """Leave out the audio that was sent for a gap."""


class WantedPcmu:
    """Through the encoder and back, as it is heard."""

    def __init__(self, connection: Connection, speech: Samples) -> None:
        self.sent_frames = connection.sent_frames
        self._speech = speech

    def take(self, first_frame: int, frames: int) -> Samples:
        samples = expected_frames(self._speech, first_frame, frames)
        heard: Samples = pcmu.DECODED[np.frombuffer(pcmu.encode(samples), np.uint8)].reshape(samples.shape)
        return heard

    def pass_over(self, gap: audiohook.Gap) -> None:
        """Media time has passed, and that is all there is to know."""


class WantedOpus:
    """The connection's packets, decoded as the daemon must have decoded them."""

    def __init__(self, connection: Connection, rate_hz: int) -> None:
        packet_frames = OPUS_FRAMES * rate_hz // OPUS_RATE_HZ
        self.sent_frames = len(connection.packets) * packet_frames
        self._expected = ExpectedPcm(iter(connection.packets), OpusDecoder(rate_hz, 1), packet_frames)

    def take(self, first_frame: int, frames: int) -> Samples:
        found = self._expected.take(frames)
        return np.concatenate([found, np.zeros((frames - len(found), 1), np.int16)])

    def pass_over(self, gap: audiohook.Gap) -> None:
        if gap.cause != DECODED_AND_UNHEARD:
            self._expected.leave_out(gap.frames)
            return
        for place in range(0, gap.frames, CHUNK_FRAMES):
            self._expected.take(min(CHUNK_FRAMES, gap.frames - place))


def wanted_of(stream: audiohook.Stream, connection: Connection, speech: Samples) -> Wanted:
    """Return what `stream` must sound like, which came of `connection`."""
    if stream.codec == "opus":
        return WantedOpus(connection, stream.sample_rate)
    return WantedPcmu(connection, speech)
