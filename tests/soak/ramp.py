"""For which share of a core so many calls, coming and going, are the capacity of each worker.

As the ramp of the row `overload` of `make faults`, but with the soak's own load: calls that come and go cost more than
those that only talk, and more than a share of them can be told beforehand. With all of it going on the workers get less
and less of a core, until audio is shed or a new call refused.
"""

import time
from contextlib import ExitStack

from tests.faults.scene import cpu_ns
from tests.soak.holding import Holds
from tests.soak.soaked import lanes_of
from tests.support.daemon import Daemon

BEGUN_S = 12.0
"""By then as many calls are live as there will be on average."""

LOOK_S = 5.0
STEP = 0.9
LEAST = 0.01
MOST_S = 300.0


def capacity(daemon: Daemon, hold: Holds, pids: list[int], calls: int, seed: int) -> float:
    """Return the least share of a core for each worker with which nobody is shed or refused."""
    with ExitStack() as stack:
        waves, others, refused = lanes_of(daemon, calls, time.monotonic() + MOST_S, seed)
        lanes = [*waves, *others, refused]
        for lane in lanes:
            stack.enter_context(lane)
        for lane in lanes:
            stack.callback(lane.stop)
        time.sleep(BEGUN_S)  # the load is what is measured, and it is not there at once
        before = sum(map(cpu_ns, pids))
        time.sleep(LOOK_S)  # a window
        share = (sum(map(cpu_ns, pids)) - before) / 1e9 / LOOK_S / len(pids)
        while share > LEAST:
            hold.to(share)
            if not _keeps_up(daemon):
                share /= STEP
                break
            share *= STEP
        hold.lift()
    daemon.wait(lambda: daemon.live() == 0 and not daemon.slot_states()["PARKED"], "the end of the ramp's calls")
    return share


def _keeps_up(daemon: Daemon) -> bool:
    before = daemon.counters()
    time.sleep(LOOK_S)  # a window
    found = daemon.counters() - before
    return not found["shed_messages"] and not found["overloaded"]
