"""What a reader asks of `blocks()`, of one stream or of all: one value, and what is made of it for each stream."""

from dataclasses import dataclass, replace
from typing import Literal

from audiohook.memory.block import Cutter
from audiohook.memory.place import Gaps, Place, Start, check_rules
from audiohook.memory.resampled import Converter, Dtype, check_conversion, import_soxr
from audiohook.memory.timeline import Timeline

OnOverrun = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """The arguments of `blocks()`, as its docstring explains them."""

    frames: int = 512
    start: Start = "live"
    gaps: Gaps = "silence"
    copy: bool = False
    rate: int | None = None
    dtype: Dtype = "int16"

    def check(self) -> None:
        """Raise at once what would otherwise come with the first stream: ValueError, or ImportError without soxr."""
        check_rules(self.start, self.gaps)
        check_conversion(self.frames, self.rate, self.dtype)
        if self.rate is not None:
            import_soxr()

    def starting(self, start: Start) -> "BlockOptions":
        """Return the same, from another place on."""
        return replace(self, start=start)

    def converter(self, timeline: Timeline, native_hz: int, channels: int) -> Converter | None:
        """Return what converts the blocks of a stream, None where they are handed out as they are.

        Raises ValueError for what cannot be, ImportError where soxr is missing.
        """
        if self.rate is None and self.dtype == "int16":
            return None
        joined = self.gaps == "skip"
        return Converter(timeline, native_hz, channels, self.frames, self.rate, self.dtype, joined=joined)

    def place(self, timeline: Timeline, cutter: Cutter, native_hz: int, converter: Converter | None) -> Place:
        """Return a place in a stream, for blocks as its converter wants them if it has one.

        Raises ValueError for what cannot be, Overrun where the stream is gone.
        """
        frames = self.frames if converter is None else converter.chunk_frames
        copy = self.copy or converter is not None
        return Place(timeline, cutter, native_hz, frames, self.start, self.gaps, copy=copy)
