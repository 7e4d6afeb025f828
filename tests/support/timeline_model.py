"""What a stream should look like to a reader, computed the slow and obvious way from what was published.

Knows only LAYOUT.md: nothing here shares code with `audiohook.memory`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tests.support.memory import Samples, known_samples

AUDIO = ("decoded", "concealed")


@dataclass
class Run:
    """Consecutive frames of one packet or one gap. `stored` of them (the last ones) have bytes in the ring."""

    first: int
    frames: int
    cause: str
    ring_first: int
    stored: int

    @property
    def end(self) -> int:
        return self.first + self.frames

    @property
    def is_gap(self) -> bool:
        return self.cause not in AUDIO

    def ring_byte(self, frame: int, frame_bytes: int) -> int:
        return self.ring_first + max(0, frame - (self.end - self.stored)) * frame_bytes


@dataclass
class Model:
    """One stream: its runs in order, and the cursors that its writer must have."""

    rate_hz: int
    channels: int
    ring_base: int
    ring_bytes: int
    salt: int = 0
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.frame_bytes = 2 * self.channels
        self.commit = self.claim = self.ring_base
        self.gap_room = min(self.rate_hz, self.ring_bytes // 2 // self.frame_bytes)
        self.frames_of: Counter[str] = Counter()

    @property
    def length(self) -> int:
        return self.runs[-1].end if self.runs else 0

    def claimed(self, frames: int) -> None:
        self.claim = max(self.claim, self.commit + frames * self.frame_bytes)

    def audio(self, frames: int, cause: str, bound_frames: int) -> None:
        self.claimed(max(frames, bound_frames))
        self.frames_of[cause] += frames
        self.runs.append(Run(self.length, frames, cause, self.commit, frames))
        self.commit += frames * self.frame_bytes

    def gap(self, frames: int, cause: str) -> None:
        grown = self.runs[-1] if self.runs and self.runs[-1].cause == cause else None
        if grown is None:
            grown = Run(self.length, 0, cause, self.commit, 0)
            self.runs.append(grown)
        stored = min(frames, self.gap_room - grown.stored)
        self.claimed(stored)
        self.frames_of[cause] += frames
        grown.frames += frames
        grown.stored += stored
        self.commit += stored * self.frame_bytes

    # ---------------------------------------------------------------------------------------- what must be seen

    def between(self, first: int, end: int) -> Iterator[tuple[int, int, Run]]:
        """Yield (low, high, run) for the runs that touch frames `first` to `end`."""
        for number in range(max(0, bisect_right(self.runs, first, key=lambda run: run.first) - 1), len(self.runs)):
            run = self.runs[number]
            if run.first >= end:
                return
            if run.end > first:
                yield max(first, run.first), min(end, run.end), run

    def audio_frames(self, first: int, end: int) -> int:
        return sum(high - low for low, high, run in self.between(first, end) if not run.is_gap)

    def samples(self, first: int, end: int) -> Samples:
        """Return the timeline as it sounds: audio, and zeros for gaps."""
        heard = np.zeros((end - first, self.channels), np.int16)
        for low, high, run in self.between(first, end):
            if not run.is_gap:
                heard[low - first : high - first] = known_samples(low, high - low, self.channels, self.salt)
        return heard

    def audio_from(self, first: int, frames: int) -> tuple[Samples, int, int]:
        """Return up to `frames` of audio from `first` on without gaps, the first frame's place, and the end's."""
        pieces: list[Samples] = []
        place, end, missing = first, first, frames
        for low, high, run in self.between(first, self.length):
            if not missing:
                break
            if run.is_gap:
                end = high
                continue
            taken = min(missing, high - low)
            if not pieces:
                place = low
            pieces.append(known_samples(low, taken, self.channels, self.salt))
            missing, end = missing - taken, low + taken
        return np.concatenate(pieces or [np.zeros((0, self.channels), np.int16)]), place, end

    def gaps(self, first: int, end: int) -> list[tuple[int, int, str]]:
        """Return (first frame, frames, cause) of the gaps between two frames, neighbours of one cause joined."""
        found: list[tuple[int, int, str]] = []
        for low, high, run in self.between(first, end):
            if run.is_gap:
                found.append((low, high - low, run.cause))
        return found

    def ring_samples(self) -> Samples:
        """Return every sample that lies in the ring, in the order of its bytes, from `ring_base` on, one a row."""
        stored = [self.samples(run.end - run.stored, run.end).reshape(-1) for run in self.runs]
        return np.concatenate(stored or [np.zeros(0, np.int16)])

    def run_at(self, frame: int) -> Run:
        return self.runs[bisect_right(self.runs, frame, key=lambda run: run.first) - 1]

    def in_ring(self, frame: int) -> bool:
        """Whether nothing of the frame's bytes may have been overwritten."""
        return self.claim - self.ring_bytes <= self.run_at(frame).ring_byte(frame, self.frame_bytes)
