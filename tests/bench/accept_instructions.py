"""Instructions a new call, counted by callgrind: `.venv/bin/python -m tests.bench.accept_instructions`.

For a call that stays, until its 101 is sent, and for one that is ended at once. The kernel's share is not counted, nor
what waits for memory: a fifth of the time and more (docs/performance.md, "New connections"). The counts vary by less
than 1 % from run to run; with another Python or NumPy they are others.

valgrind is the system's, or Debian's, downloaded once below `var/`. `test_accept_instructions.py` holds the counts
below bounds.
"""

import sys
from dataclasses import dataclass

from audiohook.load.debian_packages import PackagesError
from tests.bench.accept_path import ENDED, KEPT, SIZES
from tests.bench.callgrind import Counts, between, count, each_of, most_of


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call takes of the worker. `objects`: by library, most first."""

    kind: str
    instructions: int
    objects: dict[str, int]


def measure() -> list[Cost]:
    """Run callgrind. Raises PackagesError where there is none, RuntimeError where the program does not get through."""
    return costs_of(count("tests.bench.accept_path"))


def costs_of(counts: Counts) -> list[Cost]:
    """Return what a call of each kind costs: the larger run less the smaller."""
    found = []
    for kind in (KEPT, ENDED):
        call = each_of(between(counts, kind, SIZES), SIZES)
        found.append(Cost(kind, sum(call.values()), call))
    return found


def table(found: list[Cost]) -> str:
    """Return the counts as lines."""
    lines = [f"{'a call, ':<10}{'instructions':>14}   most of it"]
    for one in found:
        lines.append(f"{one.kind:<10}{one.instructions:>14,}   {most_of(one.objects)}")
    return "\n".join(lines)


def main() -> int:
    try:
        print(table(measure()))
    except PackagesError as error:
        print(f"valgrind is not installed and cannot be downloaded: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
