"""No worker may open more descriptors than it has and a few: calls go on, strangers go first, it is over at once."""

import resource
import time

from tests.faults.live import LiveCalls
from tests.faults.newcomers import Newcomers
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import WORKERS, daemon_for, judge_calls, judge_log, unusual_lines
from tests.faults.strangers import Strangers
from tests.support.daemon import descriptors

ROOM = 8
"""Descriptors that each worker may still open."""

KINDS = 2


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    with daemon_for(calls, "http.request_seconds=60") as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        log, pids = unusual_lines(daemon), list(daemon.workers().values())
        before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
        for pid in pids:
            _, hard = before[pid]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(descriptors(pid)) + 1 + ROOM, hard))
        with Newcomers(daemon.address) as newcomers:
            with Strangers(daemon.address, calls + 3 * ROOM * WORKERS) as strangers:
                strangers.drip(seconds)
                outcome.count(daemon.counter("exhausted") > 0, "descriptors did run out")
            ended_s = time.monotonic()
            came = len(newcomers.seen)
            newest = daemon.wait(lambda: newcomers.seen[came + 20 :], "newcomers afterwards")[-1]
            outcome.recovered_s = newest.began_s + newest.waited_s - ended_s
            for pid in pids:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before[pid])
            newcomers.stop()
            newcomers.judge(outcome, ended_s)
        told = live.finish()
        judge_calls(outcome, told)
        judge_log(outcome, daemon, log, KINDS)
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row("descriptors", "every worker is out of descriptors", run, seconds=6)
