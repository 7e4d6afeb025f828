"""Many streams in one reader's loop: whose commit has moved, by one NumPy gather instead of a look at each.

Waits for nothing (the hub does). One `Place` a stream; a stream is dropped when it is over and read to its end. A peer
that comes back is another stream here, found like any other.
"""

from collections.abc import Iterator
from typing import Generic, NamedTuple

import numpy as np

from audiohook.control.census import AnyStream
from audiohook.errors import Overrun
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.block import Block
from audiohook.memory.options import BlockOptions
from audiohook.memory.place import Place, Start
from audiohook.memory.resampled import Converter


class _Read(NamedTuple, Generic[AnyStream]):
    """A stream that is read, the place in it, and what its blocks are converted by, if by anything."""

    stream: AnyStream
    place: Place
    converter: Converter | None


class ManyStreams(Generic[AnyStream]):
    """The places of one `hub.blocks()` loop."""

    def __init__(self, arena: Arena, options: BlockOptions) -> None:
        self._options = options
        self._known: dict[int, int] = {}
        self._read: dict[int, _Read[AnyStream]] = {}
        slots, start = arena.geometry.slots, arena.geometry.cursors_offset
        blocks = arena.bytes[start : start + slots * layout.CURSOR_BYTES].view(np.uint64).reshape(slots, -1)
        self._commits = blocks[:, layout.CURSORS.index("commit") * layout.LINE_BYTES // layout.WORD_BYTES]
        self._versions = arena.card_versions
        self._seen = np.zeros((2, slots), np.uint64)
        self._due = np.zeros(slots, np.uint64)

    def know(self, stream: AnyStream) -> bool:
        """Note that a stream has been seen; return whether that is new."""
        new = self._known.get(stream.slot) != stream.epoch
        self._known[stream.slot] = stream.epoch
        return new

    def add(self, stream: AnyStream, start: Start) -> bool:
        """Take a stream in; return whether there still is anything of it."""
        options, rate_hz = self._options.starting(start), stream.sample_rate
        try:
            converter = options.converter(stream.timeline, rate_hz, stream.channels)
            place = options.place(stream.timeline, stream.cutter(), rate_hz, converter)
        except Overrun:
            return False
        self._read[stream.slot] = _Read(stream, place, converter)
        self._seen[:, stream.slot] = np.iinfo(np.uint64).max
        self._due[stream.slot] = 0
        return True

    def ready(self) -> Iterator[tuple[AnyStream, Block | None]]:
        """Yield the complete blocks of every stream that was added to, or changed its card, since the last call.

        None comes behind a stream's last block: it is over and read to its end, or there is nothing of it any more.
        """
        commits, versions = self._commits.copy(), self._versions.copy()
        # With 1,000 calls most of the time went into blocks of which only another packet had come. Time that passes as
        # a gap beyond the silence that is stored for it moves no commit, so a block may come later by its own length.
        moved = ((commits != self._seen[0]) & (commits >= self._due)) | (versions != self._seen[1])
        for slot in [int(slot) for slot in np.flatnonzero(moved) if int(slot) in self._read]:
            read = self._read[slot]
            yield from self._drain(read)
            self._seen[0, slot], self._seen[1, slot] = commits[slot], versions[slot]
            missing_bytes = read.place.missing_frames() * read.stream.timeline.frame_bytes
            self._due[slot] = commits[slot] + np.uint64(missing_bytes)

    def give_up(self) -> Iterator[tuple[AnyStream, Block | None]]:
        """Yield the rest of every stream, whether it is over or not, and None behind each: nobody writes any more."""
        for read in list(self._read.values()):
            yield from self._drain(read, over=True)

    def _drain(self, read: _Read[AnyStream], *, over: bool = False) -> Iterator[tuple[AnyStream, Block | None]]:
        stream, place, converter = read
        while True:
            over = over or stream.over
            try:
                # Nothing is added to a PARKED one: what is there of a last block is handed out, and no end yet.
                block = place.next_block(over=over or stream.parked)
            except Overrun as overrun:
                stream.lost_frames += overrun.lost_frames
                if overrun.next_frame is None:
                    break
                continue
            if block is None:
                if not over:
                    return
                break
            if converter is not None:
                for made in converter.push(block):
                    yield stream, made
                continue
            yield stream, block
            if not block.still_valid():
                stream.lost_frames += place.lost(block.frames).lost_frames
        if converter is not None:
            for made in converter.flush():
                yield stream, made
        current = self._read.get(stream.slot)
        if current is not None and current.stream is stream:
            del self._read[stream.slot]
        yield stream, None
