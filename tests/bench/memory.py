"""What a call takes in memory beside its slot: `.venv/bin/python -m tests.bench.memory`.

Calls of both dialects are placed on a daemon of one worker; each says some seconds of audio at once. Before, halfway
and at the end the worker's memory is taken, the arena's pages left out. Then this process does the same with the parts
of a worker and says which files of the program keep what (`memory_parts.py`). What 10,000 connections take that say
nothing is `idle.py`'s. The figures are counts of the kernel's: they change little with what else the machine does.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from audiohook.codec.recut import WINDOW_MESSAGES
from tests.bench.memory_parts import PARTS_OF, Part, parts
from tests.bench.readers_load import quiet_daemon, sent_packets
from tests.support.daemon import Daemon
from tests.support.genesys import Genesys
from tests.support.peer import Peer

STEPS = (0, 200, 400)
TARGET_KIB = 64.0

Say = Callable[[], None]
"""Lets a call talk, as much as fills what is kept of it."""


class Taken(msgspec.Struct, frozen=True):
    """What a worker takes, in KiB. `anonymous` is its own; `tables` what the kernel needs to map everything for it."""

    anonymous: int
    tables: int


class Step(msgspec.Struct, frozen=True):
    calls: int
    taken: Taken
    descriptors: int
    mappings: int


class Dialect(msgspec.Struct, frozen=True):
    """One dialect's steps, and what lies between the first and the last of them, a call."""

    name: str
    steps: list[Step]
    own_kib: float
    tables_kib: float

    @property
    def kib_a_call(self) -> float:
        return self.own_kib + self.tables_kib


def taken(pid: int) -> Taken:
    """Return what a process takes beside shared memory."""
    anonymous = _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss_Anon")
    return Taken(anonymous, _field(Path(f"/proc/{pid}/status"), "VmPTE"))


def _field(path: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    assert found, f"{path} has no {name}"
    return int(found[1])


def context_call(stack: ExitStack, daemon: Daemon) -> Say:
    """Place a call that speaks 20 ms Opus: as many messages as are kept at most to see whether they are cut right."""
    peer = stack.enter_context(Peer(daemon.address))
    assert peer.upgrade().accepted
    sent = sent_packets()[: WINDOW_MESSAGES - 1]
    return lambda: peer.send_packets(sent)


def audiohook2_call(stack: ExitStack, daemon: Daemon) -> Say:
    """Place a session that speaks stereo PCMU in messages of 0.1 s."""
    session = stack.enter_context(Genesys(daemon.address)).opened()
    silence = np.zeros((800, 2), np.int16)

    def say() -> None:
        for _ in range(10):
            session.say(silence)

    return say


DIALECTS: dict[str, Callable[[ExitStack, Daemon], Say]] = {"context": context_call, "audiohook2": audiohook2_call}


def measure(name: str, steps: tuple[int, ...] = STEPS) -> Dialect:
    """Place calls step by step; each talks as soon as it stands."""
    found: list[Step] = []
    with ExitStack() as stack:
        daemon = stack.enter_context(quiet_daemon(steps[-1]))
        (worker,) = daemon.workers().values()
        warm = ExitStack()
        DIALECTS[name](warm, daemon)()  # what the first call brings with it, libopus' tables say, is nobody's own
        daemon.wait(lambda: daemon.counter("decoded_frames"), "audio")
        warm.close()
        daemon.wait(lambda: daemon.live() == 0, "the end of the first call")
        for calls in steps:
            while daemon.live() < calls:
                DIALECTS[name](stack, daemon)()
            daemon.wait(lambda: _silent(daemon), "the end of what was said")
            found.append(
                Step(
                    calls,
                    taken(worker),
                    len(list(Path(f"/proc/{worker}/fd").iterdir())),
                    len(Path(f"/proc/{worker}/maps").read_text().splitlines()),
                )
            )
    first, last = found[0], found[-1]
    calls = last.calls - first.calls
    own = (last.taken.anonymous - first.taken.anonymous) / calls
    return Dialect(name, found, own, (last.taken.tables - first.taken.tables) / calls)


def _silent(daemon: Daemon) -> bool:
    """Return whether no more packets come in."""
    heard = daemon.counter("packets")
    time.sleep(0.2)
    return daemon.counter("packets") == heard


def lines_of(dialect: Dialect) -> Iterator[str]:
    yield f"{dialect.name}: {dialect.own_kib:.1f} KiB a call, and {dialect.tables_kib:.1f} KiB to map its slot"
    for step in dialect.steps:
        taken_kib = f"{step.taken.anonymous:>9,} KiB own {step.taken.tables:>7,} KiB tables"
        yield f"  {step.calls:>5} calls{taken_kib}{step.descriptors:>7,} descriptors{step.mappings:>7,} mappings"
    verdict = "below" if dialect.kib_a_call < TARGET_KIB else "ABOVE"
    yield f"  {verdict} the {TARGET_KIB:g} KiB that are aimed at"


def lines_of_parts(name: str, found: list[Part]) -> Iterator[str]:
    yield f"{name}: what Python keeps for a call, {sum(part.bytes_a_call for part in found) / 1024:.1f} KiB, by file"
    for part in found[:PARTS_OF]:
        yield f"  {part.bytes_a_call:>9,.0f} bytes in {part.blocks_a_call:>6.1f} blocks  {part.where}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=STEPS[-1], help="calls of each dialect, in two steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    given = parser.parse_args()
    began = time.monotonic()
    dialects = []
    for name in DIALECTS:
        dialects.append(measure(name, (0, given.calls // 2, given.calls)))
        print(*lines_of(dialects[-1]), sep="\n", flush=True)
    held = parts()
    print(*lines_of_parts("context", held), sep="\n")
    print(f"in {time.monotonic() - began:.0f} s")
    if given.json:
        given.json.write_bytes(msgspec.json.encode({"dialects": dialects, "parts": held}))


if __name__ == "__main__":
    main()
