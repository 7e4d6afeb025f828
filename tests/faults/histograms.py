"""The workers' own histograms between two instants: how long packets took, how late timers were.

Their buckets are powers of two, so a quantile is known up to the upper bound of its bucket: 16.8 ms is the last one
below 20 ms.
"""

from audiohook.memory import layout
from tests.support.daemon import Daemon

Counts = list[int]


def counts(daemon: Daemon, name: str) -> Counts:
    """Return one histogram, summed over all workers that there ever were."""
    arena = daemon.hub.arena
    starts = [layout.histogram_word(arena.geometry, row, name) for row in range(arena.geometry.rows)]
    return [sum(arena.words[start + bucket] for start in starts) for bucket in range(layout.HISTOGRAM_BUCKETS)]


def quantile_ms(before: Counts, after: Counts, share: float) -> float:
    """Return a time, in milliseconds, that at least `share` of what was counted between the two do not reach."""
    grown = [late - early for early, late in zip(before, after, strict=True)]
    wanted, seen = max(1, -int(-share * sum(grown) // 1)), 0
    for bucket, count in enumerate(grown):
        seen += count
        if seen >= wanted:
            return (1 << bucket) / 1e6
    return 0.0
