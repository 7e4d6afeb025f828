"""What a window costs, of any length: `stream.latest(seconds)` on a stream as long as its ring, in this process.

Counted are times and the words that are loaded from the shared memory: the first of a machine, the second of the
program alone.
"""

import time
from statistics import median

import msgspec

from audiohook.memory import layout
from audiohook.memory.stream import Stream
from tests.support.memory import KnownWriter, bench

LENGTHS_S = (0.02, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0)
RING_SECONDS = 30
PACKET_FRAMES = 320
CALLS = 5000
PASSES = 7


class Window(msgspec.Struct, frozen=True):
    """A window's length, what is asked for and what there was, and what it cost: CPU time, median of some passes."""

    seconds: float
    frames: int
    us: float
    loads: int
    """Words that were loaded from the shared memory for it."""


class CountedWords:
    """A reader's words, whose loads are counted."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self.loads = 0

    def __getitem__(self, at: int) -> int:
        self.loads += 1
        return self._words[at]


def measure(lengths_s: tuple[float, ...] = LENGTHS_S, calls: int = CALLS) -> list[Window]:
    """Return a row for each length; `calls` windows a pass."""
    sizes = layout.geometry(slots=1, rows=1, ring_seconds=RING_SECONDS, event_records=8)
    with bench(sizes) as house:
        known = KnownWriter(house.arena, house.pool)
        for _ in range(2 * sizes.ring_bytes // 2 // PACKET_FRAMES + 7):  # round the ring twice, and not to its edge
            known.audio(PACKET_FRAMES)
        stream = house.stream(known.slot)
        return [_window(stream, seconds, calls) for seconds in lengths_s]


def _window(stream: Stream, seconds: float, calls: int) -> Window:
    frames = stream.latest(seconds).frames
    spent_us = []
    for _ in range(PASSES):
        began_ns = time.process_time_ns()
        for _ in range(calls):
            stream.latest(seconds)
        spent_us.append((time.process_time_ns() - began_ns) / 1000 / calls)
    return Window(seconds, frames, median(spent_us), loads_of(stream, seconds))


def loads_of(stream: Stream, seconds: float) -> int:
    """Return how many words of the shared memory a window takes."""
    timeline = stream.timeline
    words = timeline._words
    counted = CountedWords(words)
    timeline._words = counted  # type: ignore[assignment]
    try:
        stream.latest(seconds)
    finally:
        timeline._words = words
    return counted.loads
