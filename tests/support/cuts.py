"""Every parser case is delivered whole, byte by byte and in random cuts, and must come out the same.

TCP promises bytes, not pieces: a parser whose outcome depends on the cuts is wrong in a way that no example shows.
"""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

Outcome = TypeVar("Outcome")

RANDOM_CUTS = 8


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    """Return `data` cut at `places`, without empty pieces."""
    bounds = sorted({0, len(data), *places})
    return [data[start:end] for start, end in pairwise(bounds)]


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Yield `data` in pieces: whole, byte by byte, and in RANDOM_CUTS ways that are the same in every run."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    choice = random.Random(data)
    for _ in range(RANDOM_CUTS):
        count = choice.randint(1, max(1, min(len(data), 12)))
        yield cut_at(data, [choice.randint(0, len(data)) for _ in range(count)])


def same_in_every_cut(data: bytes, outcome_of: Callable[[list[bytes]], Outcome]) -> Outcome:
    """Run `outcome_of` on `data` in all cuts, assert that it never differs, and return it.

    `outcome_of` makes a fresh parser, feeds it the pieces in order and returns all that can be seen of it.
    """
    whole = outcome_of([data])
    for pieces in cuts(data):
        outcome = outcome_of(pieces)
        assert outcome == whole, f"differs when cut into {[len(piece) for piece in pieces]}"
    return whole


def cut_places(limit: int = 4096) -> st.SearchStrategy[list[int]]:
    """Strategy: places for `cut_at`."""
    return st.lists(st.integers(0, limit), max_size=12)
