"""A worker's row of the worker table: counters, histograms, heartbeat, doorbell. Written by the row's owner only.

Counters survive their worker: its successor in the row goes on counting, so a reader's sums never go back.
"""

import time

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.syscalls import futex_wake
from audiohook.units import NS_PER_MS

BELL_NS = NS_PER_MS
"""A doorbell is rung at most this often: one sleeper woken on every batch cost 13.6 % CPU a packet."""


class Row:
    """The writing side of one row."""

    def __init__(self, arena: Arena, row: int) -> None:
        self._words = arena.words
        self.number = row
        sizes = arena.geometry
        self._at = {name: layout.row_word(sizes, row, name) for name in layout.ROW}
        self._counters = {name: layout.counter_word(sizes, row, name) for name in layout.COUNTERS}
        self._histograms = {name: layout.histogram_word(sizes, row, name) for name in layout.HISTOGRAMS}
        at = self._counters
        self._packet_words = (at["packets"], at["wire_bytes"], at["decoded_frames"], self._histograms["packet_bytes"])
        self._bell_word = layout.row_word(sizes, row, "bell")
        self._bell_address = arena.word_address(self._bell_word)
        self._rung_ns = 0
        self.owed = False
        """Something was published: whoever waits for any stream of this row is to be woken, soon."""

    def set(self, name: str, value: int) -> None:
        """Store one of `layout.ROW`."""
        self._words[self._at[name]] = value

    def get(self, name: str) -> int:
        return self._words[self._at[name]]

    def take(self, pid: int, generation: int, state: int) -> None:
        """Make the row ours: `live` starts at 0, counters and histograms go on."""
        self.set("live", 0)
        self.set("pid", pid)
        self.set("generation", generation)
        self.set("started_ns", time.monotonic_ns())
        self.set("heartbeat_ns", time.monotonic_ns())
        self.set("state", state)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of `layout.COUNTERS`."""
        self._words[self._counters[name]] += amount

    def observe(self, name: str, value: int) -> None:
        """Add `value` to one of `layout.HISTOGRAMS`, in the bucket of its bit length."""
        self._words[self._histograms[name] + value.bit_length()] += 1

    def count_packet(self, wire_bytes: int, frames: int) -> None:
        """Count a packet that was decoded: what four calls of `count` and `observe` would, at a third of their cost."""
        words = self._words
        packets, all_bytes, decoded_frames, by_size = self._packet_words
        words[packets] += 1
        words[all_bytes] += wire_bytes
        words[decoded_frames] += frames
        words[by_size + wire_bytes.bit_length()] += 1

    def pay_bell(self, now_ns: int) -> int | None:
        """Ring the doorbell if a ring is owed and due; return when it will be due if it is owed and not yet due."""
        if not self.owed:
            return None
        if now_ns - self._rung_ns < BELL_NS:
            return self._rung_ns + BELL_NS
        self.owed = False
        self._rung_ns = now_ns
        self._words[self._bell_word] += 1
        futex_wake(self._bell_address)
        self.count("bells")
        return None
