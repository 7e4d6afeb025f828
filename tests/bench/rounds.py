"""One server under one load for one window, and the medians of several: what a row of the table is made of.

Everything that is compared is measured in turn, and in another order each round, so that a machine which gets slower
meanwhile does so for all. A ratio is the median of each round's own. What is void counts for nothing, unless there is
nothing else: then the row says so.
"""

import os
import re
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from audiohook.codec.opus_library import opus_library_path
from tests.bench.cores import on_core, two_cores
from tests.bench.driving import BREAKS, Driven, Timing, broke, drive, packets_file, placed
from tests.bench.media import Media
from tests.bench.programs import program
from tests.bench.servers import Running, Server
from tests.faults.neighbours import Neighbours

FLOOR = "floor"
FLOOR_SHARE = 0.4
"""Of the window: libopus alone needs no time to settle."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One window of one server. Times of latency and of the driver are nanoseconds; None where there are none."""

    number: int
    server: str
    cpu_us: float
    """CPU time of all its processes, a packet that was published."""
    worker_us: float
    """The same of the process that takes in the audio alone."""
    core: float
    """Share of a core."""
    kib_a_call: float | None
    latency_ns: dict[str, int]
    lateness_ns: dict[str, int]
    void: list[str]


def trial(server: Server, media: Media, calls: int, timing: Timing, number: int) -> Trial:
    """Measure a server once. Raises `Missing`."""
    try:
        return _trial(server, media, calls, timing, number)
    except BREAKS as error:
        return Trial(number, server.name, 0.0, 0.0, 0.0, None, {}, {}, [broke(error)])


def _trial(server: Server, media: Media, calls: int, timing: Timing, number: int) -> Trial:
    neighbours = Neighbours()
    with server.start(media, calls, two_cores()[1]) as running:
        idle_kib = own_kib(running)
        with placed(running, media, calls) as standing:
            driven = drive(running, media, standing, timing)
            kib = (own_kib(running) - idle_kib) / calls
        wrong = running.wrong(driven.sent)
    return Trial(
        number=number,
        server=server.name,
        cpu_us=_us_a_packet(driven, sum(driven.cpu_ns)),
        worker_us=_us_a_packet(driven, driven.cpu_ns[0]),
        core=sum(driven.cpu_ns) / driven.window_ns,
        kib_a_call=kib,
        latency_ns=driven.latency_ns,
        lateness_ns=driven.lateness_ns,
        void=[*driven.lost, *wrong, *driven.late, *_strange(neighbours)],
    )


def _us_a_packet(driven: Driven, cpu_ns: int) -> float:
    return cpu_ns / 1000 / max(1, driven.window_packets)


def _strange(neighbours: Neighbours) -> list[str]:
    load, servers = two_cores()
    told = neighbours.told()
    return [*([told] if told else []), *(["one processor for server and load"] if load == servers else [])]


def floor_trial(media: Media, calls: int, timing: Timing, number: int) -> Trial:
    """Measure what decoding alone takes. Raises `Missing`."""
    neighbours = Neighbours()
    with packets_file(media.packets()) as packets, on_core(two_cores()[1]):
        done = subprocess.run(
            [program("floor"), packets, str(calls), media.kind, str(timing.window_s * FLOOR_SHARE)],
            env={**os.environ, "LIBOPUS": opus_library_path()},
            stdout=subprocess.PIPE,
            check=True,
        )
    decoded, cpu_ns = map(int, done.stdout.split())
    cpu_us = cpu_ns / 1000 / decoded
    return Trial(number, FLOOR, cpu_us, cpu_us, 1.0, None, {}, {}, _strange(neighbours))


def own_kib(server: Running) -> float:
    """Return the memory of a server's processes, shared memory aside: there the slots are."""
    return sum(
        float(kib)
        for pid in server.processes()
        for kib in re.findall(r"^Pss_(?:Anon|File): +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    )


@dataclass(frozen=True, slots=True)
class Row:
    """All trials of one server with one number of calls."""

    media: Media
    calls: int
    server: str
    trials: tuple[Trial, ...]

    @property
    def good(self) -> tuple[Trial, ...]:
        return tuple(one for one in self.trials if not one.void)

    @property
    def void(self) -> list[str]:
        """Return why the row says nothing; empty if any round does."""
        return [] if self.good else sorted({why for one in self.trials for why in one.void})

    def median(self, of: Callable[[Trial], float | None]) -> float | None:
        """Return the median of the good rounds, or of all if none is."""
        found = [value for one in self.good or self.trials if (value := of(one)) is not None]
        return statistics.median(found) if found else None

    def relative_to(self, other: "Row") -> float | None:
        """Return the median of the rounds' ratios of CPU time a packet."""
        theirs = {one.number: one.cpu_us for one in other.good}
        ratios = [one.cpu_us / theirs[one.number] for one in self.good if one.number in theirs]
        return statistics.median(ratios) if ratios else None


def rows_of(media: Media, calls: int, trials: Iterable[Trial]) -> list[Row]:
    """Return a row for each server that was measured, in the order of their first trials."""
    kept: dict[str, list[Trial]] = {}
    for one in trials:
        kept.setdefault(one.server, []).append(one)
    return [Row(media, calls, server, tuple(ones)) for server, ones in kept.items()]
