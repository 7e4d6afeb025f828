"""Certificate and key are exchanged again and again under handshakes and calls over TLS, at last for a broken pair."""

import hashlib
import time

from tests.faults.handshakes import Knocking, Secured, secured
from tests.faults.live import LiveCalls
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import WORKERS, judge_calls
from tests.support.certificates import Pair

EXCHANGES_A_SECOND = 4
LOOKED_AT = 8 * WORKERS
"""Handshakes: of so many, each worker has most likely made one."""

CANNOT = "ERROR certificate and key cannot be used, the old ones stay in force: .* is not the key"


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    exchanges = round(EXCHANGES_A_SECOND * seconds)
    with secured(calls) as scene:
        daemon, ca_file = scene.daemon, scene.authority.certificate
        with LiveCalls(daemon, calls, ca_file=ca_file) as live, Knocking(scene) as knocking:
            live.wait_live()
            made = [exchange(scene, knocking, number) for number in range(1, exchanges + 1)]
            outcome.recovered_s = max(took_s for took_s, _ in made)
            unseen = sum(not seen for _, seen in made)
            outcome.count(not unseen, f"{unseen} of {exchanges} exchanges were not seen by all behind it")
            judge_broken(outcome, scene, knocking, scene.pairs[exchanges % 2])
            told = live.finish()
        judge_calls(outcome, told)
        knocking.judge(outcome)
        judge_told(outcome, scene, exchanges)
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


def exchange(scene: Secured, knocking: Knocking, number: int) -> tuple[float, bool]:
    """Put the other pair in place; return when all workers had it, and whether everybody was shown it from then on."""
    daemon, pair = scene.daemon, scene.pairs[number % 2]
    began_s = time.monotonic()
    pair.copy_to(scene.place)
    daemon.wait(lambda: daemon.counter("tls_reloads") == number * WORKERS, "the exchange, in every worker")
    took_s = time.monotonic() - began_s
    # The supervisor looks by itself, and tells of each one that it has seen.
    daemon.wait(lambda: len(daemon.logged("were read again")) == number, "the exchange, told")
    return took_s, shown_now(scene, knocking) == {pair.der}


def shown_now(scene: Secured, knocking: Knocking) -> set[bytes | None]:
    """Return what everybody is shown whose handshake begins from now on, of some."""
    began_s, failed = time.monotonic(), len(knocking.failed)

    def some() -> bool:
        return len(knocking.since(began_s)) + len(knocking.failed) - failed >= LOOKED_AT

    scene.daemon.wait(some, "handshakes")
    return {one.shown for one in knocking.since(began_s)}


def judge_broken(outcome: Outcome, scene: Secured, knocking: Knocking, there: Pair) -> None:
    """Find: with a certificate that its key is not of, everybody is shown the one that was `there`."""
    daemon = scene.daemon
    # Not 0 on a machine so busy that a quarter of a second lay between the two files of an exchange.
    failed, told = daemon.counter("tls_reload_failed"), len(daemon.logged(CANNOT))
    (other,) = set(scene.pairs) - {there}
    Pair(other.certificate, there.key).copy_to(scene.place)
    daemon.wait(lambda: daemon.counter("tls_reload_failed") == failed + WORKERS, "the broken pair, in every worker")
    outcome.count(shown_now(scene, knocking) == {there.der}, "behind a broken pair the one before is served")
    told = len(daemon.wait_logged(CANNOT, told + 1)) - told
    outcome.count(told == 1, f"the broken pair was told {told} times")


def judge_told(outcome: Outcome, scene: Secured, exchanges: int) -> None:
    """Find: the daemon has seen no handshake fail, and has told of each exchange what the new certificate is."""
    daemon = scene.daemon
    counted = {name: daemon.counter(name) for name in ("tls_failed", "tls_timeout", "overloaded", "internal_error")}
    outcome.count(not any(counted.values()), f"counted by the daemon: {counted}")
    told = [event for event in daemon.events() if event["event"] == "tls_reloaded"]
    made = [hashlib.sha256(scene.pairs[number % 2].der).hexdigest() for number in range(1, exchanges + 1)]
    outcome.count([event["fingerprint"] for event in told] == made, f"{len(told)} exchanges were told as events")
    outcome.count(all(event["days_left"] > 0 and event["serial"] for event in told), "with serial and days to expiry")


ROW = Row("certificates", "the certificate is exchanged 20 times, then for a broken pair", run, limit_s=120)
