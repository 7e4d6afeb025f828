"""Calls that come and go at 70 % of capacity for so many minutes; status 1 unless nothing grows and nothing is lost.

python -m tests.soak.run [--minutes 30] [--calls 100] [--workers 2] [--seed 0]

First the ramp (ramp.py): with all of it coming and going the workers get less and less of a core until they no longer
keep up. That is the share for which these calls are the capacity, and they are held to what makes it 70 %. Held workers
use what they get: the more waits, the less each packet costs. That they keep up is seen by what is refused and shed.
It ends by itself, some minutes after the time, and takes with it all that it has started.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from types import FrameType

from tests.faults.neighbours import Neighbours
from tests.faults.outcome import Outcome
from tests.faults.scene import daemon_for
from tests.soak.gauges import Gauges, Reading
from tests.soak.holding import held
from tests.soak.ramp import capacity
from tests.soak.soaked import Soak

LOAD = 0.7
MOST_MINUTES = 24 * 60
OVER_WITHIN_S = 420
SHOWN_LINES = 60
COLUMNS = "minute  live  slots  connections  streams  packets/s   CPU  µs/packet  MiB: all  {names}  fds  threads"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help=f"how long; default 30, at most {MOST_MINUTES}")
    parser.add_argument("--calls", type=int, default=100, help="calls that are live at once, on average; default 100")
    parser.add_argument("--workers", type=int, default=2, help="default 2")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other lengths, pauses and faults")
    given = parser.parse_args(arguments)
    if not 0 < given.minutes <= MOST_MINUTES:
        parser.error(f"--minutes {given.minutes:g}: wanted more than 0, at most {MOST_MINUTES}")
    neighbours, shown, log = Neighbours(), sys.stdout, io.StringIO()
    with (
        redirect_stdout(log),
        bounded(given.minutes * 60 + OVER_WITHIN_S),
    ):  # the log: what the daemon prints at its end
        outcome = soaked(given, partial(print, file=shown, flush=True))
    outcome.void = outcome.void or neighbours.told()
    for finding in outcome.findings:
        void = finding.timed and outcome.void and not finding.holds
        print(f"{'void' if void else 'ok' if finding.holds else 'NOT':<5}{finding.told}")
    if outcome.void:
        print(f"what depends on time is void: {outcome.void}")
    if outcome.wrong:
        print(unusual(log.getvalue()))
    print(f"{'FLAT' if not outcome.wrong else 'NOT FLAT'}: {outcome.calls} calls")
    return 1 if outcome.wrong else 0


def soaked(given: argparse.Namespace, say: Callable[[str], None]) -> Outcome:
    """Do it; what was started is gone when this returns."""
    with daemon_for(2 * given.calls, workers=given.workers) as daemon:
        workers = list(daemon.wait_ready().workers().values())
        with held(*workers) as hold:
            share = capacity(daemon, hold, workers, given.calls, given.seed)
            hold.to(share / LOAD)
            say(f"{given.calls} calls are the capacity of {len(workers)} workers with {share:.1%} of a core each")
            say(f"they get {share / LOAD:.1%} each, by {hold.how}; {given.minutes:g} minutes, seed {given.seed}")
            soak = Soak(daemon, given.calls, given.minutes * 60, given.seed)
            table = Table(soak.gauges, share / LOAD * len(workers))
            say(table.head)
            outcome = soak.run(lambda readings: say(table.line(readings)))
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
        return outcome


def unusual(log: str) -> str:
    """Return the last of what the daemon's log has besides the coming and going of calls."""
    lines = [line for line in log.splitlines() if " INFO " not in line]
    return "\n".join(f"    {line}" for line in lines[-SHOWN_LINES:])


class Table:
    """A line a minute."""

    def __init__(self, gauges: Gauges, cores: float) -> None:
        """`cores`: what all workers together are held to."""
        self._gauges = gauges
        self._cores = cores
        self._last: Reading | None = None
        self._names = list(gauges.pids)
        self.head = COLUMNS.format(names="  ".join(self._names))

    def line(self, readings: Sequence[Reading]) -> str:
        now, last = readings[-1], self._last or readings[0]
        self._last = now
        used_s = (now.workers_cpu_ns - last.workers_cpu_ns) / 1e9
        seconds, packets = now.at_s - last.at_s, now.packets - last.packets
        cells = [
            f"{(now.at_s - readings[0].at_s) / 60:6.1f}",
            f"{now.live:4}",
            f"{now.slots_in_use:5}",
            f"{now.connections:11,}",
            f"{now.streams:7,}",
            f"{packets / seconds:9,.0f}",
            f"{used_s / seconds / self._cores:4.0%}",
            f"{used_s / max(1, packets) * 1e6:9.1f}",
            f"{self._gauges.pss_mib():8.1f}",
            *(f"{now.own_mib[name]:{len(name)}.1f}" for name in self._names),
            f"{sum(now.spare_fds.values()):3}",
            f"{sum(now.threads.values()):7}",
        ]
        return "  ".join(cells)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Give up after so long, or when told to, by way of every `with` block: nothing that was started stays."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise SystemExit(f"given up by {signal.Signals(number).name}")

    numbers = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
