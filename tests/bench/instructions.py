"""Instructions a packet, counted by callgrind: `.venv/bin/python -m tests.bench.instructions [--json]`.

For 20 ms of Opus and for 100 ms of PCMU in stereo: all, those of libopus, which any server spends, and ours. The counts
vary by less than 1 % from run to run; with another Python, NumPy or processor they are others.

valgrind is the system's, or Debian's, downloaded once below `var/`. `test_instructions.py` holds the counts below
bounds.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass

from audiohook.load.debian_packages import PackagesError
from tests.bench.callgrind import Counts, between, count, each_of, most_of
from tests.bench.packet_path import KINDS, NOTHING, SIZES

LIBOPUS = "libopus"


@dataclass(frozen=True, slots=True)
class Instructions:
    """What one packet takes, from "readable" to published, the kernel's aside. `objects`: by library, most first."""

    kind: str
    libopus: int
    ours: int
    objects: dict[str, int]


def measure() -> list[Instructions]:
    """Run callgrind. Raises PackagesError where there is none, RuntimeError where the program does not get through."""
    return instructions_of(count("tests.bench.packet_path"))


def instructions_of(counts: Counts) -> list[Instructions]:
    """Return what a packet of each kind costs: the larger run less the smaller, less what the counting itself takes."""
    nothing = between(counts, NOTHING, SIZES)
    found = []
    for kind in KINDS:
        if kind == NOTHING:
            continue
        objects = between(counts, kind, SIZES)
        objects.subtract(nothing)
        packet = each_of(objects, SIZES)
        libopus = sum(total for name, total in packet.items() if name.startswith(LIBOPUS))
        found.append(Instructions(kind, libopus, sum(packet.values()) - libopus, packet))
    return found


def table(found: list[Instructions]) -> str:
    """Return the counts as lines."""
    lines = [f"{'a packet of':<12}{'all':>10}{'libopus':>10}{'ours':>10}   most of it"]
    for one in found:
        counted = f"{one.libopus + one.ours:>10,}{one.libopus:>10,}{one.ours:>10,}"
        lines.append(f"{one.kind:<12}{counted}   {most_of(one.objects)}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description="Instructions a packet.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    try:
        found = measure()
    except PackagesError as error:
        print(f"valgrind is not installed and cannot be downloaded: {error}", file=sys.stderr)
        return 1
    print(json.dumps({one.kind: asdict(one) for one in found}, indent=2) if given.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
