"""What `make bench` has to say, as one value that JSON can hold, and as a table: text here, Markdown by page.py.

A record is one server under one load with so many calls. Both tables are made of records, so that what is printed, what
is kept and what the docs show cannot differ. Times of latency are milliseconds in it, those of CPU microseconds.
"""

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiohook.codec.opus import libopus_version
from tests.bench.rounds import Row, Trial
from tests.bench.servers import LIMIT

Record = dict[str, Any]

COLUMNS = ("load", "calls", "server", "CPU a packet", "of C", "core", "p50", "p99", "max", "a call", "driver p99")
TEXTS = ("load", "server")
UNITS = ("", "", "", "µs", "", "", "ms", "ms", "ms", "KiB", "µs")


def records_of(rows: Sequence[Row]) -> list[Record]:
    """Return a record for each row of one load and one number of calls."""
    limit = next((row for row in rows if row.server == LIMIT.name), None)
    return [_record(row, limit) for row in rows]


def _record(row: Row, limit: Row | None) -> Record:
    sizes = list(map(len, row.media.packets()))
    valid = row if row.good else None
    return {
        "load": row.media.name,
        "about": row.media.about,
        "packet_bytes": round(statistics.mean(sizes)),
        "packet_ms": row.media.packet_ms,
        "calls": row.calls,
        "server": row.server,
        "good_rounds": len(row.good),
        "cpu_us": valid and valid.median(lambda one: one.cpu_us),
        "cpu_us_rounds": [one.cpu_us for one in row.good],
        "worker_us": valid and valid.median(lambda one: one.worker_us),
        "of_limit": row.relative_to(limit) if limit else None,
        "core": valid and valid.median(lambda one: one.core),
        "p50_ms": valid and _ms(row, "p50"),
        "p99_ms": valid and _ms(row, "p99"),
        "max_ms": max((one.latency_ns["max"] / 1e6 for one in row.good if one.latency_ns), default=None),
        "kib_a_call": valid and valid.median(lambda one: one.kib_a_call),
        "late_p99_us": _late_us(row, "p99"),
        "late_max_us": _late_us(row, "max"),
        "void": row.void,
        "trials": [_trial(one) for one in row.trials],
    }


def _ms(row: Row, quantile: str) -> float | None:
    found = row.median(lambda one: one.latency_ns.get(quantile))
    return None if found is None else found / 1e6


def _late_us(row: Row, quantile: str) -> float | None:
    found = row.median(lambda one: one.lateness_ns.get(quantile))
    return None if found is None else found / 1e3


def _trial(one: Trial) -> Record:
    return {name: getattr(one, name) for name in Trial.__slots__ if name != "server"}


def machine() -> dict[str, object]:
    """Return what this is measured on and with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libopus": libopus_version(),
    }


# ------------------------------------------------------------------------------------------------ as a table


def cells_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a record's cells under COLUMNS."""
    return (
        record["load"],
        f"{record['calls']:,}",
        record["server"],
        "void" if record["void"] else _number(record["cpu_us"], 1),
        _number(record["of_limit"], 2),
        "" if record["core"] is None else f"{record['core']:.0%}",
        _number(record["p50_ms"], 2),
        _number(record["p99_ms"], 2),
        _number(record["max_ms"], 1),
        _number(record["kib_a_call"], 1),
        _number(record["late_p99_us"], 0),
    )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def table_of(result: Mapping[str, Any]) -> str:
    """Return the whole result as text: the table, what is void and why, who was left out, who sustained how much."""
    about = {row["load"]: row["about"] for row in result["rows"]}
    lines = [*_aligned([COLUMNS, UNITS, *map(cells_of, result["rows"])]), *notes_of(result)]
    return "\n".join([*lines, *(f"{load}: {said}" for load, said in about.items())])


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        yield "  ".join(
            f"{cell:{'<' if name in TEXTS else '>'}{width}}"
            for name, cell, width in zip(COLUMNS, cells, widths, strict=True)
        ).rstrip()


def notes_of(result: Mapping[str, Any]) -> list[str]:
    """Return a line for whatever has no number, and for what was sustained."""
    return [
        *(
            f"void: {row['load']}, {row['calls']} calls, {row['server']}: {'; '.join(row['void'])}"
            for row in result["rows"]
            if row["void"]
        ),
        *(f"left out: {one['server']}: {one['why']}" for one in result["left_out"]),
        *(
            f"sustained: {one['load']}, {one['server']}: {one['calls']:,} calls; {one['why']}"
            for one in result["sustained"]
        ),
    ]
