"""The largest number of calls that a server sustains: 30 s in which no packet is readable later than 20 ms after it was
sent. Every call is watched. Found by halving with short runs; the long run decides, and where it fails, 5 % fewer try.
"""

from collections.abc import Callable

from tests.bench.cores import two_cores
from tests.bench.driving import BREAKS, Driven, Timing, broke, drive, placed
from tests.bench.media import Media
from tests.bench.servers import Server
from tests.bench.table import Record
from tests.faults.neighbours import Neighbours

LATEST_NS = 20_000_000
LONG_S, SHORT_S = 30.0, 3.0
FEWER = 0.95
STEP = 0.03
"""What the halving leaves open, as a share."""
LONG_TRIES = 8
TRIES = 3
MOST_CALLS = 4000


def sustained(server: Server, media: Media, long_s: float = LONG_S, most: int = MOST_CALLS) -> Record:
    """Return the record of the largest number, with what stopped more. Raises `Missing`."""
    why: dict[int, str] = {}

    def short(calls: int) -> bool:
        why[calls] = fails(server, media, calls, SHORT_S)
        return not why[calls]

    best = largest(short, min(most, server.most_calls))
    for _ in range(LONG_TRIES):
        if best == 0:
            break
        why[best] = fails(server, media, best, long_s)
        if not why[best]:
            break
        best = int(best * FEWER)
    else:
        best = 0
    more = min((calls for calls, told in why.items() if told and calls > best), default=0)
    told = f"with {more:,}: {why[more]}" if more else f"{best:,} is the most that is tried"
    return {"load": media.name, "server": server.name, "calls": best, "seconds": long_s, "why": told}


def largest(holds: Callable[[int], bool], most: int) -> int:
    """Return the largest number for which `holds` held, within STEP. What fails is taken to fail with more, too."""
    good, bad = 0, most + 1
    while bad - good > max(1, STEP * good):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def fails(server: Server, media: Media, calls: int, seconds: float) -> str:
    """Return what goes wrong with so many calls for so long; "" if nothing does.

    Where it was not the server, but the driver or somebody else on this machine, the run is made again.
    """
    why = ""
    for _ in range(TRIES):
        neighbours = Neighbours()
        try:
            with server.start(media, calls, two_cores()[1]) as running, placed(running, media, calls) as standing:
                driven = drive(running, media, standing, Timing(seconds), sampled=calls)
                wrong = [*driven.lost, *running.wrong(driven.sent)]
        except BREAKS as error:
            return broke(error)
        told = neighbours.told()
        void = [*driven.late, *([told] if told else [])]
        why = next(iter([*wrong, *void, *_later(driven)]), "")
        if wrong or not void:
            break
    return why


def _later(driven: Driven) -> list[str]:
    latest_ns = driven.latency_ns.get("max", 0)
    return [f"a packet was {latest_ns / 1e6:.1f} ms late"] if latest_ns > LATEST_NS else []
