"""Several workers take slots, write, give back; one after the other is killed -9 at a random instant. Prints JSON.

Arguments: arena descriptor, locks descriptor, descriptor of a page of canaries, seconds. A canary is the PID of a
slot's owner, kept by the owners themselves: it is how two owners of one slot would meet.
"""

import ctypes
import json
import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from audiohook.errors import Overrun
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool
from audiohook.memory.stream import Stream
from audiohook.memory.writer import StreamWriter
from tests.support.memory import NeverWatched, known_samples

WORKERS = 4
MOST_HELD = 4
ENOUGH_KILLS = 40
DOUBLE, LOST, TAKEN, REFUSED = 500, 501, 502, 506
"""Words of the canaries' page that count: two owners met, an owner's canary was changed, slots taken, pool was full."""


def alive(pid: int) -> bool:
    """Whether a process still runs. One that was killed gives its locks back just before it shows as dead."""
    for _ in range(2000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state in "ZX":
            return False
        time.sleep(0.001)
    return True


class Worker:
    """Takes and gives slots until it is killed."""

    def __init__(self, arena: Arena, locks_fd: int, canaries: memoryview, row: int) -> None:
        self.arena = arena
        self.canaries = canaries
        self.row = row
        self.pool = SlotPool(arena, SlotLocks(locks_fd))
        self.mine: list[tuple[int, StreamWriter, int]] = []

    def take(self) -> None:
        slot = self.pool.acquire(self.row, 1, rate_hz=16_000, channels=1, channel_names="x")
        if slot is None:
            self.canaries[REFUSED + self.row] += 1
            return
        before = self.canaries[slot]
        if before and before != os.getpid() and alive(before) and self.canaries[slot] == before:
            self.canaries[DOUBLE] += 1
        self.canaries[slot] = os.getpid()
        self.canaries[TAKEN + self.row] += 1
        update_card(self.arena, slot, state=layout.LIVE)
        self.mine.append((slot, StreamWriter(self.arena, slot, 16_000, 1), read_card(self.arena, slot)["epoch"]))

    def write(self, writer: StreamWriter, epoch: int, choice: random.Random) -> None:
        if choice.random() < 0.1:
            writer.gap(choice.choice((10, 40_000)), layout.LOSS, 1)
            return
        samples = known_samples(writer.media_frames, 320, 1, epoch)
        ctypes.memmove(writer.reserve(1920), samples.ctypes.data, samples.nbytes)
        writer.publish(320, layout.DECODED, 1, 1)

    def give(self, number: int) -> None:
        slot, _, _ = self.mine.pop(number)
        if self.canaries[slot] != os.getpid():
            self.canaries[LOST] += 1
        self.canaries[slot] = 0
        self.pool.release(slot, end_reason="peer_closed")

    def run(self) -> None:
        choice = random.Random()
        while True:
            if len(self.mine) < MOST_HELD and choice.random() < 0.4:
                self.take()
            for _, writer, epoch in self.mine:
                self.write(writer, epoch, choice)
            if self.mine and choice.random() < 0.3:
                self.give(choice.randrange(len(self.mine)))


def check_aborted(arena: Arena, card: dict[str, Any]) -> int:
    """Read a dead worker's stream to its last commit and return how many frames there were.

    Somebody may take the slot meanwhile: then Overrun, or a block that is not valid.
    """
    stream = Stream(arena, card["slot"], card, NeverWatched())
    totals = stream.totals
    assert totals.length == totals.decoded + totals.concealed + sum(totals.gaps.values())
    block = stream.latest(1.0)
    right = known_samples(block.first_frame, block.frames, 1, card["epoch"])
    for gap in block.gaps:
        right[gap.first_frame - block.first_frame :][: gap.frames] = 0
    same = np.array_equal(block.samples, right)
    assert same or not block.still_valid(), "audio of a dead worker's stream is wrong"
    return block.frames


class Killer:
    """The supervisor's part: starts workers, kills them at random instants, marks what they leave."""

    def __init__(self, arena_fd: int, locks_fd: int, canaries_fd: int) -> None:
        self.locks_fd = locks_fd
        self.arena = Arena(arena_fd, writable=True)
        self.canaries = memoryview(mmap.mmap(canaries_fd, mmap.PAGESIZE)).cast("Q")
        self.pool = SlotPool(self.arena, SlotLocks(locks_fd))
        self.workers: dict[int, int] = {}
        self.kills = self.repaired = self.frames = 0

    def start(self, row: int) -> None:
        pid = os.fork()
        if pid == 0:
            Worker(self.arena, self.locks_fd, self.canaries, row).run()
        self.workers[row] = pid

    def kill(self, row: int) -> None:
        pid = self.workers.pop(row)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.kills += 1
        for card in self.pool.mark_dead(row):
            self.repaired += 1
            try:
                self.frames += check_aborted(self.arena, {**card, "state": layout.ABORTED})
            except Overrun:
                pass  # somebody has taken the slot already

    def run(self, seconds: float) -> None:
        for row in range(WORKERS):
            self.start(row)
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.kills < ENOUGH_KILLS:
            time.sleep(random.uniform(0.002, 0.02))
            row = random.randrange(WORKERS)
            self.kill(row)
            self.pool.silence_ended(time.monotonic_ns(), 5_000_000)
            self.start(row)
        for row in list(self.workers):
            self.kill(row)

    def found(self) -> dict[str, Any]:
        states = self.arena.states()
        still_owned = [int(slot) for slot in np.flatnonzero(np.isin(states, list(layout.OWNED_STATES)))]
        again = 0
        while self.pool.acquire(0, 1) is not None:
            again += 1
        return {
            "kills": self.kills,
            "repaired": self.repaired,
            "frames_of_the_dead": self.frames,
            "double_owners": self.canaries[DOUBLE],
            "lost_ownership": self.canaries[LOST],
            "taken": sum(self.canaries[TAKEN + row] for row in range(WORKERS)),
            "refused": sum(self.canaries[REFUSED + row] for row in range(WORKERS)),
            "still_owned": still_owned,
            "slots_to_be_had_again": again,
        }


def main() -> None:
    killer = Killer(*(int(part) for part in sys.argv[1:4]))
    killer.run(float(sys.argv[4]))
    print(json.dumps(killer.found()))


main()
