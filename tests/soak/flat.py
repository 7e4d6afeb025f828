"""What flat means, of numbers taken at even times. Pure.

The first quarter is left out: a process grows while it does everything for the first time. Of the rest the medians of
the first and of the last third are compared. A line fitted through all of it would take one late peak for a slope;
medians of thirds take nothing for growth but what stays.
"""

from collections.abc import Sequence
from statistics import median
from typing import TypeVar

WARM_SHARE = 0.25
FEWEST = 9


Value = TypeVar("Value")


def settled(values: Sequence[Value]) -> Sequence[Value]:
    """Return the values behind the first quarter."""
    return values[round(len(values) * WARM_SHARE) :]


def growth(values: Sequence[float]) -> float:
    """Return by how much the last third lies above the first, the first quarter aside. At least FEWEST values."""
    if len(values) < FEWEST:
        raise ValueError(f"{len(values)} values say nothing about growth: {FEWEST} are needed")
    rest = settled(values)
    third = len(rest) // 3
    return median(rest[-third:]) - median(rest[:third])
