"""One of four workers crashes as soon as it is there, again and again: it costs its own calls, nobody else waits."""

import time
from pathlib import Path

from tests.faults.live import LiveCalls
from tests.faults.newcomers import Newcomers
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import WORKERS, accepting, daemon_for, judge_calls, lengths, streams_of, wait_workers
from tests.support.daemon import Daemon

ROW_NUMBER = WORKERS - 1
CRASHES_A_SECOND = 10
"""More than the supervisor's waits between two starts of a row allow."""


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    with _crashing_daemon(calls) as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        switch = Path(daemon.folder, "crash")
        with Newcomers(daemon.address) as newcomers:
            victims = streams_of(daemon, ROW_NUMBER)
            others = {row: pid for row, pid in accepting(daemon).items() if row != ROW_NUMBER}
            struck_s, deaths = time.monotonic(), len(daemon.logged("was killed by signal 11"))
            switch.touch()
            daemon.wait(lambda: daemon.counter("worker_died") >= len(victims), "the first crash")
            victims = lengths(daemon, victims)
            time.sleep(seconds)  # how long it goes on crashing
            switch.unlink()
            ended_s = time.monotonic()
            deaths = len(daemon.logged("was killed by signal 11")) - deaths
            back_s = wait_workers(daemon, WORKERS)
            outcome.recovered_s = back_s - ended_s
            newcomers.stop()
            _judge_newcomers(outcome, newcomers, struck_s)
        told = live.finish()
        judge_calls(outcome, told, victims)
        outcome.count(deaths > 1, f"{deaths} crashes in {seconds:g} s")
        outcome.count(deaths <= CRASHES_A_SECOND * seconds, f"{deaths} crashes: the supervisor waits between two")
        steady = {row: pid for row, pid in accepting(daemon).items() if row != ROW_NUMBER}
        outcome.count(steady == others, "the other workers are the same")
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


def _crashing_daemon(calls: int) -> Daemon:
    # NumPy is imported there before the daemon could say how many threads it may have.
    environment = {"CRASHING_ROW": str(ROW_NUMBER), "OPENBLAS_NUM_THREADS": "1"}
    return daemon_for(calls, module="tests.faults.crashing", environment=environment)


def _judge_newcomers(outcome: Outcome, newcomers: Newcomers, since_s: float) -> None:
    """Whoever the crashing worker had taken in loses the connection, and may come again; nobody waits."""
    came = [one for one in newcomers.seen if one.began_s >= since_s]
    broken = {one.port for one in came if not one.answer.isdigit()}
    outcome.refused.update(one.answer for one in came if one.port in broken)
    newcomers.judge(outcome, since_s, broken)
    longest_s = max((one.waited_s for one in came if one.port in broken), default=0.0)
    outcome.timed(longest_s <= 0.5, f"{len(broken)} that it had taken were told within {longest_s * 1e3:.0f} ms")


ROW = Row("crash-loop", "one of four workers in a crash loop", run, seconds=60, limit_s=150)
