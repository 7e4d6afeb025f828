"""The worker table and the pool as somebody sees them who only watches: numbers, no judgement.

Reads a mapped arena, knows no process and asks nobody: it works while the daemon hangs, and after it died.
"""

import time
from typing import Any

import numpy as np

from audiohook.memory import layout
from audiohook.memory.arena import Arena


def read_rows(arena: Arena) -> list[dict[str, Any]]:
    """Return every row that was ever used, the supervisor's last: words, counters, and quantiles of its histograms."""
    sizes, now_ns = arena.geometry, time.monotonic_ns()
    rows = []
    for number in range(sizes.rows + 1):
        words = {name: arena.words[layout.row_word(sizes, number, name)] for name in layout.ROW}
        if not words["started_ns"]:
            continue
        rows.append(
            {
                "row": number,
                "kind": "supervisor" if number == sizes.supervisor_row else "worker",
                "pid": words["pid"],
                "generation": words["generation"],
                "state": layout.ROW_STATES.get(words["state"], "?"),
                "live": words["live"],
                "heartbeat_age_ms": max(0, now_ns - words["heartbeat_ns"]) // 1_000_000,
                "counters": {name: arena.words[layout.counter_word(sizes, number, name)] for name in layout.COUNTERS},
                "p99": {name: quantile(read_histogram(arena, number, name), 0.99) for name in layout.HISTOGRAMS},
            }
        )
    return rows


def read_histogram(arena: Arena, row: int, name: str) -> list[int]:
    """Return the buckets of a row's histogram: bucket b counts values v with v.bit_length() == b."""
    first = layout.histogram_word(arena.geometry, row, name)
    return list(arena.words[first : first + layout.HISTOGRAM_BUCKETS])


def quantile(buckets: list[int], share: float) -> int | None:
    """Return an upper bound of the value below which `share` of all counted values lie, None if nothing was counted."""
    wanted, seen = share * sum(buckets), 0
    for bits, count in enumerate(buckets):
        seen += count
        if count and seen >= wanted:
            return (1 << bits) - 1
    return None


def count_slots(arena: Arena) -> dict[str, int]:
    """Return how many slots are in each state."""
    counts = np.bincount(arena.states(), minlength=len(layout.STREAM_STATES))
    return {name: int(counts[state]) for state, name in enumerate(layout.STREAM_STATES) if counts[state]}


def read_header(arena: Arena) -> dict[str, Any]:
    """Return what the arena's header says of the daemon and of the memory."""
    now_ns = time.monotonic_ns()
    return {
        "arena_id": str(arena.arena_id),
        "state": layout.ARENA_STATES.get(arena.header("state"), "?"),
        "supervisor_pid": arena.header("supervisor_pid"),
        "uptime_seconds": (now_ns - arena.header("created_monotonic_ns")) // 1_000_000_000,
        "arena_bytes": arena.header("arena_bytes"),
        "slots": arena.geometry.slots,
        "ring_seconds": arena.geometry.ring_bytes / (2 * layout.RING_RATE_HZ),
    }
