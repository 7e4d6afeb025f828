"""Every fault at full size, one table at the end; status 1 unless every row is ok.

python -m tests.faults.run [--calls N] [--seconds S] [--json FILE] [ROW ...]
"""

import argparse
import contextlib
import io
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from tests.faults.neighbours import Neighbours
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.rows import ROWS
from tests.faults.table import json_of, table_of

SHOWN_LINES = 60


class TooLong(BaseException):
    """A row has had all its time. Not an Exception: nothing on the way may take it for its own."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all of {' '.join(row.name for row in ROWS)}")
    parser.add_argument("--calls", type=int, help="live calls in each row, instead of its own number")
    parser.add_argument("--seconds", type=float, help="how long each fault lasts, instead of the row's own time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    given = parser.parse_args(arguments)
    known = {row.name: row for row in ROWS}
    unknown = [name for name in given.rows if name not in known]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(known)}")
    outcomes: dict[Row, Outcome] = {}
    for row in [known[name] for name in given.rows] or ROWS:
        print(f"{row.name}: {row.about}", flush=True)
        began_s = time.monotonic()
        outcomes[row] = done(row, given.calls or row.calls, given.seconds or row.seconds)
        shown = "; ".join(one.told for one in outcomes[row].findings)
        print(f"    {outcomes[row].verdict} in {time.monotonic() - began_s:.0f} s: {shown}", flush=True)
    print(f"\n{table_of(outcomes)}")
    if given.json:
        given.json.write_text(json_of(outcomes))
    return 0 if all(outcome.verdict == "ok" for outcome in outcomes.values()) else 1


def done(row: Row, calls: int, seconds: float) -> Outcome:
    """Do a row within its time. What it has started is gone when this returns: rows leave by their `with` blocks."""

    def on_alarm(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, row.limit_s)
    logged, neighbours = io.StringIO(), Neighbours()
    try:
        with contextlib.redirect_stdout(logged):  # the daemon's log, which its `with` block prints
            outcome = row.run(calls, seconds)
        outcome.void = outcome.void or neighbours.told()
        if outcome.verdict == "FAILED":
            print(_unusual(logged.getvalue()))
        return outcome
    except TooLong:
        return _broken(calls, f"it was not over within {row.limit_s:g} s")
    except Exception as error:
        print("".join(traceback.format_tb(error.__traceback__)))  # without its text: that has the daemon's log
        print(_unusual(logged.getvalue()))
        return _broken(calls, str(error).partition("\n")[0] or type(error).__name__)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _unusual(log: str) -> str:
    """Return what the daemon's log has besides the coming and going of calls."""
    lines = [line for line in log.splitlines() if " INFO stream " not in line]
    return "\n".join(f"    {line}" for line in lines[-SHOWN_LINES:])


def _broken(calls: int, told: str) -> Outcome:
    outcome = Outcome(calls)
    outcome.count(False, told)
    return outcome


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
