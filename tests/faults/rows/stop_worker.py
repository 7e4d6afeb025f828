"""SIGSTOP of one of four workers: found to be hung in the configured time, killed and replaced; nobody waits for it."""

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

HANG_S = 2.0
REPLACED_S = 3.0
"""Beyond the configured time: the dump of its stacks, which a stopped process cannot make, TERM, and KILL after it."""


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    settings = f"server.hang_seconds={HANG_S}"
    with daemon_for(calls, settings) as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        with Newcomers(daemon.address) as newcomers:
            time.sleep(seconds / 2)  # not a wait for anything: the calls go on before and after
            row, pid = max(accepting(daemon).items(), key=lambda one: len(streams_of(daemon, one[0])))
            struck_s = time.monotonic()
            kill(pid, signal.SIGSTOP)
            held, victims = accepted_ports(pid), streams_of(daemon, row)
            daemon.wait_logged(rf"hung.* pid={pid} ")
            found_s = time.monotonic() - struck_s
            outcome.recovered_s = wait_workers(daemon, WORKERS, without=pid) - struck_s
            aborted = daemon.wait(lambda: daemon.counter("worker_died"), "the dead worker's streams, marked")
            time.sleep(seconds / 2)
            newcomers.stop()
            newcomers.judge(outcome, struck_s, held)
        told = live.finish()
        judge_calls(outcome, told, victims)
        outcome.count(aborted >= len(victims) > 0, f"{aborted} streams marked of {len(victims)} that were live")
        outcome.count(found_s >= HANG_S * 0.9, f"found after {found_s:.2f} s, configured {HANG_S:g} s")
        outcome.timed(found_s < HANG_S + 1, f"found after {found_s:.2f} s")
        told_s = f"replaced after {outcome.recovered_s:.2f} s"
        outcome.timed(outcome.recovered_s < HANG_S + REPLACED_S, told_s)
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row("stop-worker", "SIGSTOP of one of four workers", run)
