"""Many streams in one reader's loop: whose commit has moved, by one NumPy gather instead of a look at each.

Waits for nothing (the hub does). One `Place` a stream; a stream is dropped when it is over and read to its end.
"""

import time
from collections.abc import Iterator

import numpy as np

from audiohook.errors import Overrun
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.block import Block
from audiohook.memory.place import Gaps, Place, Start
from audiohook.memory.stream import Stream


class ManyStreams:
    """The places of one `hub.blocks()` loop."""

    def __init__(self, arena: Arena, frames: int, gaps: Gaps) -> None:
        self._frames = frames
        self._gaps: Gaps = gaps
        self._began_ns = time.monotonic_ns()
        self._known: set[tuple[int, int]] = set()
        self._places: dict[int, tuple[Stream, Place]] = {}
        slots, start = arena.geometry.slots, arena.geometry.cursors_offset
        blocks = arena.bytes[start : start + slots * layout.CURSOR_BYTES].view(np.uint64).reshape(slots, -1)
        self._commits = blocks[:, layout.CURSORS.index("commit") * layout.LINE_BYTES // layout.WORD_BYTES]
        self._versions = arena.card_versions
        self._seen = np.zeros((2, slots), np.uint64)

    def began_after(self, stream: Stream) -> bool:
        """Return whether a stream, over by now, began after this loop did: it is to be read as well."""
        return stream.opened_monotonic_ns > self._began_ns

    def add(self, stream: Stream, start: Start) -> None:
        """Take a stream in, unless it is known already."""
        key = (stream.slot, stream.epoch)
        if key in self._known:
            return
        self._known.add(key)
        try:
            place = Place(
                stream.timeline, stream.cutter(), stream.sample_rate, self._frames, start, self._gaps, copy=False
            )
        except Overrun:
            return
        self._places[stream.slot] = (stream, place)
        self._seen[:, stream.slot] = np.iinfo(np.uint64).max

    def ready(self) -> Iterator[tuple[Stream, Block]]:
        """Yield the complete blocks of every stream that was added to, or changed its card, since the last call."""
        commits, versions = self._commits.copy(), self._versions.copy()
        moved = (commits != self._seen[0]) | (versions != self._seen[1])
        for slot in [int(slot) for slot in np.flatnonzero(moved) if int(slot) in self._places]:
            stream, place = self._places[slot]
            yield from self._drain(stream, place)
            self._seen[0, slot], self._seen[1, slot] = commits[slot], versions[slot]

    def _drain(self, stream: Stream, place: Place) -> Iterator[tuple[Stream, Block]]:
        while True:
            over = stream.over
            try:
                block = place.next_block(over=over)
            except Overrun as overrun:
                stream.lost_frames += overrun.lost_frames
                if overrun.next_frame is None:
                    break
                continue
            if block is None:
                if not over:
                    return
                break
            yield stream, block
            if not block.still_valid():
                stream.lost_frames += place.lost(block.frames).lost_frames
        current = self._places.get(stream.slot)
        if current is not None and current[0] is stream:
            del self._places[stream.slot]
