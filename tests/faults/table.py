"""The table at the end: fault | calls | samples lost, by cause | refused | recovered after | verdict. Also as JSON."""

import json
from collections.abc import Mapping

from tests.faults.outcome import Outcome
from tests.faults.row import Row

COLUMNS = ("fault", "calls", "frames lost by others", "frames of its own", "refused", "recovered after", "verdict")


def table_of(outcomes: Mapping[Row, Outcome]) -> str:
    """Return the table, and below it what was wrong or void."""
    rows = [COLUMNS, *(_cells(row, outcome) for row, outcome in outcomes.items())]
    widths = [max(len(cells[at]) for cells in rows) for at in range(len(COLUMNS))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows
    ]
    for row, outcome in outcomes.items():
        lines += [f"{row.name} FAILED: {told}" for told in outcome.wrong]
        if outcome.void:
            lines.append(f"{row.name}: THE TIMES ARE VOID: {outcome.void}")
    return "\n".join(lines)


def _cells(row: Row, outcome: Outcome) -> tuple[str, ...]:
    recovered = "-" if outcome.recovered_s is None else f"{outcome.recovered_s:.2f} s"
    counts = (_counts(one) for one in (outcome.lost, outcome.own, outcome.refused))
    return (row.name, str(outcome.calls), *counts, recovered, outcome.verdict)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {cause}" for cause, count in sorted(counts.items()) if count) or "0"


def json_of(outcomes: Mapping[Row, Outcome]) -> str:
    """Return the same as one JSON list, with every finding."""
    return json.dumps(
        [
            {
                "fault": row.name,
                "about": row.about,
                "calls": outcome.calls,
                "lost": dict(outcome.lost),
                "own": dict(outcome.own),
                "refused": dict(outcome.refused),
                "recovered_seconds": outcome.recovered_s,
                "verdict": outcome.verdict,
                "void": outcome.void,
                "findings": [{"told": one.told, "holds": one.holds, "timed": one.timed} for one in outcome.findings],
            }
            for row, outcome in outcomes.items()
        ],
        indent=2,
    )
