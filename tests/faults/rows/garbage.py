"""Peers that send garbage, five for each live call: instead of the request, behind half of it, or as frames."""

from tests.faults.live import LiveCalls
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import daemon_for, judge_calls, judge_log, unusual_lines

PEERS_A_CALL = 5
KINDS = 4
"""What garbage is called in the log: no request, no upgrade, too large, against the protocol."""

RING = "memory.ring_seconds=8"
"""Thirty seconds for each of so many would be gigabytes."""


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    count = PEERS_A_CALL * calls
    with daemon_for(calls + count, RING) as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        log = unusual_lines(daemon)
        options = ("--fault", "garbage", "--fault-share", "1", "--found-within-seconds", "30")
        with LiveCalls(daemon, count, seconds=seconds, verify=False, options=options) as garbage:
            part = garbage.wait_end().part("garbage")
        told = live.finish()
        judge_calls(outcome, told)
        judge_log(outcome, daemon, log, KINDS)
        faulted = sum(number for ending, number in part["endings"].items() if ending.startswith("faulted"))
        outcome.count(faulted == count, f"{faulted} of {count} were ended by the daemon: {part['endings']}")
        outcome.recovered_s = part["recovered"]["max_ns"] / 1e9
        outcome.count(daemon.counter("internal_error") == 0, "no error of our own")
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row("garbage", "five times as many peers that send garbage", run, seconds=3)
