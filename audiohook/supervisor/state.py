"""What the supervisor's policy knows: the plan, its children, and how long a child that died has to wait.

Pure data and sums over it; what happens to it is `supervisor/policy.py`'s. A child is named by its place: the row of a
worker, or DESK.
"""

import msgspec

from audiohook.supervisor.phases import ChildPhase, Phase
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.reloads import Reload
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S

DESK = -1
"""The desk's place among the children; workers are 0 and up."""

TRIAL = -2
"""The place of the process that a reload is tried out in. It is no child of the policy's: it has no phases."""

FIRST_BACKOFF_NS = 250 * NS_PER_MS
LONGEST_BACKOFF_NS = 30 * NS_PER_S
LONELY_BACKOFF_NS = NS_PER_S
"""The longest back-off of a worker while no worker serves: callers wait for it, and an attempt costs a fork."""

LONG_LIFE_NS = 60 * NS_PER_S
"""A child that lived at least this long is forgiven: its next restart is immediate again."""


class Child(msgspec.Struct, frozen=True):
    """One worker or the desk. `restarts` counts those since its last long life."""

    phase: ChildPhase = ChildPhase.ABSENT
    due_ns: int = NEVER_NS
    started_ns: int = 0
    restarts: int = 0
    leaving: bool = False
    """It is not to be replaced when it ends: scaled away, or of an old generation. One that is READY was told so."""
    generation: int = 0
    ends_ns: int = NEVER_NS
    """When one that is leaving is to be hurried. The `due_ns` of a READY one, until it was."""
    hurried: bool = False
    orphan: bool = False
    """A worker of a daemon that was killed (`supervisor/orphans.py`). It is leaving, too."""


class State(msgspec.Struct, frozen=True):
    """The whole state. `failed` is the child whose own exit code becomes the service's, once it is known."""

    plan: Plan
    workers: tuple[Child, ...]
    desk: Child = Child()
    phase: Phase = Phase.NEW
    due_ns: int = NEVER_NS
    exit_code: int = 0
    failed: int | None = None
    reload: Reload = Reload()

    def child(self, place: int) -> Child:
        """Return the worker of a row, or the desk. A row that does not exist is for ever ABSENT."""
        if place == DESK:
            return self.desk
        return self.workers[place] if 0 <= place < len(self.workers) else Child()

    @property
    def places(self) -> tuple[int, ...]:
        return (*range(len(self.workers)), DESK)

    @property
    def wanted(self) -> int:
        """How many workers there are to be. Of meaning while the service serves."""
        there = sum(child.phase is not ChildPhase.ABSENT and not child.leaving for child in self.workers)
        return there + self.reload.missing

    @property
    def served(self) -> bool:
        """Whether any worker takes new calls, as far as is known here."""
        return any(child.phase is ChildPhase.READY and not child.leaving for child in self.workers)


def initial(plan: Plan) -> State:
    """Return the state before `Started`."""
    return State(plan=plan, workers=(Child(),) * plan.rows)


def deadline_ns(state: State) -> int:
    """Return when `DeadlineReached` is due (CLOCK_MONOTONIC), or `NEVER_NS`."""
    children = min((child.due_ns for child in state.workers), default=NEVER_NS)
    return min(state.due_ns, state.reload.due_ns, state.desk.due_ns, children)


def backoff_ns(restarts: int) -> int:
    """Return how long to wait before the restart that follows `restarts` earlier ones without a long life between."""
    return min(FIRST_BACKOFF_NS << min(restarts - 1, 16), LONGEST_BACKOFF_NS) if restarts else 0
