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

    def begin(
        self, timeline: Timeline, cutter: Cutter, native_hz: int, channels: int
    ) -> tuple[Place, Converter | None]:
        """Return a place in a stream, and the converter for its blocks where they are to be converted.

        Raises ValueError for what cannot be, Overrun where the stream is gone, ImportError where soxr is missing.
        """
        if self.rate is None and self.dtype == "int16":
            place = Place(timeline, cutter, native_hz, self.frames, self.start, self.gaps, copy=self.copy)
            return place, None
        joined = self.gaps == "skip"
        converter = Converter(timeline, native_hz, channels, self.frames, self.rate, self.dtype, joined=joined)
        place = Place(timeline, cutter, native_hz, converter.chunk_frames, self.start, self.gaps, copy=True)
        return place, converter
