"""A window of a stream: how one is cut out of the ring, with or without a copy, and when it may be believed.

Knows the ring's samples and a `Timeline`; waits for nothing. The rule of validity (LAYOUT.md, "Publishing"): use the
view, then load `claim`; every byte that the writer may have touched since lies before `claim - ring_bytes`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from audiohook.memory.mirror import MirroredRing
from audiohook.memory.timeline import Gap, Span, Timeline
from audiohook.units import SAMPLE_BYTES

Samples = npt.NDArray[np.int16]


class Block:
    """Consecutive frames of one stream.

    `samples`: int16, shape (frames, channels), read-only; with `blocks(rate=..., dtype=...)` what was asked for, and
    writable.

    .. warning::
       `samples` is a view of the ring itself. The writer comes round again after `hub.ring_seconds`; from then on the
       view shows other audio. Use it at once, or ask `still_valid()` **after** the use: True means that nothing in the
       view had changed by then. `blocks()` asks for the previous block by itself and raises `Overrun`. To keep samples,
       copy them (`blocks(copy=True)`), and to give them to torch, which wants writable memory, likewise.
    """

    __slots__ = ("_claim_limit", "_timeline", "arrival_ns", "first_frame", "gaps", "samples")

    def __init__(
        self,
        timeline: Timeline,
        samples: npt.NDArray[Any],
        first_byte: int | None,
        first_frame: int,
        arrival_ns: int,
        gaps: tuple[Gap, ...],
    ) -> None:
        self._timeline = timeline
        self._claim_limit = None if first_byte is None else first_byte + timeline.ring_bytes
        self.samples = samples
        self.first_frame = first_frame
        """The frame of the stream, at the stream's own rate, with which the block begins."""
        self.arrival_ns = arrival_ns
        """CLOCK_MONOTONIC, when the packet with the block's last frame was read from its socket."""
        self.gaps = gaps
        """The gaps that lie in this block's span of the timeline, cut to it; with `gaps="skip"` those jumped over."""

    @property
    def frames(self) -> int:
        return len(self.samples)

    @property
    def is_view(self) -> bool:
        """Whether `samples` lies in the ring itself; otherwise this block owns them."""
        return self._claim_limit is not None

    def still_valid(self) -> bool:
        """Return whether nothing in `samples` had been overwritten at the time of this call. Copies always are."""
        return self._claim_limit is None or self._timeline.claim <= self._claim_limit

    def __repr__(self) -> str:
        return f"<Block {self.first_frame}+{self.frames}>"


class Cutter:
    """Cuts windows out of one stream's ring."""

    def __init__(self, timeline: Timeline, ring: MirroredRing, channels: int) -> None:
        self._timeline = timeline
        self._ring_bytes, self._frame_bytes = timeline.ring_bytes, timeline.frame_bytes
        # Whole frames: a stream begins at a multiple of FRAME_ALIGN_BYTES (pool.py), and rings are whole pages.
        self._samples: Samples = np.asarray(ring).reshape(-1, timeline.frame_bytes // SAMPLE_BYTES)
        self._channels = channels

    def view(self, first_byte: int, frames: int) -> Samples:
        """Return `frames` from a ring position on, in one piece, whatever the length (up to the ring's)."""
        at = first_byte % self._ring_bytes // self._frame_bytes
        window: Samples = self._samples[at : at + frames]
        return window

    def cut(self, first: int, end: int, newest: Span) -> Block:
        """Return frames `first` to `end` as they lie on the timeline, gaps as silence.

        A view, unless a gap in it is longer than the silence that is stored for it: then a copy with zeros.
        The caller checks that the frames exist; whether they were still there, `still_valid()` says.
        """
        timeline = self._timeline
        span = last = newest
        if first < newest.media_first:
            span = timeline.span_at(first, newest)
            if end <= newest.media_first:
                last = span if end <= span.media_end else timeline.span_at(end - 1, newest)
        first_byte = timeline.ring_byte(first, span)
        if span.gap_frames_before(first) == last.gap_frames_before(end):
            return Block(timeline, self.view(first_byte, end - first), first_byte, first, last.arrival_ns, ())
        spans = timeline.gap_spans(first, end, newest)
        gaps = tuple(gap_of(span, first, end) for span in spans)
        if all(not span.skip or first >= span.media_first + span.skip for span in spans):
            return Block(timeline, self.view(first_byte, end - first), first_byte, first, last.arrival_ns, gaps)
        samples = np.zeros((end - first, self._channels), np.int16)
        # What lies between two gaps lies in one piece, and ends where the later one begins.
        low, byte = first, first_byte
        for gap in spans:
            high = max(first, gap.media_first)
            samples[low - first : high - first] = self.view(byte, high - low)
            low, byte = min(end, gap.media_end), timeline.ring_byte(gap.media_end, gap)
        samples[low - first :] = self.view(byte, end - low)
        return self.owned(samples, first_byte, first, last.arrival_ns, gaps)

    def gather(self, first: int, wanted_frames: int, newest: Span) -> tuple[Block, int]:
        """Return up to `wanted_frames` of audio from `first` on, jumping over gaps, and the frame behind the last one.

        In one piece it is a view, joined it is a copy. Fewer frames than wanted (or none) if there are no more yet.
        """
        timeline = self._timeline
        pieces: list[tuple[int, int, Span]] = []
        gaps = []
        missing, end = wanted_frames, first
        for span in timeline.spans(first, newest.media_end, newest, wanted_frames):
            if not missing:
                break
            low = max(end, span.media_first)
            if span.is_gap:
                end = span.media_end
                gaps.append(span.gap(low, end))
                continue
            end = min(span.media_end, low + missing)
            missing -= end - low
            pieces.append((low, end, span))
        frames = wanted_frames - missing
        arrival_ns = pieces[-1][2].arrival_ns if pieces else newest.arrival_ns
        if not pieces:
            return Block(timeline, self.view(newest.ring_first, 0), None, first, arrival_ns, tuple(gaps)), end
        first_byte = timeline.ring_byte(pieces[0][0], pieces[0][2])
        first_frame = pieces[0][0]
        if pieces[-1][1] - first_frame == frames:
            block = Block(timeline, self.view(first_byte, frames), first_byte, first_frame, arrival_ns, tuple(gaps))
            return block, end
        samples = np.concatenate([self.view(timeline.ring_byte(low, span), high - low) for low, high, span in pieces])
        return self.owned(samples, first_byte, first_frame, arrival_ns, tuple(gaps)), end

    def owned(self, samples: Samples, first_byte: int, first: int, arrival_ns: int, gaps: tuple[Gap, ...]) -> Block:
        """Return a block that owns its samples, copied from `first_byte` on. Recycled if they were gone by then."""
        self._timeline.check_byte(first_byte)
        samples.flags.writeable = False
        return Block(self._timeline, samples, None, first, arrival_ns, gaps)


def gap_of(span: Span, first: int, end: int) -> Gap:
    """Return a gap span, cut to the frames from `first` to `end`."""
    low = max(first, span.media_first)
    return span.gap(low, min(end, span.media_end))
