"""Several processes race for the last places under caps; one more counts. Prints JSON.

Arguments: arena descriptor (writable), locks descriptor, descriptor of a page of words, seconds, "fenced" or "looks".
"looks" believes the look before taking, and shows what the second count is for.
"""

import json
import mmap
import os
import random
import signal
import sys
import time
from typing import Any

import numpy as np

from audiohook.memory import layout
from audiohook.memory.admission import Admission, Cap, Caps
from audiohook.memory.arena import Arena
from audiohook.memory.cards import update_card
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool

RACERS = 4
CAPS = Caps(host=8, worker=5, address=3, organization=4)
MOST = {Cap.HOST: CAPS.host, Cap.WORKER: CAPS.worker, Cap.ADDRESS: CAPS.address, Cap.ORGANIZATION: CAPS.organization}
ADDRESSES = ("192.0.2.1", "192.0.2.11", "::1", "::1:1")
ORGANIZATIONS = ("a", "b", "c")
REFUSED = {Cap.HOST: 0, Cap.WORKER: 1, Cap.ADDRESS: 2, Cap.ORGANIZATION: 3}
TAKEN, WORDS = 4, 8
"""Words of the page that count, `WORDS` a racer."""


class LooksOnly(Admission):
    """The control: a place that was free a moment ago is taken for free."""

    def exceeded(self, row: int, source_address: str, organization: str, more: int = 0) -> Cap | None:
        return super().exceeded(row, source_address, organization, more) if more else None


class Racer:
    """A worker's part: takes as much as it is given, gives some of it back."""

    def __init__(self, arena: Arena, locks_fd: int, words: memoryview, number: int, kind: type[Admission]) -> None:
        self.arena = arena
        self.pool = SlotPool(arena, SlotLocks(locks_fd))
        self.admission = kind(self.pool, lambda: CAPS)
        self.words = words
        self.number = number

    def run(self) -> None:
        choice = random.Random()
        mine: list[int] = []
        while True:
            slot = self.admission.acquire(
                self.number,
                1,
                source_address=f"{choice.choice(ADDRESSES)}:{choice.randrange(1024, 65_536)}",
                organization_id=choice.choice(ORGANIZATIONS),
            )
            if isinstance(slot, Cap):
                self.words[self.number * WORDS + REFUSED[slot]] += 1
            elif slot is not None:
                update_card(self.arena, slot, state=choice.choice((layout.LIVE, layout.PAUSED, layout.HELD)))
                self.words[self.number * WORDS + TAKEN] += 1
                mine.append(slot)
            if mine and choice.random() < 0.5:
                self.pool.release(mine.pop(choice.randrange(len(mine))))
            if choice.random() < 0.02:
                time.sleep(0.001)  # for whoever counts: a machine with few cores would show it nothing but ends


class Observer:
    """Counts streams as a reader does, and keeps the most that it has seen."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.most = dict.fromkeys(MOST, 0)
        self.looks = 0

    def look(self) -> None:
        """Count once, unless a card changed meanwhile: two streams that followed one another would be two at once."""
        versions = self._arena.card_versions.copy()
        slots = np.arange(len(versions))
        cards = self._arena.cards[slots, (versions & np.uint64(1)).astype(np.intp)].copy()
        if not np.array_equal(versions, self._arena.card_versions):
            return
        self.looks += 1
        streams = cards[np.isin(cards["state"], (layout.LIVE, layout.PAUSED, layout.HELD))]
        addresses = [source.rpartition(b":")[0] for source in streams["source_address"].tolist()]
        for cap, keys in (
            (Cap.HOST, ["host"] * len(streams)),
            (Cap.WORKER, streams["row"].tolist()),
            (Cap.ADDRESS, addresses),
            (Cap.ORGANIZATION, streams["organization_id"].tolist()),
        ):
            self.most[cap] = max([self.most[cap], *(keys.count(key) for key in set(keys))])

    @property
    def exceeded(self) -> bool:
        return any(self.most[cap] > most for cap, most in MOST.items())


def race(arena_fd: int, locks_fd: int, words_fd: int, seconds: float, kind: type[Admission]) -> dict[str, Any]:
    arena = Arena(arena_fd, writable=True)
    words = memoryview(mmap.mmap(words_fd, mmap.PAGESIZE)).cast("Q")
    observer = Observer(arena)
    racers = []
    for number in range(RACERS):
        pid = os.fork()
        if pid == 0:
            Racer(arena, locks_fd, words, number, kind).run()
        racers.append(pid)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (kind is LooksOnly and observer.exceeded):
        observer.look()
    for pid in racers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    pool = SlotPool(arena, SlotLocks(locks_fd))
    pool.mark_dead()
    left = [slot for slot, state in enumerate(arena.states().tolist()) if state in layout.OWNED_STATES]
    total = [sum(words[number * WORDS + at] for number in range(RACERS)) for at in range(WORDS)]
    return {
        "looks": observer.looks,
        "taken": total[TAKEN],
        "still_owned": left,
        "caps": {
            cap.value: {"most": most, "seen": observer.most[cap], "refused": total[REFUSED[cap]]}
            for cap, most in MOST.items()
        },
    }


def main() -> None:
    arena_fd, locks_fd, words_fd = (int(part) for part in sys.argv[1:4])
    kind = {"fenced": Admission, "looks": LooksOnly}[sys.argv[5]]
    print(json.dumps(race(arena_fd, locks_fd, words_fd, float(sys.argv[4]), kind)))


main()
