"""The supervisor's policy against a model of real children, under random sequences: the invariants of policy.py."""

from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.supervisor.orders import (
    AnnounceHung,
    AnnounceReady,
    AnnounceStopping,
    Beating,
    ChildExited,
    Command,
    DeadlineReached,
    DeskExited,
    DeskForkFailed,
    DeskReady,
    DeskReport,
    Exit,
    ForkDesk,
    ForkFailed,
    ForkWorker,
    Hung,
    Input,
    MarkDead,
    Scale,
    Scaled,
    ScaleRefused,
    Signal,
    SignalDesk,
    SignalWorker,
    Started,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.phases import ChildPhase
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.policy import step
from audiohook.supervisor.state import DESK, deadline_ns, initial
from audiohook.units import NEVER_NS, NS_PER_MS, seconds_ns

Act = tuple[str, int, int]


class World:
    """Children as the kernel would have them: alive or not, and which died without being marked yet."""

    def __init__(self, workers: int, desk: bool, drain_s: int) -> None:
        self.plan = Plan(
            workers=workers, rows=workers + 3, desk=desk, boot_ns=seconds_ns(20), drain_ns=seconds_ns(drain_s)
        )
        self.state = initial(self.plan)
        self.now_ns = seconds_ns(50)
        self.alive: set[int] = set()
        self.unmarked: set[int] = set()
        self.killed: set[int] = set()
        self.count = {AnnounceReady: 0, AnnounceStopping: 0, Exit: 0}
        self.ready: set[int] = set()
        self.next_fork_fails = False
        self.unborn: set[int] = set()
        self.wanted = workers
        self.scalings = 0
        self.missing = 0
        """Workers that a failed reload has left without a row, before the last input."""

    def tell(self, happened: Input) -> None:
        self.missing = self.state.reload.missing
        self.state, commands = step(self.state, happened, self.now_ns)
        for number, command in enumerate(commands):
            self.obey(command)
            assert not self.count[Exit] or number == len(commands) - 1, "nothing is ordered after Exit"
        failed = {place for place in self.alive if place in self.unborn}
        self.unborn.clear()
        for place in failed:
            self.alive.discard(place)
            self.tell(DeskForkFailed("x") if place == DESK else ForkFailed(place, "x"))

    def fork(self, place: int) -> None:
        self.alive.add(place)
        if self.next_fork_fails:
            self.unborn.add(place)
            self.next_fork_fails = False

    def obey(self, command: Command) -> None:
        match command:
            case ForkWorker(row=row):
                assert 0 <= row < self.plan.rows
                assert row not in self.alive, "two processes in one row"
                assert row not in self.unmarked, "the row is used again before MarkDead"
                assert not self.count[AnnounceStopping]
                self.fork(row)
            case ForkDesk():
                assert self.plan.desk
                assert DESK not in self.alive, "two desks"
                self.fork(DESK)
            case SignalWorker(row=row, urge=urge):
                assert row in self.alive
                assert row != DESK
                self.killed |= {row} if urge == "kill" else set()
            case SignalDesk(urge=urge):
                assert DESK in self.alive
                self.killed |= {DESK} if urge == "kill" else set()
            case MarkDead(row=row):
                assert 0 <= row < self.plan.rows
                assert row not in self.alive
                self.unmarked.discard(row)
            case AnnounceHung(place=place):
                assert place in self.alive
            case Scaled(before=before, after=after, started=started, leaving=leaving):
                assert before == self.wanted
                spared = before - after + len(started) - len(leaving)
                assert 0 <= spared <= self.missing, "who is missing is given up before one that serves"
                assert set(started) <= self.alive
                assert not set(started) & set(leaving)
                self.wanted = after
                self.scalings += 1
            case ScaleRefused():
                self.scalings += 1
            case AnnounceReady():
                everybody = set(range(self.plan.workers)) | ({DESK} if self.plan.desk else set())
                assert self.ready == self.alive == everybody
                self.count[AnnounceReady] += 1
                assert self.count == {AnnounceReady: 1, AnnounceStopping: 0, Exit: 0}
            case AnnounceStopping() | Exit():
                self.count[type(command)] += 1
                assert self.count[type(command)] == 1
                assert not (isinstance(command, Exit) and (self.alive or self.unmarked))

    def die(self, place: int, status: int) -> None:
        if place not in self.alive:
            return
        self.alive.discard(place)
        self.killed.discard(place)
        self.ready.discard(place)
        if place == DESK:
            self.tell(DeskExited(status))
        else:
            self.unmarked.add(place)
            self.tell(ChildExited(place, 1000 + place, status))
        assert place not in self.unmarked, "a death without MarkDead"

    def act(self, act: Act) -> None:
        what, place, amount = act
        if self.count[Exit]:
            return
        place = DESK if place >= self.plan.rows else place
        match what:
            case "ready" if place in self.alive:
                self.ready.add(place)
                self.tell(DeskReady() if place == DESK else WorkerReady(place))
            case "report" if place in self.alive:
                self.tell(DeskReport("x") if place == DESK else WorkerReport(place, "x"))
            case "exit":
                self.die(place, amount % 5)
            case "crash":
                self.die(place, -9)
            case "fork_fails":
                self.next_fork_fails = True
            case "time":
                self.now_ns += amount * NS_PER_MS
            case "deadline" if deadline_ns(self.state) != NEVER_NS:
                self.now_ns = max(self.now_ns, deadline_ns(self.state))
            case "hung" if place in self.alive:
                self.tell(Hung(place, 1000 + place, amount))
            case "beating" if place in self.alive:
                self.tell(Beating(place))
            case "scale":
                answered = self.scalings
                self.tell(Scale(amount % (self.plan.rows + 2), (3, 1, 2)))
                assert self.scalings == answered + 1, "each is answered, once"
            case "stray":
                self.tell(WorkerReady(self.plan.rows + amount))
                self.tell(ChildExited(self.plan.rows + amount, 1, 0))
                self.tell(Hung(self.plan.rows + amount, 1, 1))
                self.tell(Beating(self.plan.rows + amount))
            case "signal":
                self.tell(Signal(("TERM", "INT", "QUIT", "HUP")[amount % 4]))
        if not self.count[Exit] and deadline_ns(self.state) <= self.now_ns:
            self.tell(DeadlineReached())
            assert deadline_ns(self.state) > self.now_ns, "the loop would spin"
        if self.count[AnnounceReady] and not self.count[AnnounceStopping]:
            self.check_wanted()

    def check_wanted(self) -> None:
        """While the service serves there are as many workers, or dates for them, as are wanted."""
        assert self.state.wanted == self.wanted
        for row, child in enumerate(self.state.workers):
            assert (row in self.alive) == (child.phase not in (ChildPhase.ABSENT, ChildPhase.WAITING))

    def finish(self) -> None:
        """From anywhere: a stop signal, then children that obey nothing but `kill`."""
        if not self.count[Exit]:
            self.tell(Signal("TERM"))
        for _ in range(100):
            if self.count[Exit]:
                return
            if self.killed:
                self.die(min(self.killed), -9)
            else:
                assert deadline_ns(self.state) != NEVER_NS, "stuck: no child was killed and no deadline is left"
                self.act(("deadline", 0, 0))
        raise AssertionError("a stop signal did not lead to Exit")


# "ready" and "exit" come often, so that many sequences get as far as SERVING and back-off.
kinds = st.sampled_from(
    [
        "ready",
        "ready",
        "ready",
        "report",
        "exit",
        "crash",
        "crash",
        "fork_fails",
        "hung",
        "hung",
        "beating",
        "scale",
        "scale",
        "time",
        "deadline",
        "stray",
        "signal",
    ]
)
acts = st.lists(st.tuples(kinds, st.integers(0, 7), st.integers(0, 90_000)), max_size=60)


@settings(max_examples=400)
@given(st.integers(1, 4), st.booleans(), st.sampled_from([0, 60]), st.booleans(), st.booleans(), acts)
def test_invariants_hold_whatever_happens(
    workers: int, desk: bool, drain_s: int, served: bool, first_fork_fails: bool, happenings: list[Act]
) -> None:
    world = World(workers, desk, drain_s)
    world.next_fork_fails = first_fork_fails and not served
    world.tell(Started())
    if served:
        for place in (*range(workers), *([99] if desk else [])):
            world.act(("ready", place, 0))
        assert world.count[AnnounceReady] == 1
    for act in happenings:
        world.act(act)
    world.finish()
    assert world.count[Exit] == 1
    assert not world.alive
    assert not world.unmarked


@settings(max_examples=100)
@given(st.lists(st.integers(0, 59_999), min_size=2, max_size=20))
def test_backoff_never_shrinks_while_lives_are_short(lives_ms: list[int]) -> None:
    world = World(1, False, 60)
    world.tell(Started())
    world.act(("ready", 0, 0))
    waits_ns = []
    for life_ms in lives_ms:
        world.now_ns += life_ms * NS_PER_MS
        world.die(0, -9)
        died_ns = world.now_ns
        if 0 not in world.alive:
            world.act(("deadline", 0, 0))
        assert 0 in world.alive
        waits_ns.append(world.now_ns - died_ns)
        world.act(("ready", 0, 0))
    assert waits_ns == sorted(waits_ns)
