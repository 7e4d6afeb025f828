"""A writer that keeps time: a packet every few milliseconds, and wakes whoever waits for its stream.

Arguments: arena descriptor, locks descriptor, packets, milliseconds between them, manner (`waking` or `silent`).
It begins when a line comes in on standard input, and ends when its packets are written.
"""

import ctypes
import sys
import time

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import update_card
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool
from audiohook.memory.row import Row
from audiohook.memory.syscalls import futex_wake
from audiohook.memory.writer import StreamWriter
from tests.support.memory import known_samples

FRAMES = 80


def main() -> None:
    arena = Arena(int(sys.argv[1]), writable=True)
    pool = SlotPool(arena, SlotLocks(int(sys.argv[2])))
    packets, pause_s, waking = int(sys.argv[3]), float(sys.argv[4]) / 1000, sys.argv[5] == "waking"
    slot = pool.acquire(0, 1, rate_hz=16_000, channels=1, channel_names="x")
    assert slot is not None
    writer = StreamWriter(arena, slot, 16_000, 1)
    row = Row(arena, 0)
    row.set("heartbeat_ns", time.monotonic_ns())
    update_card(arena, slot, state=layout.LIVE)
    address = arena.word_address(writer.commit_word)
    print(slot, flush=True)
    sys.stdin.readline()
    for _ in range(packets):
        time.sleep(pause_s)
        samples = known_samples(writer.media_frames, FRAMES, 1)
        ctypes.memmove(writer.reserve(FRAMES), samples.ctypes.data, samples.nbytes)
        writer.publish(FRAMES, layout.DECODED, time.monotonic_ns(), 1)
        row.set("heartbeat_ns", time.monotonic_ns())
        if waking:
            futex_wake(address)
            row.owed = True
            row.pay_bell(time.monotonic_ns())
    pool.release(slot, end_reason="peer_closed")


if __name__ == "__main__":
    main()
