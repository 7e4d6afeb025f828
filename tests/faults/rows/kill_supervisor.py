"""`kill -9` of the supervisor: workers keep their calls to the end, readers keep reading, the next daemon takes over.

The reader is the verifier of the live calls, which was attached before and compares all streams to their ends. What
`server.orphan_seconds` does is in tests/process/test_daemon_orphans.py.
"""

import signal
import time

from tests.faults.live import LiveCalls
from tests.faults.newcomers import Newcomers
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import daemon_for, judge_calls

ANSWERED_S = 5.0
"""From the kill to the first connection that the next daemon answers. It has to be started first."""


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    with daemon_for(calls) as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        live_of_rows, port = daemon.row("live"), daemon.address[1]
        # One without a call has nothing to stay for.
        workers = {row: pid for row, pid in daemon.workers().items() if live_of_rows[row]}
        struck_s = time.monotonic()
        daemon.signal(signal.SIGKILL)
        daemon.wait_exit()
        settings = f'server.listen=["127.0.0.1:{port}"]', f"hub.path={daemon.hub_path}"
        with daemon_for(0, *settings) as successor, Newcomers(successor.wait_ready().address) as newcomers:
            first = daemon.wait(lambda: list(newcomers.seen), "a newcomer")[0]
            outcome.recovered_s = first.began_s + first.waited_s - struck_s
            time.sleep(seconds)  # how long the calls go on without a supervisor
            newcomers.stop()
            newcomers.judge(outcome, struck_s)
            kept = [pid for pid in workers.values() if pid in daemon.processes()]
            outcome.count(len(kept) == len(workers), f"{len(kept)} of {len(workers)} workers kept their calls")
            told = live.finish()
            daemon.wait_all_gone()
            outcome.count(successor.stop() == 0, "the next daemon stops as told")
        judge_calls(outcome, told)
        outcome.timed(outcome.recovered_s < ANSWERED_S, f"the next daemon answered after {outcome.recovered_s:.2f} s")
    return outcome


ROW = Row("kill-supervisor", "kill -9 of the supervisor", run)
