"""Blocks at another rate, as floats, or both: what speech models want, made of a stream's own blocks.

Knows blocks and soxr, no ring. Invariants: what comes out is what soxr makes of the whole signal in one piece,
whatever pieces it came in (tests/unit/test_resampled.py), so after `flush` there are `n * rate / native rate` frames,
rounded to the nearest; every block but the last has exactly the frames that were asked for, and owns its samples.

Where frames are missing, by `gaps="skip"` or because they were lost, the signal is joined and the resampler goes on:
what comes out is the joined signal, resampled. Rejected: to start it anew at each join, which would let every piece
begin and end with the filter's edge and make the lengths depend on where the joins are.

Theory of operation. Output frame k belongs to input frame k * native // rate, counted in frames that were fed. A deque
of pieces says which media frames these were: a piece is a run of input that is consecutive on the timeline and came
with one block. soxr keeps up to 0.12 s back; pieces and gaps wait here until the output that they belong to is handed
out.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from audiohook.errors import ReaderError
from audiohook.memory.block import Block
from audiohook.memory.timeline import Gap, Timeline, append_gap
from audiohook.memory.waiting import Pause

Dtype = Literal["int16", "float32"]
DTYPES: tuple[Dtype, ...] = ("int16", "float32")

MIN_RATE_HZ, MAX_RATE_HZ = 1000, 384_000
FULL_SCALE = 32_768.0
CHUNKS_A_SECOND = 50
"""A block is fed in pieces of 20 ms at most: what a packet has, so that nothing waits for more than a packet."""

INSTALL = "blocks(rate=...) needs soxr, which is not installed: pip install 'audiohook[resample]'"


class _Piece(NamedTuple):
    """Input frames `first` to `end`, which are the media frames from `media_first` on."""

    first: int
    end: int
    media_first: int
    arrival_ns: int


class Converter:
    """Turns one stream's blocks into others of `frames` frames at `rate_hz` (None: the stream's own) as `dtype`.

    The blocks that are pushed must be copies: a view could be overwritten while it is in use, and there is no way to
    take it out of the filter again. Raises ValueError, and ImportError where soxr is needed and not installed.
    """

    def __init__(
        self,
        timeline: Timeline,
        native_hz: int,
        channels: int,
        frames: int,
        rate_hz: int | None,
        dtype: Dtype,
        *,
        joined: bool,
    ) -> None:
        check_conversion(frames, rate_hz, dtype)
        rate_hz = native_hz if rate_hz is None else rate_hz
        self._timeline = timeline
        self._native_hz, self._rate_hz = native_hz, rate_hz
        self._channels, self._frames, self._dtype = channels, frames, dtype
        self._joined = joined
        self._resampler = None if rate_hz == native_hz else _resampler(native_hz, rate_hz, channels)
        self._ready: deque[npt.NDArray[Any]] = deque()
        self._ready_frames = 0
        self._pieces: deque[_Piece] = deque()
        self._gaps: deque[tuple[int, Gap]] = deque()
        self._fed = 0
        self._given = 0

    @property
    def chunk_frames(self) -> int:
        """How many native frames should be pushed at a time: a whole part of a block, 20 ms at most."""
        needed = -(-self._frames * self._native_hz // self._rate_hz)
        return -(-needed // -(-needed * CHUNKS_A_SECOND // self._native_hz))

    def push(self, block: Block) -> Iterator[Block]:
        """Take in a block and yield those that are complete now."""
        self._take(block)
        samples: npt.NDArray[Any] = block.samples
        if self._dtype == "float32" or self._resampler is not None:
            samples = samples.astype(np.float32) / np.float32(FULL_SCALE)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        yield from self._cut(samples, last=False)

    def flush(self) -> Iterator[Block]:
        """Yield what is left, the last block with fewer frames if need be. Nothing may be pushed afterwards."""
        samples: npt.NDArray[Any] = np.zeros((0, self._channels), np.float32)
        if self._resampler is not None and self._fed:
            samples = self._resampler.resample_chunk(samples, last=True)
        yield from self._cut(samples, last=True)

    # ---------------------------------------------------------------------------------------- where on the timeline

    def _take(self, block: Block) -> None:
        """Note which media frames come in with a block, and its gaps, by the input frame that they come before."""
        media = block.first_frame
        end = self._fed + block.frames
        for gap in block.gaps:
            if not self._joined:
                self._gaps.append((self._fed + gap.first_frame - media, gap))
                continue
            before = gap.first_frame - media
            if before > 0:
                self._piece(before, media, block.arrival_ns)
            media = max(media, gap.first_frame + gap.frames)
            self._gaps.append((self._fed, gap))
        self._piece(end - self._fed, media, block.arrival_ns)

    def _piece(self, frames: int, media_first: int, arrival_ns: int) -> None:
        if frames:
            self._pieces.append(_Piece(self._fed, self._fed + frames, media_first, arrival_ns))
            self._fed += frames

    def _piece_of(self, index: int) -> _Piece:
        """Return the piece with an input frame; those before it are done with."""
        while len(self._pieces) > 1 and self._pieces[0].end <= index:
            self._pieces.popleft()
        return self._pieces[0]

    def _gaps_within(self, first: int, end: int) -> tuple[Gap, ...]:
        """Return the gaps of input frames `first` to `end`: those jumped over there, or the silence cut to it."""
        found: list[Gap] = []
        for at, gap in self._gaps:
            if at >= end:
                break
            if self._joined:
                append_gap(found, gap)
                continue
            low, high = max(first, at), min(end, at + gap.frames)
            if high > low:
                append_gap(found, Gap(gap.first_frame + low - at, high - low, gap.cause, gap.measured))
        while self._gaps and self._gaps[0][0] + (0 if self._joined else self._gaps[0][1].frames - 1) < end:
            self._gaps.popleft()
        return tuple(found)

    # ---------------------------------------------------------------------------------------- blocks

    def _cut(self, samples: npt.NDArray[Any], *, last: bool) -> Iterator[Block]:
        if len(samples):
            self._ready.append(samples)
            self._ready_frames += len(samples)
        while self._ready_frames >= self._frames or (last and self._ready_frames):
            yield self._block(min(self._frames, self._ready_frames))

    def _block(self, frames: int) -> Block:
        first = self._given * self._native_hz // self._rate_hz
        self._given += frames
        end = min(self._fed, max(first + 1, self._given * self._native_hz // self._rate_hz))
        piece = self._piece_of(first)
        first_frame = piece.media_first + first - piece.first
        gaps = self._gaps_within(first, end)
        arrival_ns = self._piece_of(end - 1).arrival_ns
        return Block(self._timeline, self._gather(frames), None, first_frame, arrival_ns, gaps)

    def _gather(self, frames: int) -> npt.NDArray[Any]:
        """Return the next frames in an array of their own, in the dtype that was asked for."""
        gathered = np.empty((frames, self._channels), np.dtype(self._dtype))
        at = 0
        self._ready_frames -= frames
        while at < frames:
            samples = self._ready.popleft()
            taken = min(len(samples), frames - at)
            if taken < len(samples):
                self._ready.appendleft(samples[taken:])
            gathered[at : at + taken] = _as(self._dtype, samples[:taken])
            at += taken
        return gathered


def converted(steps: Iterator[Block | Pause], converter: Converter) -> Iterator[Block | Pause]:
    """Yield a stream's steps with its blocks converted.

    Where reading ends in an error (Overrun, GapFound, WriterGone) what had been read before comes first: it is not lost
    with the error, which counts only what was never read.
    """
    try:
        for step in steps:
            if isinstance(step, Pause):
                yield step
            else:
                yield from converter.push(step)
    except ReaderError:
        yield from converter.flush()
        raise
    yield from converter.flush()


def check_conversion(frames: int, rate_hz: int | None, dtype: str) -> None:
    """Raise ValueError for what no stream can be converted to."""
    if frames < 1:
        raise ValueError(f"frames must be 1 at least, not {frames}")
    if rate_hz is not None and not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise ValueError(f"rate must be from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {rate_hz}")
    if dtype not in DTYPES:
        raise ValueError(f'dtype must be "int16" or "float32", not {dtype!r}')


def import_soxr() -> Any:
    """Return soxr, which is an extra (readers need NumPy only). ImportError says how to install it."""
    try:
        import soxr
    except ImportError as error:
        raise ImportError(INSTALL, name="soxr") from error
    return soxr


def _resampler(native_hz: int, rate_hz: int, channels: int) -> Any:
    # Floats in and out, also for int16: soxr would dither those, and silence would not come out as silence.
    return import_soxr().ResampleStream(native_hz, rate_hz, channels, dtype="float32", quality="HQ")


def _as(dtype: Dtype, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return samples as `dtype`; floats that overshoot full scale (a filter's do) are cut off for int16."""
    if dtype == "int16" and samples.dtype != np.int16:
        return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return samples
