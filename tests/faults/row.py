"""The shape of a row, and of all rows: a name, a sentence, its size, and a function that does it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.outcome import Outcome


@dataclass(frozen=True)
class Row:
    """`run(calls, seconds)`: so many live calls, and for how long the fault lasts, or is watched.

    Whatever else a row needs grows with its calls, so that a small run does the same in small. `limit_s` is how long
    the row may take at full size, all told.
    """

    name: str
    about: str
    run: Callable[[int, float], Outcome]
    calls: int = 200
    seconds: float = 5.0
    limit_s: float = 90.0
