"""One stream's recording: its file, its place in it, and its verdict.

Writes where the stream's own frame count says, so a gap, a loss or a failed write leaves silence of the right length
and nothing moves; what is handed in twice is written once. Where the disk refuses, the audio is counted as unwritten
and the next block tries again. Never raises for what a disk does.
"""

import os
from collections.abc import Container
from typing import Any

import numpy as np

import audiohook
from audiohook.memory.block import Samples
from audiohook.memory.timeline import Gap
from audiohook.sinks.disk import Disk
from audiohook.sinks.naming import SUFFIX, file_name
from audiohook.sinks.verdict import (
    Recorded,
    describe,
    name_values,
    read_verdict,
    recorded_of,
    verdict,
    write_verdict,
)
from audiohook.sinks.wav import NotOurs, WavFile

MARGIN_SECONDS = 0.1


class Track:
    """A recording under one name. `earlier` is the verdict of an earlier recorder that was interrupted."""

    def __init__(self, stream: audiohook.Stream, path: str, earlier: dict[str, Any] | None, disk: Disk) -> None:
        self.stream = stream
        self.path = path
        self._disk = disk
        self._described = describe(stream)
        if earlier is not None and self._described["continues"] is None:
            self._described["continues"] = earlier.get("continues")  # its card was still there for the earlier recorder
        self._rate_hz, self._channels = stream.sample_rate, len(stream.channel_names)
        self._earlier = None if earlier is None else recorded_of(earlier)
        self._recorded = self._earlier or Recorded()
        self._lost_untold = self._recorded.lost_frames
        self._file: WavFile | None = None
        self._position = stream.timeline.media_base

    @property
    def stream_id(self) -> str:
        """As it was at the beginning: cards are wiped in the end."""
        return str(self._described["stream"])

    @property
    def verdict_path(self) -> str:
        return self.path.removesuffix(SUFFIX) + ".json"

    def put(self, first_frame: int, samples: Samples, gaps: tuple[Gap, ...], *, told: bool = True) -> None:
        """Write frames that nobody overwrites any more, gaps among them as silence.

        `told`: if frames are missing before them, the stream has counted them in `lost_frames` already.
        """
        if self._file is None and not self._open(first_frame):
            self._recorded.unwritten_frames += len(samples)
            return
        missing = first_frame - self._position
        if missing > 0:
            self._position = first_frame
            if self._earlier is not None or not told:
                # What went by between two recorders nobody has counted.
                self._lost_untold += missing
        self._earlier = None
        new = samples[max(0, -missing) :]
        if len(new):
            self._note_gaps(gaps)
            self._write(new, silent=sum(gap.frames for gap in gaps) >= len(samples))

    def put_rest(self) -> None:
        """Write what has been published and not been handed in, where recording ends and the stream does not."""
        while True:
            totals = self.stream.totals
            behind = self.stream.timeline.media_base + totals.length - self._position
            try:
                rest = self.stream.latest(behind / self._rate_hz + MARGIN_SECONDS)
            except audiohook.Overrun:
                return
            samples = rest.samples.copy()
            if rest.still_valid():
                break
        if len(samples):
            self.put(rest.first_frame, samples, rest.gaps, told=False)

    def finish(self, *, complete: bool) -> None:
        """Close the file and write the verdict. A stream without any audio gets an empty file."""
        if self._file is None:
            self._open(self._position)
        if self._file is not None:
            with self._disk.trying(self.path):
                self._file.extend(min(self._position - self._recorded.first_frame, self._file.room_frames))
            self._file.close()
        with self._disk.trying(self.verdict_path):
            write_verdict(self.verdict_path, self._verdict(complete=complete))

    # ---------------------------------------------------------------------------------------- the file

    def _open(self, first_frame: int) -> bool:
        """Have a file: the earlier recorder's to go on with, else a new one that begins at `first_frame`."""
        with self._disk.trying(self.path) as tried:
            if self._earlier is not None and self._reopen():
                return True
            self._recorded.first_frame = self._position = first_frame
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            # Before the file: a file without a verdict would be taken for somebody else's.
            write_verdict(self.verdict_path, self._verdict(complete=False))
            self._file = WavFile.create(self.path, self._rate_hz, self._channels)
        return tried.good

    def _reopen(self) -> bool:
        try:
            self._file = WavFile.reopen(self.path, self._rate_hz, self._channels)
        except (FileNotFoundError, NotOurs):
            self._earlier, self._recorded, self._lost_untold = None, Recorded(), 0
            return False
        self._position = self._recorded.first_frame + self._file.frames
        return True

    def _write(self, samples: Samples, *, silent: bool) -> None:
        """Write at the place where we are. Silence is left out: it is what the file has where nothing was written."""
        assert self._file is not None
        at = self._position - self._recorded.first_frame
        self._position += len(samples)
        taken = max(0, min(len(samples), self._file.room_frames - at))
        with self._disk.trying(self.path) as tried:
            if silent:
                self._file.extend(min(at + taken, self._file.room_frames))
            elif taken:
                self._file.write(at, np.ascontiguousarray(samples[:taken]).tobytes())
        self._recorded.unwritten_frames += len(samples) - (taken if tried.good else 0)

    def _note_gaps(self, gaps: tuple[Gap, ...]) -> None:
        for gap in gaps:
            low = max(gap.first_frame, self._position)
            if low < gap.first_frame + gap.frames:
                self._recorded.add_gap(Gap(low, gap.first_frame + gap.frames - low, gap.cause, gap.measured))

    def _verdict(self, *, complete: bool) -> dict[str, Any]:
        self._recorded.lost_frames = self._lost_untold + self.stream.lost_frames
        frames = 0 if self._file is None else self._file.frames
        return verdict(self.stream, self._described, self._recorded, frames, complete=complete)


def find_place(
    folder: str, pattern: str, stream: audiohook.Stream, taken: Container[str] = ()
) -> tuple[str, dict[str, Any] | None]:
    """Return where a stream's recording goes, and its verdict if it has begun already.

    A name that another stream's recording or anything else has is left alone, and a number is put behind it; so are the
    names in `taken`, of which there is no file yet.
    """
    values, number = name_values(describe(stream)), 0
    while True:
        number += 1
        path = os.path.join(folder, file_name(pattern, values, number))
        found = read_verdict(path.removesuffix(SUFFIX) + ".json")
        if found is not None and found["stream"] == stream.stream_id:
            return path, found
        if found is None and path not in taken and not os.path.lexists(path):
            return path, None
