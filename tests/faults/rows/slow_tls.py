"""Peers that do not get on with their TLS handshake, five for each live call: ended in time; nobody else notices."""

from tests.faults.handshakes import Knocking, secured
from tests.faults.live import LiveCalls
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import judge_calls, judge_log, unusual_lines

PEERS_A_CALL = 5
ENDINGS = ("tls_timeout", "crowded_out")


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    count = PEERS_A_CALL * calls
    with secured(calls, f"tls.handshake_seconds={seconds / 2}") as scene:
        daemon, ca_file = scene.daemon, scene.authority.certificate
        with LiveCalls(daemon, calls, ca_file=ca_file) as live:
            live.wait_live()
            log = unusual_lines(daemon)
            options = ("--fault", "slow-tls", "--fault-share", "1", "--found-within-seconds", "30")
            crowd = LiveCalls(daemon, count, seconds=seconds, verify=False, ca_file=ca_file, options=options)
            with Knocking(scene) as knocking, crowd:
                part = crowd.wait_end().part("slow-tls")
            told = live.finish()
        judge_calls(outcome, told)
        knocking.judge(outcome)
        judge_log(outcome, daemon, log, len(ENDINGS))
        ended = sum(number for ending, number in part["endings"].items() if "ended by the server" in ending)
        outcome.count(ended == count, f"{ended} of {count} were ended by the daemon: {part['endings']}")
        counted = {name: daemon.counter(name) for name in ENDINGS}
        outcome.count(sum(counted.values()) == count, f"counted by the daemon: {counted}")
        outcome.recovered_s = part["recovered"]["max_ns"] / 1e9
        outcome.count(daemon.counter("internal_error") == 0, "no error of our own")
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


ROW = Row(
    "slow-tls", "five times as many peers that do not get on with their TLS handshake", run, seconds=6, limit_s=120
)
