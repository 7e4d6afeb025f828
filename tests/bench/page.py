"""Puts a result of tests/bench/run.py into docs/performance.md, between two markers: everything there is made here.

python -m tests.bench.page JSON [PAGE]
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.bench.table import COLUMNS, UNITS, cells_of, notes_of
from tests.support.daemon import ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- results of tests.bench.run: begin -->", "<!-- results of tests.bench.run: end -->"


def with_result(page: str, result: Mapping[str, Any]) -> str:
    """Return a page with a result in place of what is between the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the result: {BEGIN!r} and {END!r} in this order")
    return f"{before}{BEGIN}\n\n{markdown_of(result)}\n{END}{after}"


def markdown_of(result: Mapping[str, Any]) -> str:
    """Return a result as Markdown: what it was measured on, a table for each load, and the notes."""
    made = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    lines = [f"Measured on: {made}. Medians of {result['rounds']} rounds of {result['seconds']:g} s.", ""]
    for _, rows in groupby(result["rows"], key=lambda row: row["load"]):
        kept = list(rows)
        lines += [f"**{kept[0]['about']}** (`{kept[0]['load']}`)", "", *_table(kept), ""]
    lines += [f"- {note}" for note in notes_of(result)]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    heads = [f"{name}, {unit}" if unit else name for name, unit in zip(COLUMNS, UNITS, strict=True)][1:]
    rule = ["--:" if name != "server" else "---" for name in COLUMNS[1:]]
    return [_line(heads), _line(rule), *(_line(cells_of(row)[1:]) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.page", description=__doc__)
    parser.add_argument("result", type=Path, metavar="JSON", help="what `python -m tests.bench.run --json` wrote")
    parser.add_argument("page", type=Path, nargs="?", default=PAGE, help="default: docs/performance.md")
    given = parser.parse_args(arguments)
    page = given.page.read_text(encoding="utf-8")
    given.page.write_text(with_result(page, json.loads(given.result.read_text())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
