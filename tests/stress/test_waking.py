"""Waking across processes: a sleeping reader gets each packet as it comes; no other reader can stop it for ever.

Nothing here says how fast: only how often somebody slept, and how much there was when he woke.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.stream import Stream
from audiohook.memory.syscalls import futex_wake
from audiohook.memory.waiting import Bells, Pause
from tests.stress.children import running, until
from tests.stress.paced_writer import FRAMES
from tests.stress.requeuer import requeue
from tests.support.memory import SMALL, Bench, bench, known_samples

PACKETS = 150
PAUSE_MS = 6


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


class Watching:
    """A watcher that says yes or no, and knows how much had been published each time its reader went to sleep."""

    def __init__(self, arena: Arena, *, watched: bool) -> None:
        self._arena = arena
        self._watched = watched
        self.commits: list[int] = []

    def watch(self, slot: int, epoch: int) -> bool:
        self.commits.append(self._arena.words[layout.cursor_word(self._arena.geometry, slot, "commit")])
        return self._watched

    def unwatch(self, slot: int, epoch: int) -> None:
        return

    def check(self) -> None:
        return

    @property
    def packets_a_sleep(self) -> float:
        """The median number of packets that came while the reader slept once."""
        steps = [(b - a) / (2 * FRAMES) for a, b in zip(self.commits, self.commits[1:], strict=False)]
        return median(steps)


def read_all(house: Bench, manner: str, *, watched: bool, attack: bool = False) -> Watching:
    """Read a paced stream to its end, packet by packet, and hold every sample to what was written."""
    fds = [house.files.arena, house.files.locks]
    with running("paced_writer.py", *fds, PACKETS, PAUSE_MS, manner, fds=fds, talk=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        slot = int(writer.stdout.readline())
        watching = Watching(house.reader, watched=watched)
        stream = Stream(house.reader, slot, house.stream(slot).card(), watching)
        offsets = [layout.cursor_word(SMALL, slot, "commit") * 8, layout.row_word(SMALL, 0, "bell") * 8]

        def read() -> None:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
            position = 0
            for block in stream.blocks(FRAMES, start="oldest"):
                assert block.first_frame == position
                assert (block.samples == known_samples(position, FRAMES, 1)).all()
                position += FRAMES
            assert position == PACKETS * FRAMES

        if attack:
            with running("requeuer.py", house.files.read_only, *offsets, fds=[house.files.read_only]):
                read()
        else:
            read()
        return watching


@pytest.mark.parametrize("watched", [True, False], ids=["the stream's own word", "the worker's bell"])
def test_a_reader_is_woken_for_every_packet(house: Bench, watched: bool) -> None:
    watching = read_all(house, "waking", watched=watched)
    assert watching.packets_a_sleep <= 2
    assert len(watching.commits) > PACKETS // 4


def test_control_without_wakes_it_sleeps_through_many(house: Bench) -> None:
    """The same reader gets every sample all the same, since no sleep lasts longer than 250 ms."""
    watching = read_all(house, "silent", watched=True)
    assert watching.packets_a_sleep > 5
    assert len(watching.commits) < PACKETS // 4


@pytest.mark.parametrize("watched", [True, False], ids=["the stream's own word", "the worker's bell"])
def test_a_reader_that_moves_sleepers_away_cannot_stop_one(house: Bench, watched: bool) -> None:
    """At worst each sleep lasts its 250 ms, as without wakes: no sample is lost, no sleep is the last."""
    watching = read_all(house, "waking", watched=watched, attack=True)
    assert len(watching.commits) <= 2 * PACKETS + 20


def is_asleep(pid: int) -> bool:
    """Whether a process is in a futex call."""
    return Path(f"/proc/{pid}/syscall").read_text().startswith("202 ")


@pytest.mark.parametrize(("milliseconds", "for_ever"), [(0, True), (250, False)])
def test_the_trap_a_sleep_without_an_end_is_never_woken(house: Bench, milliseconds: int, for_ever: bool) -> None:
    """Why nobody may trust a wake-up: a reader moved this sleeper away, and every later wake reaches nobody."""
    offset = layout.row_word(SMALL, 0, "bell") * 8
    fds = [house.files.read_only]
    with running("sleeper.py", house.files.read_only, offset, milliseconds, fds=fds) as sleeper:
        assert sleeper.stdout is not None
        sleeper.stdout.readline()
        assert any(is_asleep(sleeper.pid) for _ in until(30))
        moved = requeue(house.reader, offset)
        assert moved == 1 or not for_ever
        for _ in range(100):
            house.arena.words[offset // 8] += 1
            assert futex_wake(house.arena.address + offset) == 0
        if for_ever:
            assert is_asleep(sleeper.pid)
        else:
            assert sleeper.stdout.readline() == "awake\n"


def test_one_wait_over_all_bells_ends_with_any(house: Bench) -> None:
    """A hub's wait: a bell that was rung between reading and sleeping ends it at once; so does its own time."""
    bells = Bells(house.reader)
    assert len(bells.read()) == SMALL.rows + 1
    for row in range(SMALL.rows + 1):
        seen = bells.read()
        house.arena.words[layout.row_word(SMALL, row, "bell")] += 1
        Pause(seen).rest()
        assert bells.read() != seen
    Pause(bells.read(), timeout_ns=1_000_000).rest()
