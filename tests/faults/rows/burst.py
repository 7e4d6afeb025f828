"""Peers that send 30 s of audio at once, half as many as there are live calls: those wait for nothing, nothing is shed.

Judged are the workers' own histogram while the burst lasts (from read to published) and, beside it, what a reader of
some of the live calls sees all the time (from sent to in its hands).
"""

import time

from tests.faults.bursts import SECONDS, opened
from tests.faults.histograms import counts, quantile_ms
from tests.faults.live import LiveCalls
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import A_PROCESSOR_EACH, daemon_for, judge_calls

PUBLISH_MS = 20.0


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    patient = "context.heartbeat_ms=60000"  # those that burst answer no pings
    with (
        daemon_for(calls + calls // 2, patient, workers=A_PROCESSOR_EACH) as daemon,
        LiveCalls(daemon.wait_ready(), calls) as live,
    ):
        live.wait_live()
        time.sleep(seconds / 2)  # not a wait for anything: the calls go on before and after
        with opened(daemon, calls // 2) as bursts:
            before, began_s = {name: counts(daemon, name) for name in ("publish_ns", "turn_ns")}, time.monotonic()
            bursts.send()
            outcome.recovered_s = time.monotonic() - began_s
            p99_ms = {name: quantile_ms(then, counts(daemon, name), 0.99) for name, then in before.items()}
            time.sleep(seconds / 2)
            told = live.finish()
            # Behind the calls: to read 100 rings back takes a processor's time, which is not the daemon's.
            bursts.end()
            wrong, dropped = bursts.wrong(), bursts.dropped()
        judge_calls(outcome, told)
        outcome.count(not wrong, f"{wrong} of {len(bursts)} bursts of {SECONDS} s are not as they were sent")
        outcome.timed(not dropped, f"{dropped} frames of the bursts were dropped")
        outcome.count(daemon.counter("bulk_turns") > 0, "the bulk lane was used")
        worker_ms, reader_ms = p99_ms["publish_ns"], told.publish_ms
        outcome.timed(worker_ms < PUBLISH_MS, f"read to published: p99 below {worker_ms:.1f} ms")
        outcome.timed(reader_ms < PUBLISH_MS, f"sent to in a reader's hands: p99 {reader_ms:.1f} ms")
        outcome.timed(p99_ms["turn_ns"] > 0, f"a turn of a worker's loop: p99 below {p99_ms['turn_ns']:.1f} ms")
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row("burst", "half as many peers that send 30 s of audio at once", run, seconds=4)
