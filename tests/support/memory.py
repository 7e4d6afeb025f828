"""Small arenas for tests, and a writer whose every sample says where on the timeline it belongs.

Audio is never 0 (its lowest bit is set) and silence always is, so a window that mixes the two cannot look right.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from audiohook.memory import layout
from audiohook.memory.arena import Arena, MemoryFiles
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.layout import Geometry
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool
from audiohook.memory.stream import Stream
from audiohook.memory.writer import StreamWriter

Samples = npt.NDArray[np.int16]

RING_BYTES = 65_536
SMALL = Geometry(slots=3, rows=2, ring_bytes=RING_BYTES, descriptors=96, event_records=8)
"""A ring of 2 s of 16 kHz mono. Too few descriptors for it on purpose: both kinds of history run out in tests."""


def known_samples(first: int, frames: int, channels: int, salt: int = 0) -> Samples:
    """Return the audio that belongs to media frames `first` … of a stream, shape (frames, channels), never 0."""
    start = np.uint64(first * channels & (1 << 64) - 1)
    with np.errstate(over="ignore"):
        position = np.arange(frames * channels, dtype=np.uint64) + start
        mixed = (position + np.uint64(salt * 7919)) * np.uint64(0x9E3779B97F4A7C15)
    value = (mixed >> np.uint64(40)).astype(np.uint16) | np.uint16(1)
    return value.view(np.int16).reshape(frames, channels)


class NeverWatched:
    """A watcher for readers that never wait."""

    def watch(self, slot: int, epoch: int) -> bool:
        return False

    def unwatch(self, slot: int, epoch: int) -> None:
        return

    def check(self) -> None:
        return


class Bench:
    """The memory files of a daemon, mapped as a worker has them (`arena`, `pool`) and as a reader (`reader`)."""

    def __init__(self, sizes: Geometry = SMALL) -> None:
        self.files = MemoryFiles(sizes)
        self.geometry = sizes
        self.arena = Arena(self.files.arena, writable=True)
        self.reader = Arena(self.files.read_only, writable=False)
        self.pool = self.new_pool()

    def new_pool(self) -> SlotPool:
        """Return a pool with locks of its own, as another process would have."""
        return SlotPool(self.arena, SlotLocks(self.files.locks))

    def word(self, slot: int, name: str) -> int:
        return self.arena.words[layout.cursor_word(self.geometry, slot, name)]

    def start_at(self, slot: int, position: int, descriptor: int = 0) -> None:
        """Let a slot's cursors stand at `position` bytes and `descriptor`, as if it had been used that much."""
        for name, value in (
            ("claim", position),
            ("commit", position),
            ("d_claim", descriptor),
            ("d_commit", descriptor),
        ):
            self.arena.words[layout.cursor_word(self.geometry, slot, name)] = value

    def stream(self, slot: int) -> Stream:
        """Return the slot's present stream as a reader with the read-only arena has it."""
        return Stream(self.reader, slot, read_card(self.reader, slot), NeverWatched())

    def beat(self, row: int, now_ns: int) -> None:
        self.arena.words[layout.row_word(self.geometry, row, "heartbeat_ns")] = now_ns

    def close(self) -> None:
        """Give the descriptors back. Mappings go with the last view of them."""
        self.pool.locks.close()
        for fd in (self.files.arena, self.files.locks, self.files.watch, self.files.read_only):
            os.close(fd)


@contextmanager
def bench(sizes: Geometry = SMALL) -> Iterator[Bench]:
    made = Bench(sizes)
    try:
        yield made
    finally:
        made.close()


@dataclass
class KnownWriter:
    """A stream in a slot of its own, written with samples that say where they belong."""

    arena: Arena
    pool: SlotPool
    rate_hz: int = 16_000
    channels: int = 1
    salt: int = 0
    now_ns: int = 0
    identity: dict[str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        media: dict[str, int | str] = {"rate_hz": self.rate_hz, "channels": self.channels, "channel_names": "inbound"}
        slot = self.pool.acquire(0, 1, **{**media, **self.identity})
        assert slot is not None, "no slot left for the test's stream"
        self.slot = slot
        self.card = read_card(self.arena, slot)
        self.writer = StreamWriter(self.arena, slot, self.rate_hz, self.channels, self.card["media_base"])
        update_card(self.arena, slot, state=layout.LIVE)

    @property
    def key(self) -> tuple[int, int]:
        return self.slot, self.card["epoch"]

    def audio(self, frames: int, cause: int = layout.DECODED, bound_frames: int = 0) -> Samples:
        """Publish one packet of `frames`, claimed with room for `bound_frames` if that is more; return its samples."""
        first = self.writer.media_frames
        address = self.writer.reserve(max(frames, bound_frames))
        samples = known_samples(first, frames, self.channels, self.salt)
        ctypes.memmove(address, samples.ctypes.data, samples.nbytes)
        self.now_ns += 1
        self.writer.publish(frames, cause, self.now_ns, frames)
        return samples

    def gap(self, frames: int, cause: int) -> None:
        self.now_ns += 1
        self.writer.gap(frames, cause, self.now_ns)

    def end(self, **ending: int | str) -> None:
        self.pool.release(self.slot, **ending)
