"""What readers cost and how soon they have what is said: `.venv/bin/python -m tests.bench.readers`.

Windows of any length; from a packet's read by its worker to its block in a waiting reader's hands; one process that
reads all of a thousand streams; and what a packet costs its worker beside readers that wait. A minute in all; the
servers have one processor, the calls and the readers the other. A row that is void says why: others were at work.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.bench import readers_live, readers_windows
from tests.bench.readers_live import Ingest, Many, Waking
from tests.bench.readers_windows import Window

PARTS = ("windows", "waking", "many", "ingest")
WAKING_S = 4.0
MANY_S = 5.0
INGEST_S = 1.5
INGEST_CALLS = 50
ROUNDS = 2
WAITING = (0, 10, 100, 500)
WINDOW_TARGET_US = 5.0
SLOT_TARGET_US = 200.0


class Figures(msgspec.Struct):
    """Everything that was measured; what was not is empty."""

    windows: list[Window] = []
    waking: list[Waking] = []
    many: list[Many] = []
    ingest: list[Ingest] = []


def lines_of_windows(rows: list[Window]) -> Iterator[str]:
    yield f"a window (aim: < {WINDOW_TARGET_US:g} us, whatever its length)"
    for row in rows:
        yield f"  {row.seconds:>6.2f} s{row.frames:>10,} frames{row.us:>8.2f} us{row.loads:>6} loads"


def lines_of_waking(rows: list[Waking]) -> Iterator[str]:
    yield f"waking (aim: p50 < {SLOT_TARGET_US:g} us on a slot, 1 ms more on a bell)"
    for row in rows:
        delay = f"p50 {row.p50_us:>6.0f} us  p99 {row.p99_us:>6.0f} us"
        yield f"  {row.kind:<6}{row.wakes:>8,} blocks  {delay}  lost {row.lost_frames}{_void(row.void)}"


def lines_of_many(rows: list[Many]) -> Iterator[str]:
    yield f"one process, blocks of {readers_live.BLOCK_FRAMES} of every stream"
    for row in rows:
        cost = f"{row.cpu_us:>6.1f} us each, {100 * row.core:>3.0f} % of a core, {row.sleeps_a_second:,.0f} sleeps/s"
        late = f"p50 {row.p50_ms:.1f} p99 {row.p99_ms:.1f} ms, {row.late:,} later than 20 ms, lost {row.lost_frames}"
        yield f"  {row.streams:>5,} streams{row.blocks:>9,} of {row.wanted:,} blocks  {cost}{_void(row.void)}"
        yield f"        {late}, broken {row.broken}"


def lines_of_ingest(rows: list[Ingest]) -> Iterator[str]:
    yield "a packet's cost to its worker beside readers that wait"
    for row in rows:
        cost = f"{row.cpu_us:>6.2f} us, {row.ratio:.3f} of none, at most {row.worst:.3f}"
        read = f"{row.blocks_a_second:>6,.0f} blocks/s read, lost {row.lost_frames}"
        yield f"  {row.readers:>5} readers {cost}; {row.bells_a_second:>5.0f} bells/s; {read}{_void(row.void)}"


def _void(why: str) -> str:
    return f"  VOID: {why}" if why else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", default=PARTS, help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 1000], help="streams that one process reads")
    parser.add_argument("--readers", type=int, nargs="+", default=WAITING, help="readers that wait; 0 is added")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of readers that wait")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    found = Figures()
    if "windows" in given.parts:
        found.windows = readers_windows.measure()
        print(*lines_of_windows(found.windows), sep="\n", flush=True)
    if "waking" in given.parts:
        found.waking = [readers_live.waking(kind, WAKING_S) for kind in ("slot", "bell")]
        print(*lines_of_waking(found.waking), sep="\n", flush=True)
    if "many" in given.parts:
        found.many = [readers_live.many(streams, MANY_S) for streams in given.streams]
        print(*lines_of_many(found.many), sep="\n", flush=True)
    if "ingest" in given.parts:
        counts = tuple(sorted({0, *given.readers}))
        found.ingest = readers_live.ingest(INGEST_CALLS, counts, given.rounds, INGEST_S)
        print(*lines_of_ingest(found.ingest), sep="\n", flush=True)
    print(f"in {time.monotonic() - began:.0f} s")
    if given.json:
        given.json.write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
