"""`kill -9` of one of four workers: its own calls end, the others lose nothing, and nobody waits in vain.

It is stopped a moment before, so that what it had published and whom it had accepted can be seen; to it that is no
difference.
"""

import signal
import time

from tests.faults.live import LiveCalls
from tests.faults.newcomers import Newcomers
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import (
    WORKERS,
    accepted_ports,
    accepting,
    daemon_for,
    judge_calls,
    streams_of,
    wait_workers,
)
from tests.support.daemon import kill

READY_S = 1.0


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    with daemon_for(calls) as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        with Newcomers(daemon.address) as newcomers:
            time.sleep(seconds / 2)  # not a wait for anything: the calls go on before and after
            row, pid = max(accepting(daemon).items(), key=lambda one: len(streams_of(daemon, one[0])))
            kill(pid, signal.SIGSTOP)
            held, victims = accepted_ports(pid), streams_of(daemon, row)
            struck_s = time.monotonic()
            kill(pid, signal.SIGKILL)
            outcome.recovered_s = wait_workers(daemon, WORKERS, without=pid) - struck_s
            aborted = daemon.wait(lambda: daemon.counter("worker_died"), "the dead worker's streams, marked")
            time.sleep(seconds / 2)
            newcomers.stop()
            newcomers.judge(outcome, struck_s, held)
        told = live.finish()
        judge_calls(outcome, told, victims)
        outcome.count(aborted >= len(victims) > 0, f"{aborted} streams marked of {len(victims)} that were live")
        outcome.timed(outcome.recovered_s < READY_S, f"the successor was ready after {outcome.recovered_s:.2f} s")
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row("kill-worker", "kill -9 of one of four workers", run)
