"""A worker's share of the memory: the arena, its row, its events and the pool, under one name.

Knows no stream. One a worker, handed to whoever writes there.
"""

import time
from typing import Any

from audiohook.memory.arena import Arena
from audiohook.memory.event_ring import EventWriter, encode_event
from audiohook.memory.pool import SlotPool
from audiohook.memory.row import Row
from audiohook.memory.syscalls import futex_wake


class Share:
    """What one worker writes to. `watch` has a word a slot, set while somebody waits on that one stream."""

    def __init__(self, arena: Arena, pool: SlotPool, row: Row, generation: int, watch: memoryview) -> None:
        self.arena = arena
        self.pool = pool
        self.row = row
        self.generation = generation
        self.watch = watch
        self._events = EventWriter(arena, row.number)

    def tell(self, kind: str, **fields: Any) -> None:
        """Write an event and wake whoever follows."""
        self._events.write(encode_event(kind, {"at_ns": time.time_ns(), "row": self.row.number, **fields}))
        self.row.owed = True

    def published(self, slot: int, commit_address: int) -> None:
        """Wake whoever waits on this one slot, and owe a bell to who waits on many."""
        if self.watch[slot]:
            futex_wake(commit_address)
        self.row.owed = True
