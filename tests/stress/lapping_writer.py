"""A writer that laps everybody: packets as fast as they go, the slot given back and taken again every few laps.

Arguments: arena descriptor, locks descriptor, manner. Manners: `right`; `gappy` (with gaps in between); and two faults
that the harness must be able to see: `late` (claims after it has written) and `reset` (a recycled slot's cursors start
where they started before). A stream's samples are salted with its epoch.
"""

import ctypes
import random
import sys
import time

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool
from audiohook.memory.writer import StreamWriter
from tests.stress.lapping_tables import SALTS, TABLE_FRAMES, TABLES

SIZES = (80, 160, 320)
BOUND = 320


def write_stream(arena: Arena, pool: SlotPool, manner: str, choice: random.Random) -> None:
    if manner == "reset":
        for name in ("claim", "commit"):
            arena.words[layout.cursor_word(arena.geometry, 0, name)] = 0
    slot = pool.acquire(0, 1, rate_hz=16_000, channels=1, channel_names="x")
    assert slot is not None
    writer = StreamWriter(arena, slot, 16_000, 1)
    table = TABLES[read_card(arena, slot)["epoch"] % SALTS].ctypes.data
    beat = layout.row_word(arena.geometry, 0, "heartbeat_ns")
    arena.words[beat] = time.monotonic_ns()  # before anybody can see a live stream without a living writer
    update_card(arena, slot, state=layout.LIVE)
    ring_frames = arena.geometry.ring_bytes // 2
    length = min(TABLE_FRAMES - 2 * ring_frames, choice.randrange(ring_frames // 2, 20 * ring_frames))
    while writer.media_frames < length:
        frames, first = choice.choice(SIZES), writer.media_frames
        if manner == "late":
            address = writer.address + arena.words[writer.commit_word] % (2 * ring_frames)
            ctypes.memmove(address, table + 2 * first, 2 * frames)
            writer.reserve(BOUND)
        else:
            ctypes.memmove(writer.reserve(BOUND), table + 2 * first, 2 * frames)
        now_ns = time.monotonic_ns()
        writer.publish(frames, layout.CONCEALED if manner == "gappy" and first % 7 == 0 else layout.DECODED, now_ns, 1)
        if manner == "gappy" and choice.random() < 0.02:
            writer.gap(choice.choice((1, 500, 9000)), choice.randint(layout.PAUSE, layout.LOSS), now_ns)
        arena.words[beat] = now_ns
    pool.release(slot, end_reason="peer_closed")


def main() -> None:
    arena = Arena(int(sys.argv[1]), writable=True)
    pool = SlotPool(arena, SlotLocks(int(sys.argv[2])))
    choice = random.Random()
    while True:
        write_stream(arena, pool, sys.argv[3], choice)


main()
