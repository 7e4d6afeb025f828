"""Twice the load that a worker has room for: every call stays, is answered, and what is not decoded is accounted for.

One worker. With half of the calls live it is given less and less of a core until it no longer keeps up: that is the
share for which half of the calls are its capacity. Then all calls come while it has room, and it is held to that share.
Three quarters of them end at last, and it must be as before.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from audiohook.memory.timeline import Totals
from tests.faults.held import Hold, hold
from tests.faults.live import LiveCalls, Told
from tests.faults.newcomers import Newcomer, Newcomers
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import accounted_for, cpu_ns, daemon_for
from tests.support.daemon import Daemon

CONNECTS = 50
"""A second: who comes faster finds a worker of one core too busy, and all are to be in before it is held."""

KEPT_UP = 0.97
STEP = 0.8
LEAST = 0.01
LOOK_S = 1.0
ANSWERED_MS = 1000.0
NORMAL_S = 5.0
SHED = "shed_messages"


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    kept = max(2, calls // 4)
    with daemon_for(2 * calls, workers=1) as daemon:
        (pid,) = daemon.wait_ready().workers().values()
        with held(pid) as worker, LiveCalls(daemon, kept, connects_a_second=CONNECTS) as few:
            few.wait_live()
            with LiveCalls(daemon, calls // 2 - kept, verify=False, connects_a_second=CONNECTS) as half:
                half.wait_live(besides=kept)
                # As many come in the ramp as later: they cost as much of so small a share as the calls do.
                with Newcomers(daemon.address):
                    share = capacity(daemon, worker, pid)
                half.finish()
            until_room(daemon)
            with LiveCalls(daemon, calls - kept, connects_a_second=CONNECTS) as many:
                many.wait_live(besides=kept)
                with Newcomers(daemon.address) as newcomers:
                    began_s = time.monotonic()
                    wrong = overloaded(daemon, worker, share, seconds)
                    newcomers.stop()
                    came = [one for one in newcomers.seen if one.began_s >= began_s]
                many.hang_up()
                outcome.recovered_s = until_normal(daemon, time.monotonic())
                worker.lift()
                tolds = [many.wait_end(), few.finish()]
        judge(outcome, daemon, tolds, wrong)
        judge_newcomers(outcome, came)
        outcome.count(share > 0, f"{calls // 2} calls are the capacity of {share:.1%} of a core, by {worker.how}")
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


def judge_newcomers(outcome: Outcome, came: list[Newcomer]) -> None:
    """Find: whoever comes meanwhile is answered, too: 101 or 503."""
    answers = Counter(one.answer for one in came)
    outcome.refused.update(one.answer for one in came if one.answer != "101")
    outcome.count(set(answers) <= {"101", "503"}, f"new calls were answered {dict(answers)}")
    longest_ms = 1e3 * max((one.waited_s for one in came), default=0.0)
    outcome.timed(longest_ms < ANSWERED_MS, f"the longest wait of a new call was {longest_ms:.0f} ms")


@contextmanager
def held(pid: int) -> Iterator[Hold]:
    worker = hold(pid)
    try:
        yield worker
    finally:
        worker.lift()
        worker.end()


def capacity(daemon: Daemon, worker: Hold, pid: int) -> float:
    """Return the least share of a core with which the calls that are live are kept up with."""
    before = cpu_ns(pid)
    rate, spent_s = decoded(daemon)
    share = (cpu_ns(pid) - before) / 1e9 / spent_s * 1.2
    while True:
        worker.to(share)
        # Twice: a stall of the machine in one look was taken for the limit, at three times of what the calls need.
        if all(decoded(daemon)[0] < KEPT_UP * rate for _ in range(2)):
            worker.lift()
            return share / STEP
        if share < LEAST:
            return share  # an idle loop's turns alone cost as much
        share *= STEP


def decoded(daemon: Daemon) -> tuple[float, float]:
    """Look for a moment; return how many packets a second were decoded, and how long the look was, in seconds."""
    before, began_s = daemon.counter("packets") - daemon.counter(SHED), time.monotonic()
    time.sleep(LOOK_S)  # a window
    spent_s = time.monotonic() - began_s
    return (daemon.counter("packets") - daemon.counter(SHED) - before) / spent_s, spent_s


def until_room(daemon: Daemon) -> None:
    """Wait until the ramp is forgotten: while anything is shed, who comes is told 503, and is none of the load."""
    before = -1.0
    while (shed := daemon.counter(SHED)) != before:
        before = shed
        time.sleep(LOOK_S)  # a window


def overloaded(daemon: Daemon, worker: Hold, share: float, seconds: float) -> int:
    """Hold the worker to this share for so long; return how many streams were found that do not add up."""
    wrong = 0
    worker.to(share)
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        wrong += sum(not adds_up(stream.totals) for stream in daemon.hub.streams())
        time.sleep(LOOK_S / 5)  # between two looks
    return wrong


def adds_up(totals: Totals) -> bool:
    return totals.decoded + totals.concealed + sum(totals.gaps.values()) == totals.length


def until_normal(daemon: Daemon, ended_s: float) -> float:
    """Return how long after the load's end the last packet was shed, or a turn was too long."""
    last_s, shed = ended_s, daemon.counter(SHED)
    while time.monotonic() < ended_s + 2 * NORMAL_S:
        time.sleep(0.05)  # between two looks
        if (now := daemon.counter(SHED)) != shed:
            last_s, shed = time.monotonic(), now
    return last_s - ended_s


def judge(outcome: Outcome, daemon: Daemon, tolds: list[Told], wrong: int) -> None:
    for told in tolds:
        imperfect = told.imperfect
        lost = [one for one, verdict in imperfect.items() if not accounted_for(verdict)]
        outcome.count(not lost, f"{len(lost)} of {len(imperfect)} streams with gaps are not accounted for")
        outcome.own.update(told.lost())
        alive = told.endings.get("interrupted", 0) + told.endings.get("close_unanswered", 0)
        outcome.count(alive == sum(told.endings.values()), f"calls ended so: {told.endings}")
        outcome.timed(told.pong_ms < ANSWERED_MS, f"the longest wait for a pong was {told.pong_ms:.0f} ms")
        outcome.void = outcome.void or told.late
    outcome.count(not wrong, f"{wrong} times a stream's parts were not its length")
    shed = daemon.counter(SHED)
    outcome.timed(shed > 0, f"{shed} messages were shed")
    assert outcome.recovered_s is not None
    outcome.timed(outcome.recovered_s < NORMAL_S, f"the last was shed {outcome.recovered_s:.2f} s after the load")
    outcome.count(daemon.counter("internal_error") == 0, "no error of our own")


ROW = Row("overload", "twice the load that the worker has room for", run, seconds=15, limit_s=150)
