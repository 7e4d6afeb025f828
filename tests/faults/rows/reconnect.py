"""Five times as many calls as are live beside them lose their connection at one instant and come back in a second.

Judged is what each of them waits, from its own connect to `opened`: Genesys gives up by that clock. `recovered after`
is from the instant at which all were lost to the last `opened`. The second in which they come is in it, and so are the
clients, who share the processors with the daemon.
"""

from tests.faults.live import LiveCalls
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import A_PROCESSOR_EACH, daemon_for, judge_calls, judge_log, unusual_lines

PEERS_A_CALL = 5
ANSWERED_S = 2.0
KINDS = 1
"""Refused, where the machine is too busy for so many at once."""

SAYING = ("--v2-message-ms", "500")
"""What so many say while they are there is not asked here, and whoever sends it shares the processors with us."""

RING = "memory.ring_seconds=8"
"""Thirty seconds for each of so many, before and after, would be gigabytes."""


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    count = PEERS_A_CALL * calls
    with (
        daemon_for(calls + 2 * count, RING, workers=A_PROCESSOR_EACH) as daemon,
        LiveCalls(daemon.wait_ready(), calls) as live,
    ):
        live.wait_live()
        log = unusual_lines(daemon)
        # The connects of so many take a while, and all are to be open in the middle of their calls.
        lasts_s = seconds + 2.5 * count / 250
        options = ("--fault", "mass-reconnect", *SAYING)
        crowd = LiveCalls(daemon, count, dialect="audiohook2", seconds=lasts_s, verify=False, options=options)
        with crowd:
            back = crowd.wait_end(lasts_s * 2 + 60)
        told = live.finish()
        judge_calls(outcome, told)
        judge_log(outcome, daemon, log, KINDS)
        returned = back.part("returned")
        outcome.refused.update(returned["refused"])
        completed = returned["endings"].get("completed", 0)
        answered = completed + sum(returned["refused"].values())
        outcome.count(answered == count, f"{answered} of {count} were answered: {returned['endings']}")
        outcome.timed(completed == count, f"{completed} of {count} have their call again")
        outcome.recovered_s = returned["recovered"]["max_ns"] / 1e9
        waited_s = returned["answered"]["max_ns"] / 1e9
        outcome.timed(waited_s < ANSWERED_S, f"the longest wait from a connect to `opened` was {waited_s:.2f} s")
        outcome.void = outcome.void or back.late
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row("reconnect", "five times as many calls that reconnect within a second", run, seconds=4)
