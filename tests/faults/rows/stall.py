"""The network stands still for all calls: packets are dropped, both ways, and then come through again.

With patience for it on both sides nothing is lost: TCP sends all of it again. With the deadlines as they are each
dialect's own rule ends the connection, and what had arrived before stays readable.
"""

import time
from collections import Counter

import audiohook
from tests.faults.live import LiveCalls, Told
from tests.faults.network import OwnNetwork, Unavailable
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import daemon_for, judge_calls
from tests.support.daemon import Daemon

PATIENT = (
    "context.heartbeat_ms=90000",
    "audiohook2.idle_seconds=90",
    "server.tcp_user_timeout_seconds=90",
    "memory.ring_seconds=60",
)
LATE_PING = "no answer to ping in time"
"""What the client says of a stall of more than 5 s, and rightly: the only fault there may be."""

UP_TO_DATE_S = 1.0
BACK_S = 60.0
"""After 30 s of silence TCP's next try may be 26 s away (RFC 6298: the time is doubled each time)."""

ENDED_S = 60.0
"""30 s for the idle rule, 12 s for an answer to `disconnect`, and for `context` 15 s for its return."""

RULES = {"heartbeat_lost", "idle_timeout", "peer_vanished"}
"""The dialects' rules; the third is TCP's own, which has the same time as the idle rule."""


def run_patient(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    try:
        with OwnNetwork() as network, daemon_for(calls, *PATIENT) as daemon:
            with LiveCalls(daemon.wait_ready(), calls) as live:
                live.wait_live()
                network.drop()
                time.sleep(seconds)  # the stall
                outcome.timed(lag_s(daemon) > seconds / 2, f"streams were {lag_s(daemon):.1f} s behind")
                network.release()
                released_s = time.monotonic()
                daemon.wait(lambda: lag_s(daemon) < UP_TO_DATE_S, "all that was due", BACK_S)
                outcome.recovered_s = time.monotonic() - released_s
                told = live.finish()
            judge_calls(outcome, told)
            outcome.count(set(told.figures["faults"]) <= {LATE_PING}, f"the client found {told.figures['faults']}")
            outcome.count(daemon.stop() == 0, "the daemon stops as told")
    except Unavailable as error:
        outcome.impossible(str(error))
    return outcome


def run_default(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    try:
        with OwnNetwork() as network, daemon_for(calls) as daemon:
            with LiveCalls(daemon.wait_ready(), calls) as live:
                live.wait_live()
                streams = list(daemon.hub.streams())
                time.sleep(seconds)  # how long there is something to be read
                network.drop()
                stalled_s = time.monotonic()
                daemon.wait(lambda: all(one.over for one in streams), "the end of every stream", ENDED_S)
                outcome.recovered_s = time.monotonic() - stalled_s
                network.release()
                told = live.finish()
            judge_ended(outcome, told, streams)
            outcome.count(daemon.stop() == 0, "the daemon stops as told")
    except Unavailable as error:
        outcome.impossible(str(error))
    return outcome


def lag_s(daemon: Daemon) -> float:
    """Return how far the stream that is furthest behind is behind its own beginning and the clock."""
    now_ns = time.monotonic_ns()
    return max(
        (now_ns - one.card()["opened_monotonic_ns"]) / 1e9 - one.totals.length / one.sample_rate
        for one in daemon.hub.streams()
    )


def judge_ended(outcome: Outcome, told: Told, streams: list[audiohook.Stream]) -> None:
    """Find: each was ended by its own rule, and all that had arrived was read back right."""
    verdicts = told.imperfect
    outcome.own.update(told.lost())
    outcome.count(len(verdicts) == len(streams) == outcome.calls, f"{len(verdicts)} streams were cut short")
    wrong = [one for one in verdicts.values() if not one["verified"] == one["length"] > 0]
    outcome.count(not wrong, f"{len(wrong)} streams are not readable as far as they came")
    reasons = Counter(one.end_reason for one in streams)
    outcome.count(set(reasons) <= RULES, f"ended by {dict(reasons)}")
    outcome.void = outcome.void or told.late


ROWS = (
    Row("stall", "the network drops everything for 30 s", run_patient, seconds=30, limit_s=180),
    Row("stall-default", "the network drops everything, deadlines as they are", run_default, seconds=3, limit_s=120),
)
