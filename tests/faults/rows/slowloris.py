"""Strangers that never finish their request, 25 for each live call: ended in their time, and nobody else notices."""

import time

from tests.faults.live import LiveCalls
from tests.faults.newcomers import Newcomers
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import daemon_for, judge_calls, judge_log, unusual_lines
from tests.faults.strangers import Strangers

STRANGERS_A_CALL = 25
ENDINGS = ("request_timeout", "crowded_out")


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    count = STRANGERS_A_CALL * calls
    settings = f"http.request_seconds={seconds / 2}"
    with daemon_for(calls, settings) as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        log = unusual_lines(daemon)
        with Newcomers(daemon.address) as newcomers:
            struck_s = time.monotonic()
            with Strangers(daemon.address, count) as strangers:
                strangers.drip(seconds)
                strangers.wait_ended()
                ended = strangers.answers
            outcome.recovered_s = time.monotonic() - struck_s
            newcomers.stop()
            newcomers.judge(outcome, struck_s)
        told = live.finish()
        judge_calls(outcome, told)
        judge_log(outcome, daemon, log, len(ENDINGS))
        counted = {name: daemon.counter(name) for name in ENDINGS}
        outcome.count(sum(counted.values()) >= count, f"{count} strangers: {counted}, they saw {dict(ended)}")
        outcome.refused.update(ended)
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row("slowloris", "25 times as many strangers that never finish their request", run, seconds=10, limit_s=120)
