"""Reloads under random sequences: the invariants of generations.py, against the model of test_supervisor_sequences.py.

What execve would do is done before the next thing happens, as in the arbiter: the image that comes says `Resumed`, or
the one that stayed `CrossFailed`.
"""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.supervisor.orders import (
    AnnounceReady,
    AnnounceStopping,
    Changes,
    Command,
    Cross,
    CrossFailed,
    DeadlineReached,
    Exit,
    ForkWorker,
    Hung,
    Input,
    KillTrial,
    ReloadAsked,
    Reloaded,
    ReloadFailed,
    ReloadRefused,
    Resumed,
    Scale,
    Signal,
    SignalWorker,
    Started,
    StartTrial,
    TrialExited,
    TrialFailed,
    TrialPassed,
    WorkerReady,
)
from audiohook.supervisor.phases import ChildPhase
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.reloads import ReloadPhase
from audiohook.supervisor.scaling import free_rows
from audiohook.supervisor.state import DESK, initial
from audiohook.units import seconds_ns
from tests.unit.test_supervisor_sequences import Act, World


class Reloading(World):
    """`generation_of` is of living workers; `accepting` are those that said ready and were not told to leave since."""

    def __init__(self, workers: int, rows: int, max_draining: int) -> None:
        super().__init__(workers, True, 60)
        self.plan = msgspec.structs.replace(
            self.plan, rows=rows, max_draining=max_draining, generation_ns=seconds_ns(600)
        )
        self.state = initial(self.plan)
        self.generation_of: dict[int, int] = {}
        self.told: dict[int, set[str]] = {}
        self.highest = 0
        self.trial = self.trial_killed = False
        self.before = self.state
        self.found: Changes = {}
        """What the trial has said last, before it could be found out that it is no more."""
        self.crossing: Cross | None = None
        self.old_plan = self.plan
        self.begun = self.ended = self.refused = 0

    @property
    def accepting(self) -> set[int]:
        return {row for row in self.ready & self.alive if row >= 0 and not self.told[row] - {"dump"}}

    @property
    def serves(self) -> bool:
        return bool(self.count[AnnounceReady]) and not self.count[AnnounceStopping]

    def tell(self, happened: Input) -> None:
        self.before = self.state
        before = self.accepting
        if isinstance(happened, WorkerReady):
            before.discard(happened.row)  # it may be told to leave at once: it was scaled away while it booted
        super().tell(happened)
        # Who stops, and who finds a worker hung, may leave nobody that accepts.
        if self.serves and not isinstance(happened, Hung | DeadlineReached | Signal):
            assert self.accepting or not before, "nobody accepts any more"
        for row in self.alive - {DESK}:
            self.ends(row)
        assert not (self.trial and self.count[AnnounceStopping] and not self.trial_killed)
        assert self.begun - self.ended == (self.state.reload.phase is not ReloadPhase.NONE)

    def obey(self, command: Command) -> None:
        match command:
            case ForkWorker(row=row, generation=generation):
                assert generation == self.state.plan.generation or self.state.reload.phase is not ReloadPhase.NONE
                self.generation_of[row], self.told[row] = generation, set()
                self.ready.discard(row)
                self.highest = max(self.highest, generation)
            case SignalWorker(row=row, urge=urge):
                self.told[row].add(urge)
            case StartTrial():
                assert not self.trial
                self.trial, self.trial_killed, self.found = True, False, {}
                self.begun += 1
            case KillTrial():
                assert self.trial
                self.trial_killed = True
            case Cross():
                assert self.crossing is None
                self.crossing = command
            case Reloaded():
                self.ended += 1
                self.check_reloaded(command)
            case ReloadFailed():
                self.ended += 1
                self.check_failed()
            case ReloadRefused():
                self.refused += 1
        super().obey(command)

    def check_reloaded(self, reloaded: Reloaded) -> None:
        current = self.state.plan.generation
        if reloaded.changes:
            assert self.found == reloaded.changes
            assert reloaded.generation == current
            assert self.state.plan == self.before.plan
            for row, child in enumerate(self.before.workers):
                assert child.phase is ChildPhase.ABSENT or child == self.state.workers[row], "nobody is touched"
            self.check_failed()  # as many workers as before, in that too
            return
        assert not self.found
        assert reloaded.generation == current == self.highest
        kept = {
            generation
            for row, generation in self.generation_of.items()
            if row in self.alive and generation != current and not self.ends(row)
        }
        assert len(kept) <= self.state.plan.max_draining
        if self.state.plan.workers != self.old_plan.workers:
            self.wanted = self.state.plan.workers
        new = {row for row in self.ready & self.alive if self.generation_of.get(row) == current}
        assert len(new) == self.wanted, "the old ones are sent away when all new ones serve, not before"
        assert self.state.wanted == self.wanted

    def ends(self, row: int) -> bool:
        """Return whether a worker was told to end its calls; of one that is hung, it has to be known."""
        child = self.state.child(row)
        told = bool(self.told[row] & {"hurry", "kill"})
        assert told or not (child.hurried and child.phase is ChildPhase.READY), "hurried, and it was never told"
        return told or child.hurried

    def check_failed(self) -> None:
        """As many workers as before, at once if there are rows for them."""
        if self.serves and self.state.reload.phase is ReloadPhase.NONE:  # no other one follows at once
            assert self.state.wanted == self.wanted
            assert not (self.state.reload.missing and free_rows(self.state))

    def check_wanted(self) -> None:
        if self.state.reload.phase is ReloadPhase.NONE:
            super().check_wanted()

    def cross(self, amount: int) -> None:
        """Carry the crossing out: mostly as ordered; else back by stage 0, or not at all."""
        crossing, self.crossing = self.crossing, None
        assert crossing is not None
        if crossing.fault:
            self.plan = self.old_plan
        if amount % 8 == 0:
            self.tell(CrossFailed("no room"))
        elif crossing.fault:
            self.tell(Resumed(self.plan, crossing.fault))
        elif amount % 8 == 1:
            self.tell(Resumed(self.plan, "ImportError"))
        else:
            self.old_plan = self.plan
            self.plan = self.next_plan(amount)
            number = self.state.reload.latest
            self.tell(Resumed(self.plan))
            assert self.state.reload.latest > number or not self.serves, "a number is given once"

    def next_plan(self, amount: int) -> Plan:
        workers = self.plan.workers if amount % 3 else 1 + amount % 4
        return msgspec.structs.replace(self.plan, workers=workers)

    def act(self, act: Act) -> None:
        what, place, amount = act
        if self.crossing is not None and not self.count[Exit]:
            self.cross(amount)
        if self.count[Exit]:
            return
        match what:
            case "ask":
                begun, refused = self.begun, self.refused
                self.tell(ReloadAsked())
                assert (self.begun - begun) + (self.refused - refused) == 1, "each is begun or refused"
            case "trial_passed" if self.trial:
                self.found = {"log.level": ("info", "debug")} if amount % 3 == 0 else {}
                self.tell(TrialPassed(self.found))
            case "change":
                self.tell(ReloadAsked())
                self.act(("trial_passed", 0, 0))
                self.act(("trial_ended", 0, 0))
                self.act(("ready_all", 0, 2))
            case "trial_failed" if self.trial:
                self.tell(TrialFailed("x"))
            case "trial_ended" if self.trial:
                self.trial = False
                self.tell(TrialExited((0, 0, 0, 0, 1, -9)[amount % 6]))
            case "trial_unborn" if self.trial:
                self.trial = False
                self.tell(TrialFailed("no process", started=False))
            case "reload":
                self.reload(amount, "ready_all", "ready_all")
            case "reload_scaled":
                self.act(("scale", place, place))
                self.reload(amount, "ready_all", "ready_all")
            case "reload_late":
                self.reload(amount, "crash", "scale", "deadline")
            case "scale" if self.state.reload.phase is not ReloadPhase.NONE:
                before = self.state.wanted
                self.tell(Scale(1 + amount % 3))
                assert self.state.wanted == before, "what is reloaded is not scaled"
            case "ready_all":
                for row in sorted(self.alive):
                    super().act(("ready", row if row >= 0 else 99, 0))
            case _:
                super().act((what, place, amount))

    def reload(self, amount: int, *then: str) -> None:
        """Reload as far as the new workers, so that sequences come to several generations; then let this happen."""
        self.tell(ReloadAsked())
        self.act(("trial_passed", 0, 1))
        self.act(("trial_ended", 0, 0))
        self.act(("time", 0, 8 * (amount // 8) + 2))  # it crosses
        for what in then:
            self.act((what, amount % len(self.state.workers), amount))

    def end_reload(self) -> None:
        """Let trial, workers and time come to an end: so does the reload."""
        for _ in range(20):
            if self.state.reload.phase is ReloadPhase.NONE or not self.serves:
                return
            self.act(("trial_ended", 0, 4))
            for place in sorted(self.killed):
                self.die(place, -9)
            self.act(("deadline", 0, 2))
        raise AssertionError(f"the reload does not end: {self.state.reload}")


kinds = st.sampled_from(
    [
        *(["reload"] * 5),
        *(["reload_late", "reload_scaled", "change"] * 2),
        *(["ask", "trial_passed", "trial_ended"] * 2),
        *(["ready"] * 3),
        *(["exit", "crash", "ready_all"] * 2),
        *[
            "trial_failed",
            "trial_unborn",
            "report",
            "fork_fails",
            "hung",
            "beating",
            "scale",
            "time",
            "deadline",
            "signal",
        ],
    ]
)
acts = st.lists(st.tuples(kinds, st.integers(0, 9), st.integers(0, 90_000)), max_size=50)


@settings(max_examples=800)
@given(st.integers(1, 3), st.integers(0, 6), st.integers(1, 3), acts)
def test_reloads_whatever_happens(workers: int, more_rows: int, max_draining: int, happenings: list[Act]) -> None:
    world = Reloading(workers, workers + more_rows, max_draining)
    world.tell(Started())
    world.act(("ready_all", 0, 0))
    assert world.count[AnnounceReady] == 1
    for act in happenings:
        world.act(act)
    world.end_reload()
    world.finish()
    assert world.count[Exit] == 1
    assert not world.alive
    assert not world.unmarked
