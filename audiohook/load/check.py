"""Compares what the shared memory has of one call with a decode of the packets that were sent, sample by sample.

The expected PCM comes from a decoder of this call's own, fed the call's whole sequence of packets in order: the state
of an Opus decoder is its history, so no decode can be shared between calls. It is made lazily, as far as blocks have
come. A frame is verified if the samples of all its channels are equal.

Knows no hub, no process and no clock. `StreamCheck.on_block` may be given the blocks of a stream in any cut; what it
makes of each is in `reports.StreamVerdict`. Tests: tests/unit/test_load_check.py.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from audiohook import Gap
from audiohook.load.reports import StreamVerdict

Samples = npt.NDArray[np.int16]
"""Shape (frames, channels)."""

NOT_SENT = frozenset({"paused", "discarded"})
"""Causes of gaps that the client has announced: no packet was sent for them, so none is left out."""

AWAY = NOT_SENT | {"lost"}
"""The same for a stream that continues another: its peer was away between the two, and sent nothing."""

CHUNK_FRAMES = 8000
"""Frames compared at once, so that a block of any length needs no more memory than this."""


LONGEST_PACKET_FRAMES = 5760
"""120 ms at 48 kHz: room for any Opus packet."""


class Decoder(Protocol):
    """What is used of the decoders of `codec/`."""

    def decode_into(self, payload: bytes, address: int) -> int: ...


class ExpectedPcm:
    """The samples that a stream must have: `packets` decoded one after another, handed out in any lengths."""

    def __init__(self, packets: Iterator[bytes], decoder: Decoder, packet_frames: int, channels: int = 1) -> None:
        """`packet_frames` is how long each packet is at the decoder's rate."""
        self._packets = packets
        self._decoder = decoder
        self._packet_frames = packet_frames
        self._samples: Samples = np.zeros(
            (CHUNK_FRAMES + max(packet_frames, LONGEST_PACKET_FRAMES), channels), np.int16
        )
        self._address = self._samples.ctypes.data
        self._first = 0
        self._end = 0
        self._left_out = 0
        """Frames of the packet left out last that lie behind the gap's part that was told."""

    def take(self, frames: int) -> Samples:
        """Return the next `frames` (≤ CHUNK_FRAMES) samples, fewer only at the end; valid until the next call."""
        self._left_out = 0
        self._samples[: self._end - self._first] = self._samples[self._first : self._end].copy()
        self._first, self._end = 0, self._end - self._first
        while self._end < frames:
            packet = next(self._packets, None)
            if packet is None:
                break
            made = self._decoder.decode_into(packet, self._address + self._end * self._samples.strides[0])
            if made < 0:
                raise ValueError(f"libopus refused a packet that it has made itself ({made})")
            self._end += made
        self._first = min(frames, self._end)
        return self._samples[: self._first]

    def leave_out(self, frames: int) -> None:
        """Go on behind `frames` that the daemon did not decode: their packets never reach the decoder.

        A gap may come in several parts that end within a packet; the packet is left out whole with the first of them
        (test_a_gap_is_told_by_cause_and_what_follows_is_verified, in blocks of 100 frames).
        """
        part = min(frames, self._end - self._first)
        self._first += part
        rest = frames - part - self._left_out
        packets = max(0, -(-rest // self._packet_frames))
        for _ in range(packets):
            next(self._packets, None)
        self._left_out = packets * self._packet_frames - rest


class StreamCheck:
    """One stream's comparison. `next_frame` is how far its timeline has been accounted for."""

    def __init__(
        self,
        verdict: StreamVerdict,
        expected: ExpectedPcm,
        *,
        first_frame: int = 0,
        not_sent: frozenset[str] = NOT_SENT,
    ) -> None:
        """`first_frame` is where the timeline begins; no packet is left out for a gap whose cause is in `not_sent`."""
        self.verdict = verdict
        self.next_frame = first_frame
        self._first_frame = first_frame
        self._not_sent = not_sent
        self._expected = expected

    def on_block(self, first_frame: int, samples: Samples, gaps: Sequence[Gap] = ()) -> None:
        """Account for a block: `samples` from `first_frame` on, of which `gaps` are no audio."""
        end = first_frame + len(samples)
        if first_frame < self.next_frame:
            again = min(end, self.next_frame) - first_frame
            self.verdict.repeated += again
            samples = samples[again:]
            first_frame += again
        if len(samples) == 0:
            return
        self.miss(first_frame - self.next_frame)
        for gap in gaps:
            start = max(gap.first_frame, self.next_frame)
            stop = min(gap.first_frame + gap.frames, end)
            if start < stop:
                self._compare(samples[self.next_frame - first_frame : start - first_frame])
                self._leave_out(stop - start, gap.cause)
        self._compare(samples[self.next_frame - first_frame :])

    def miss(self, frames: int) -> None:
        """Account for `frames` that never came although the daemon has decoded them."""
        self.verdict.missing += frames
        self._advance(frames)
        while frames > 0:
            part = min(frames, CHUNK_FRAMES)
            self._expected.take(part)
            frames -= part

    def finish(self, sent_frames: int) -> None:
        """The stream has been read to its end: what is short of `sent_frames` will never come."""
        self.verdict.missing_tail = max(0, sent_frames + self.verdict.not_sent - self.verdict.length)

    def _leave_out(self, frames: int, cause: str) -> None:
        counts = self.verdict.gap_frames
        counts[cause] = counts.get(cause, 0) + frames
        if cause in self._not_sent:
            self.verdict.not_sent += frames
        else:
            self._expected.leave_out(frames)
        self._advance(frames)

    def _compare(self, samples: Samples) -> None:
        for place in range(0, len(samples), CHUNK_FRAMES):
            part = samples[place : place + CHUNK_FRAMES]
            expected = self._expected.take(len(part))
            surplus = len(part) - len(expected)
            wrong = np.flatnonzero((part[: len(expected)] != expected).any(axis=1))
            verdict = self.verdict
            verdict.surplus += surplus
            verdict.different += len(wrong)
            verdict.verified += len(expected) - len(wrong)
            if len(wrong) and verdict.first_difference < 0:
                verdict.first_difference = self.next_frame + int(wrong[0])
            self._advance(len(part))

    def _advance(self, frames: int) -> None:
        self.next_frame += frames
        self.verdict.length = self.next_frame - self._first_frame
