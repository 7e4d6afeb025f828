"""Readers, slow, killed, waiting, coming and going, and clients of the hub that are stuck: what they cost the workers.

Compared are windows without them and with them, in turn, in one run: the workers' CPU time a packet, as the kernel
counts it, in a window with readers and, on average, in the two around it without. The median of these ratios counts.
The daemon has a processor to itself, where there are two. Windows are short and many: on a machine that is shared a
packet's cost wanders over seconds and minutes, so of the same time many ratios of neighbours say more than a few of
long windows (of 140 s, the median of ratios is off by 0.028 with windows of 1 s, by 0.053 with windows of 5 s; two
deviations).

What a ratio differs from 1 by chance is seen in the windows without readers, each compared with its two neighbours of
the same kind: if a median of so many may be off by as much as lies between the figure and its bound, there are twice
as many windows again, and if it still may, the row is void. There are two looks and not one behind each window: who
stops as soon as a figure pleases has chance on his side.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from tests.bench.cores import on_core, two_cores
from tests.faults.crowd import Crowd
from tests.faults.live import LiveCalls
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import A_PROCESSOR_EACH, cpu_ns, daemon_for, judge_calls
from tests.support.daemon import Daemon

RING_SECONDS = 3.9
"""Short, so that slow readers are lapped within one window: with room for the longest packet just 128 KiB."""

PAIRS = 25
MORE = 3
"""So many times as many in all, where the first look decides nothing."""
MOST = 1.05
KILL_EVERY_S = 0.1
BELLS_A_SECOND = 1000
BELL_SHARE = 0.12
"""Of a core, for each worker: what waking may cost, whoever waits (LAYOUT.md, "Waking")."""


@dataclass(frozen=True)
class Window:
    """What the workers did in one window."""

    workers: int
    seconds: float
    cpu_ns: int
    packets: int
    bells: int

    @property
    def ns_a_packet(self) -> float:
        return self.cpu_ns / max(1, self.packets)

    @property
    def cpu_share(self) -> float:
        """Of a core, on average over the workers."""
        return self.cpu_ns / 1e9 / self.seconds / self.workers

    @property
    def bells_a_second(self) -> float:
        """Of each worker, on average."""
        return self.bells / self.seconds / self.workers


def measured(daemon: Daemon, seconds: float) -> Window:
    pids = list(daemon.workers().values())
    before = time.monotonic(), sum(map(cpu_ns, pids)), daemon.counter("packets"), daemon.counter("bells")
    time.sleep(seconds)  # the window
    after = time.monotonic(), sum(map(cpu_ns, pids)), daemon.counter("packets"), daemon.counter("bells")
    spent_s, cpu, packets, bells = (late - early for early, late in zip(before, after, strict=True))
    return Window(len(pids), spent_s, int(cpu), int(packets), int(bells))


def run(kind: str, share: float, calls: int, seconds: float) -> Outcome:
    """Do a row: `share` of the live calls is how many readers there are."""
    outcome = Outcome(calls)
    count = max(1, round(share * calls))
    alone, beside, ledgers = list[Window](), list[Window](), list[dict[str, Any]]()
    settings = f"memory.ring_seconds={RING_SECONDS}", "hub.max_clients=512"
    load_core, own_core = two_cores()
    with ExitStack() as stack:
        with on_core(own_core):
            daemon = stack.enter_context(daemon_for(calls, *settings, workers=A_PROCESSOR_EACH)).wait_ready()
        stack.enter_context(on_core(load_core))
        live = stack.enter_context(LiveCalls(daemon, calls)).wait_live()
        crowd = stack.enter_context(Crowd(daemon, kind, count))
        alone.append(measured(daemon, seconds))
        wanted = PAIRS
        while len(beside) < wanted:
            crowd.come()
            with Killing(crowd, active=kind == "eager"):
                beside.append(measured(daemon, seconds))
            ledgers += crowd.leave()
            alone.append(measured(daemon, seconds))
            if len(beside) == PAIRS and kind != "waiting" and Cost.of(alone, beside).open:
                wanted = MORE * PAIRS
        told = live.finish()
        judge_calls(outcome, told)
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    # Of those that are killed, whoever dies last tells nothing.
    least = len(beside) * (count - (kind == "eager"))
    outcome.count(len(ledgers) >= least, f"{len(ledgers)} readers told what they had")
    wrong = sum(one["lost"] != one["jumped"] for one in ledgers)
    outcome.count(not wrong, f"{wrong} readers were told of another loss than they had")
    outcome.own.update(readers=sum(one["lost"] for one in ledgers))
    _judge_kind(kind, outcome, alone, beside)
    return outcome


def _judge_kind(kind: str, outcome: Outcome, alone: list[Window], beside: list[Window]) -> None:
    if kind == "slow":
        outcome.count(outcome.own["readers"] > 0, "slow readers were lapped")
    if kind == "waiting":
        bells = max(one.bells_a_second for one in beside)
        outcome.timed(bells <= BELLS_A_SECOND, f"{bells:.0f} bells a second and worker")
        idle = [fmean(one.cpu_share for one in around) for around in pairwise(alone)]
        added = median(late - early for early, late in zip(idle, (one.cpu_share for one in beside), strict=True))
        outcome.timed(added <= BELL_SHARE, f"{added:.1%} of a core more for each worker")
        return
    costs, cost = [one.ns_a_packet / 1e3 for one in alone], Cost.of(alone, beside)
    told = f"({median(costs):.1f} us, by chance {cost.chance:.3f}, {len(beside)} windows)"
    outcome.timed(cost.ratio <= MOST, f"CPU a packet {cost.ratio:.3f} times that without them {told}")
    if cost.open:
        outcome.void = f"without readers a packet cost {min(costs):.1f} to {max(costs):.1f} us"


@dataclass(frozen=True)
class Cost:
    """What a packet costs beside readers, of what it costs without: a median of ratios, and how far that may be off."""

    ratio: float
    chance: float

    @property
    def open(self) -> bool:
        """Whether it may as well be on the other side of its bound."""
        return abs(self.ratio - MOST) < self.chance

    @classmethod
    def of(cls, alone: list[Window], beside: list[Window]) -> "Cost":
        costs = [one.ns_a_packet for one in alone]
        ratios = [one.ns_a_packet / fmean(around) for one, around in zip(beside, pairwise(costs), strict=True)]
        return cls(median(ratios), uncertainty(costs))


def uncertainty(costs: list[float]) -> float:
    """Return by how much a median of ratios, one less than `costs`, may differ from 1 where nothing is different.

    Two deviations.
    """
    triples = [costs[at : at + 3] for at in range(len(costs) - 2)]
    apart = [abs(cost / fmean((before, behind)) - 1) for before, cost, behind in triples]
    # 1.48: a normal deviation for each median one; 1.25: how much more a median scatters than a mean.
    return 2 * 1.48 * 1.25 * median(apart) / (len(costs) - 1) ** 0.5 if apart else 1.0


class Killing:
    """Kills one reader after another, at random, while it is entered."""

    def __init__(self, crowd: Crowd, *, active: bool) -> None:
        self._crowd = crowd
        self._active = active
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Killing":
        if self._active:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        choice = random.Random(1)
        while not self._stopped.wait(KILL_EVERY_S):
            pids = self._crowd.pids()
            if pids:
                os.kill(choice.choice(pids), signal.SIGKILL)


def _row(name: str, kind: str, share: float, about: str) -> Row:
    def run_kind(calls: int, seconds: float) -> Outcome:
        return run(kind, share, calls, seconds)

    act: Callable[[int, float], Outcome] = run_kind
    return Row(name, about, act, seconds=1.0, limit_s=420)


ROWS = (
    _row("slow-readers", "slow", 0.1, "a tenth as many readers that are too slow"),
    _row("killed-readers", "eager", 0.1, "a tenth as many readers that are killed, one every 0.1 s"),
    _row("waiting-readers", "waiting", 0.5, "half as many readers that wait for every packet"),
    _row("coming-readers", "attaching", 0.5, "half as many readers that attach and detach in a loop"),
    _row("stuck-clients", "stuck", 1.0, "as many clients of the hub that never listen"),
)
