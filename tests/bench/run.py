"""All servers side by side in one run, one table, one JSON file: what docs/performance.md shows.

python -m tests.bench.run [--json FILE] [--all] [--quick] [--seconds S] [--rounds N] [--calls N ...] [--loads LOAD ...]
    [--servers NAME ...]
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import media, servers
from tests.bench.driving import Timing
from tests.bench.media import Media
from tests.bench.programs import Missing
from tests.bench.rounds import FLOOR, Row, Trial, floor_trial, rows_of, trial
from tests.bench.servers import Server
from tests.bench.sustained import sustained
from tests.bench.table import Record, machine, records_of, table_of

CALLS = (100, 400, 800, 1200)
ROUNDS, SECONDS = 3, 3.0
QUICK_CALLS, QUICK_ROUNDS, QUICK_SECONDS = (100, 800), 1, 1.5
EXTRA_LOADS = tuple(load for load in media.ALL if load not in media.USUAL)


class Bench:
    """One run. `left_out` has who could not be measured, and why.

    `file` has what is measured so far, always: an hour's run that is broken off has not been for nothing.
    """

    def __init__(self, timing: Timing, rounds: int, file: Path | None = None) -> None:
        self.timing = timing
        self.rounds = rounds
        self._file = file
        self.records: list[Record] = []
        self.sustained: list[Record] = []
        self.left_out: dict[str, str] = {}

    def compare(self, load: Media, calls: int, contestants: Sequence[Server], with_floor: bool) -> None:
        """Measure one load with one number of calls, everybody in turn, in another order each round."""
        measure: dict[str, Callable[[int], Trial]] = {
            server.name: lambda number, server=server: trial(server, load, calls, self.timing, number)  # type: ignore[misc]
            for server in contestants
            if server.takes(load, calls)
        }
        if with_floor:
            measure[FLOOR] = lambda number: floor_trial(load, calls, self.timing, number)
        names = [name for name in measure if name not in self.left_out]
        trials = [
            done
            for number in range(self.rounds)
            for name in (*names[number % len(names) :], *names[: number % len(names)])
            if (done := self._tried(name, lambda: measure[name](number)))  # noqa: B023
        ]
        rows = rows_of(load, calls, trials)
        for row in rows:
            print(told(row), flush=True)
        self.records += records_of(sorted(rows, key=lambda row: names.index(row.server)))
        self._write()

    def _tried(self, name: str, measure: Callable[[], Trial]) -> Trial | None:
        if name in self.left_out:
            return None
        try:
            return measure()
        except Missing as missing:
            self.left_out[name] = str(missing)
            return None

    def sustain(self, load: Media, contestants: Sequence[Server]) -> None:
        """Find how many calls each server sustains."""
        for server in contestants:
            if server.name not in self.left_out and server.takes(load, 1):
                try:
                    self.sustained.append(sustained(server, load))
                except Missing as missing:
                    self.left_out[server.name] = str(missing)
                else:
                    print(f"{load.name}, {server.name}: sustains {self.sustained[-1]['calls']:,} calls", flush=True)
                    self._write()

    def _write(self) -> None:
        if self._file:
            self._file.write_text(json.dumps(self.result, indent=1))

    @property
    def result(self) -> Record:
        return {
            "machine": machine(),
            "seconds": self.timing.window_s,
            "rounds": self.rounds,
            "rows": self.records,
            "left_out": [{"server": name, "why": why} for name, why in self.left_out.items()],
            "sustained": self.sustained,
        }


def told(row: Row) -> str:
    cpu_us = ", ".join(f"{one.cpu_us:.1f}{' (void)' if one.void else ''}" for one in row.trials)
    return f"{row.media.name}, {row.calls} calls, {row.server}: {cpu_us} µs"


def main(arguments: list[str]) -> int:
    names = [FLOOR, *(server.name for server in (*servers.ALL, servers.OURS_TWO))]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    parser.add_argument("--all", action="store_true", help="every server and load, and how many calls are sustained")
    parser.add_argument(
        "--quick", action="store_true", help="half a minute: two numbers of calls, one round of short windows"
    )
    parser.add_argument("--seconds", type=float, help="how long a window is")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--calls", type=int, nargs="+", help="numbers of calls")
    parser.add_argument("--loads", nargs="+", choices=[load.name for load in media.ALL], help="what calls say")
    parser.add_argument("--servers", nargs="+", choices=names, metavar="NAME", help=f"some of {'; '.join(names)}")
    given = parser.parse_args(arguments)
    usual = (QUICK_CALLS, QUICK_ROUNDS, QUICK_SECONDS) if given.quick else (CALLS, ROUNDS, SECONDS)
    bench = Bench(Timing(given.seconds or usual[2]), given.rounds or usual[1], given.json)
    began_s = time.monotonic()
    compare_all(bench, given.calls or usual[0], given.loads, given.servers, given.all)
    print(f"\n{table_of(bench.result)}\n{time.monotonic() - began_s:.0f} s")
    return 1 if any(row["void"] for row in bench.records) else 0


def compare_all(
    bench: Bench, calls: Sequence[int], loads: Sequence[str] | None, names: Sequence[str] | None, everything: bool
) -> None:
    """Measure what was asked for. The servers that only `--all` has are not put under the loads that only it has."""
    chosen = servers.ALL if everything else servers.USUAL
    contestants = (
        [server for server in (*servers.ALL, servers.OURS_TWO) if server.name in names] if names else [*chosen]
    )
    fewer = [server for server in contestants if server in servers.USUAL or names]
    for load in media.ALL if everything or loads else media.USUAL:
        if loads is None or load.name in loads:
            for number in calls:
                who = fewer if load in EXTRA_LOADS else contestants
                bench.compare(load, number, who, names is None or FLOOR in names)
    if everything:
        bench.sustain(media.OPUS_16K, contestants)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
