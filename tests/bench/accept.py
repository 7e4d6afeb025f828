"""What new connections cost: `.venv/bin/python -m tests.bench.accept [--json FILE] [--connections N]`.

First the worker's CPU time a connection, of each kind (`accept_served.py`), one daemon of one worker each; then a
thousand calls at once on two workers, new and coming back (`accept_rush.py`). Under a minute. What counts is what a
core could do, 1 / CPU time; the rate by the clock is shown where the worker was busy all the time, else "client": it
says how fast the clients were. Exit status 1: a figure is below what is aimed at, or a crowd was none.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.bench.accept_rush import CROWD, TARGET_S, Rush
from tests.bench.accept_rush import measure as measure_rush
from tests.bench.accept_served import KINDS, Row, measure

CONNECTIONS = 1200


class Figures(msgspec.Struct):
    """What is written to the file."""

    rows: list[Row]
    rushes: list[Rush]


def head() -> str:
    return f"{'a connection of one worker':<28}{'CPU us':>8}{'a core s':>10}{'aim':>7}{'busy':>7}{'by clock':>10}"


def line_of(row: Row) -> str:
    aim = f"{row.target_a_second:,}" if row.target_a_second else "-"
    clock = f"{row.a_second:,.0f}" if row.saturated else "client"
    return f"{row.name:<28}{row.cpu_us:>8.0f}{row.a_core_second:>10,.0f}{aim:>7}{row.busy:>7.0%}{clock:>10}"


def lines_of_rush(rush: Rush) -> Iterator[str]:
    yield f"{rush.name}, on two workers{': void, ' + rush.void if rush.void else ''}"
    yield f"  all on their way in {rush.connect_s * 1e3:.0f} ms; answered the first after {rush.first_s * 1e3:.0f} ms, "
    yield f"  half of them {rush.median_s:.2f} s, the last {rush.last_s:.2f} s; the longest wait {rush.wait_s:.2f} s"
    if rush.refused:
        yield f"  NOT accepted: {rush.refused:,}"


def missed(figures: Figures) -> list[str]:
    """Return what is not as it is aimed at."""
    found = [f"{row.name}: {row.a_core_second:,.0f} a second" for row in figures.rows if _below(row)]
    late = [rush for rush in figures.rushes if rush.void or rush.refused or rush.last_s > TARGET_S]
    return found + [f"{rush.name}: {rush.void or f'{rush.last_s:.2f} s, {rush.refused} refused'}" for rush in late]


def _below(row: Row) -> bool:
    return row.a_core_second < row.target_a_second


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="of each kind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    began = time.monotonic()
    figures = Figures([], [])
    print(head())
    for kind in KINDS:
        figures.rows.append(measure(kind, given.connections))
        print(line_of(figures.rows[-1]), flush=True)
    figures.rushes += measure_rush(CROWD)
    for rush in figures.rushes:
        print(*lines_of_rush(rush), sep="\n")
    below = missed(figures)
    print(*(f"missed: {one}" for one in below), f"in {time.monotonic() - began:.0f} s", sep="\n")
    if given.json:
        given.json.write_bytes(msgspec.json.encode(figures))
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
