"""Calls of both dialects in waves: each wave is a run of `audiohook-load` that reads back every sample of its calls.

How many come together, for how long, after what pause and with which fault is drawn from the seed. Beside plain waves
there are those whose calls are all cut in their middle and come back within a second, and those of which half is reset.
"""

from collections import Counter
from typing import Any

from tests.faults.live import LiveCalls, Told
from tests.faults.outcome import Outcome
from tests.faults.scene import accounted_for
from tests.soak.lane import Lane
from tests.support.daemon import Daemon

SECONDS = (6.0, 30.0)
PAUSE_S = (0.5, 3.0)
SIZE = (0.75, 1.25)
TALKING = 0.8
"""Of its time a lane has calls so much: starts, ends and pauses are the rest."""

LEAST_S = 3.0
"""Shorter waves are not begun: the programs alone take a second to start."""

START_S = 1.0
END_S = 30.0
CONNECTS_A_SECOND = 20
"""A worker of a part of a core that gets a wave at once refuses some of it, as it should."""

FAULTS = ("", "", "", "mass-reconnect", "rst")


class Waves(Lane):
    """One lane of them, of `calls` calls give or take a quarter."""

    def __init__(self, number: int, daemon: Daemon, calls: int, until_s: float, seed: int) -> None:
        super().__init__(f"waves {number}", until_s, seed)
        self._daemon = daemon
        self._calls = calls
        self.tolds: list[Told] = []
        self._live: LiveCalls | None = None

    def stop(self) -> None:
        super().stop()
        if self._live is not None:
            self._live.hang_up()

    def round(self) -> None:
        rng = self.rng
        if not self.rounds:
            self.pause(rng.uniform(0, min(SECONDS)))  # else all lanes would begin, and for long go on, in step
        calls = max(2, round(self._calls * rng.uniform(*SIZE)))
        seconds = min(rng.uniform(*SECONDS), self.left_s - START_S)
        fault, seed, pause_s = rng.choice(FAULTS), rng.getrandbits(31), rng.uniform(*PAUSE_S)
        if seconds < LEAST_S:
            self.pause(self.left_s)
            return
        options = ("--seed", str(seed), *(("--fault", fault) if fault else ()))
        with LiveCalls(
            self._daemon, calls, seconds=seconds, connects_a_second=CONNECTS_A_SECOND, options=options
        ) as live:
            self._live = live
            told = live.wait_end(seconds + START_S + END_S)
            self._live = None
        self.tolds.append(told)
        self.done[fault or "plain"] += 1
        self.pause(min(pause_s, self.left_s))


def shed_only(verdict: dict[str, Any]) -> dict[str, Any]:
    """Return a verdict without the time in which its peer was away: that is no loss of a stream that continues one."""
    return {**verdict, "gap_frames": {cause: n for cause, n in verdict["gap_frames"].items() if cause != "lost"}}


def judge_waves(outcome: Outcome, lanes: list[Waves]) -> None:
    """Find: every call of every wave ran to its end and was read back sample for sample."""
    tolds = [told for lane in lanes for told in lane.tolds]
    endings: Counter[str] = Counter()
    planned = read = 0
    wrong = []
    for told in tolds:
        outcome.calls += told.figures["calls"] + told.figures["returns"]
        endings.update(told.endings)
        outcome.lost.update(told.lost())
        wrong += [verdict for verdict in told.imperfect.values() if not accounted_for(shed_only(verdict))]
        read += told.perfect + len(told.imperfect)
        planned += told.figures["calls"] + told.figures["returns"]
    outcome.count(planned > 0, f"{planned} calls came in {len(tolds)} waves")
    # Who is refused as overloaded is a matter of time, any other refusal is found in the counters (soaked.py).
    outcome.count(read == planned - endings["refused"], f"{read} of them were read back, {endings['refused']} refused")
    outcome.count(not wrong, f"{len(wrong)} of them are not as they were sent{': ' * bool(wrong)}{wrong[:3] or ''}")
    outcome.timed(not outcome.lost["dropped"], f"{outcome.lost['dropped']} frames were shed")
    outcome.count(set(endings) <= {"completed", "faulted", "refused"}, f"calls ended so: {dict(endings)}")
    late = [told.late for told in tolds if told.late]
    if late:
        outcome.void = outcome.void or f"in {len(late)} of {len(tolds)} waves {late[0]}"
