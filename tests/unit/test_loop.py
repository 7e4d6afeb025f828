"""net/loop.py with a clock that the test turns: timers, the bulk lane, and who is served between whom.

Readiness comes from eventfds, which are ready from the start; no turn here ever waits.
"""

import os
import selectors
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from audiohook.net.loop import BULK_NS, EVENTS_A_STRETCH, STRETCH_NS, Loop
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S

START_NS = 50 * NS_PER_S


@dataclass
class Bench:
    """A loop, its clock, and what happened in it, in order."""

    now_ns: int = START_NS
    log: list[object] = field(default_factory=list)
    chores_ns: list[int] = field(default_factory=list)
    until_ns: int = 0
    fds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = Loop(self.every_turn, lambda: self.now_ns)

    def every_turn(self, now_ns: int) -> int:
        self.chores_ns.append(now_ns)
        self.log.append("chores")
        return self.until_ns

    def ready(
        self, count: int, served: Callable[["Ready"], None] = lambda source: None, *, newcomer: int = 0
    ) -> list["Ready"]:
        """Register `count` descriptors that are readable."""
        sources = []
        for number in range(count):
            fd = os.eventfd(1, os.EFD_NONBLOCK)
            self.fds.append(fd)
            sources.append(Ready(self, number, served, newcomer=newcomer))
            self.loop.register(fd, selectors.EVENT_READ, sources[-1])
        return sources

    def close(self) -> None:
        self.loop.close()
        for fd in self.fds:
            os.close(fd)

    def served(self) -> list[int]:
        return [entry for entry in self.log if isinstance(entry, int)]


@dataclass
class Ready:
    bench: Bench
    number: int
    served: Callable[["Ready"], None]
    closed: bool = False
    newcomer: int = 0

    def on_ready(self, mask: int, now_ns: int) -> None:
        assert mask == selectors.EVENT_READ
        assert now_ns <= self.bench.now_ns
        self.bench.log.append(self.number)
        self.served(self)

    def on_bulk(self, now_ns: int) -> bool:
        raise AssertionError("not in the bulk lane")


@dataclass
class Bulk:
    """A source with `portions` to serve, each of which takes `cost_ns`."""

    bench: Bench
    name: str
    portions: int
    cost_ns: int
    closed: bool = False
    newcomer: int = 0

    def on_ready(self, mask: int, now_ns: int) -> None:
        raise AssertionError("not in the selector")

    def on_bulk(self, now_ns: int) -> bool:
        assert now_ns == self.bench.now_ns
        self.bench.log.append(self.name)
        self.bench.now_ns += self.cost_ns
        self.portions -= 1
        return self.portions > 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


# Timers


def test_timers_come_in_order_of_time_and_then_of_asking(bench: Bench) -> None:
    for name, after_ns in (("late", 3), ("first", 1), ("second", 1), ("between", 2)):
        bench.loop.call_at(START_NS + after_ns, lambda now_ns, name=name: bench.log.append((name, now_ns)))
    bench.now_ns = START_NS + 3
    bench.loop.turn()
    expected = [(name, START_NS + 3) for name in ("first", "second", "between", "late")]
    assert bench.log == [*expected, "chores"]


def test_a_timer_comes_once_and_never_early(bench: Bench) -> None:
    bench.loop.call_at(START_NS + 10, bench.log.append)
    bench.now_ns = START_NS + 9
    bench.loop.turn()
    assert bench.log == ["chores"]
    bench.now_ns = START_NS + 10
    for _ in range(3):
        bench.loop.turn()
    assert bench.log == ["chores", START_NS + 10, "chores", "chores", "chores"]
    assert bench.loop.timer_lag_ns == 0


def test_a_timer_that_finds_itself_early_asks_again(bench: Bench) -> None:
    calls = []

    def lazy(now_ns: int) -> None:
        calls.append(now_ns)
        if now_ns < START_NS + 100:
            bench.loop.call_at(START_NS + 100, lazy)

    bench.loop.call_at(START_NS + 10, lazy)
    for bench.now_ns in (START_NS + 10, START_NS + 99, START_NS + 100, START_NS + 200):
        bench.loop.turn()
    assert calls == [START_NS + 10, START_NS + 100]


def test_how_late_the_most_overdue_timer_was(bench: Bench) -> None:
    bench.loop.call_at(START_NS, lambda now_ns: None)
    bench.loop.call_at(START_NS + 5, lambda now_ns: None)
    bench.now_ns = START_NS + 7
    bench.loop.turn()
    assert bench.loop.timer_lag_ns == 7
    bench.loop.turn()
    assert bench.loop.timer_lag_ns == 0


def test_a_timer_that_is_due_in_a_month_does_not_overflow_epoll(bench: Bench) -> None:
    with pytest.raises(OverflowError):
        bench.loop.selector.select(31 * 24 * 3600)
    bench.ready(1)
    for bench.until_ns in (START_NS + 31 * 24 * 3600 * NS_PER_S, NEVER_NS):
        bench.loop.turn()
    assert bench.served() == [0, 0]


# The bulk lane


def test_the_bulk_lane_goes_round(bench: Bench) -> None:
    for name, portions in (("a", 3), ("b", 1), ("c", 2)):
        bench.loop.join_bulk(Bulk(bench, name, portions, 1))
    bench.loop.turn()
    assert bench.log == ["a", "b", "c", "a", "c", "a", "chores"]
    assert bench.loop.bulk_waiting == 0


def test_the_bulk_lane_ends_after_two_milliseconds_and_goes_on_behind_the_last(bench: Bench) -> None:
    for name in "abcdefg":
        bench.loop.join_bulk(Bulk(bench, name, 100, NS_PER_MS // 2))
    spent = []
    for _ in range(7):
        before_ns = bench.now_ns
        bench.loop.turn()
        spent.append(bench.now_ns - before_ns)
    assert spent == [BULK_NS] * 7
    assert [entry for entry in bench.log if entry != "chores"] == list("abcdefg" * 4)


def test_where_turns_are_long_a_third_of_the_time_is_the_lanes(bench: Bench) -> None:
    """In an overload its members wait there with their pings: two milliseconds a turn would be nothing to them."""

    def served(source: Ready) -> None:
        bench.now_ns += 50 * BULK_NS

    bench.ready(2, served)
    bench.loop.join_bulk(Bulk(bench, "bulk", 10**6, BULK_NS))
    for _ in range(5):
        bench.loop.turn()
    assert bench.log.count("bulk") == 1 + 4 * 50
    assert len(bench.served()) == 10


def test_one_portion_is_served_however_long_it_takes(bench: Bench) -> None:
    for name in "ab":
        bench.loop.join_bulk(Bulk(bench, name, 2, 10 * BULK_NS))
    for _ in range(4):
        bench.loop.turn()
    assert [entry for entry in bench.log if entry != "chores"] == ["a", "b", "a", "b"]


def test_a_turn_with_bulk_waiting_does_not_wait(bench: Bench) -> None:
    bench.until_ns = NEVER_NS
    bench.loop.join_bulk(Bulk(bench, "a", 3, BULK_NS))
    bench.loop.turn()
    assert not bench.loop.idle
    bench.loop.turn()
    assert bench.loop.bulk_waiting == 1


def test_a_closed_source_leaves_the_bulk_lane_unserved(bench: Bench) -> None:
    gone, other = Bulk(bench, "gone", 5, BULK_NS), Bulk(bench, "other", 5, BULK_NS)
    bench.loop.join_bulk(gone)
    bench.loop.join_bulk(other)
    gone.closed = True
    bench.loop.turn()
    assert (bench.log, bench.loop.bulk_waiting) == (["other", "chores"], 1)


# Readiness


def test_chores_come_between_stretches_of_64(bench: Bench) -> None:
    bench.ready(2 * EVENTS_A_STRETCH + 10)
    bench.loop.turn()
    places = [place for place, entry in enumerate(bench.log) if entry == "chores"]
    assert places == [0, 1 + EVENTS_A_STRETCH, 2 + 2 * EVENTS_A_STRETCH]
    assert sorted(bench.served()) == list(range(2 * EVENTS_A_STRETCH + 10))


def test_timers_and_bulk_come_between_stretches_too(bench: Bench) -> None:
    """A long turn delays neither a heartbeat nor the bulk lane, nor do the events behind it get a stale time."""
    cost_ns = STRETCH_NS // (2 * EVENTS_A_STRETCH)

    def served(source: Ready) -> None:
        bench.now_ns += cost_ns

    bench.loop.call_at(START_NS + BULK_NS + 30 * cost_ns, lambda now_ns: bench.log.append(("timer", now_ns)))
    bench.ready(EVENTS_A_STRETCH + 1, served)
    bench.loop.join_bulk(Bulk(bench, "bulk", 9, BULK_NS))
    bench.loop.turn()
    served_ns = START_NS + EVENTS_A_STRETCH * cost_ns
    expected = ["bulk", ("timer", served_ns + 2 * BULK_NS), "chores"]
    assert bench.log[2 + EVENTS_A_STRETCH : -1] == expected
    assert bench.chores_ns == [START_NS + BULK_NS, served_ns + 2 * BULK_NS]


def paced(bench: Bench, pace_ns: int) -> list[float]:
    """Let the loop's turns begin so far apart; return how long it rests, in seconds."""
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        bench.now_ns += round(seconds * NS_PER_S)

    bench.loop.close()
    bench.loop = Loop(bench.every_turn, lambda: bench.now_ns, pace_ns, rest)
    bench.until_ns = NEVER_NS
    return rests


def test_turns_that_serve_begin_a_pace_apart(bench: Bench) -> None:
    rests = paced(bench, NS_PER_MS)

    def serve(source: Ready) -> None:
        bench.now_ns += NS_PER_MS // 4

    bench.ready(1, serve)
    bench.loop.turn()
    assert rests == [], "what comes after a silence is served at once"
    bench.loop.turn()
    assert rests == [0.75e-3]
    bench.now_ns += 10 * NS_PER_MS
    bench.loop.turn()
    assert rests == [0.75e-3], "the pace has passed"
    bench.until_ns = bench.now_ns + NS_PER_MS // 8
    bench.loop.turn()
    assert rests == [0.75e-3, 0.125e-3], "a timer does not wait for it"


def test_nothing_rests_while_bulk_waits_or_nothing_was_ready(bench: Bench) -> None:
    rests = paced(bench, NS_PER_MS)
    bench.ready(1)
    bench.loop.join_bulk(Bulk(bench, "bulk", 3, BULK_NS))
    for _ in range(3):
        bench.loop.turn()
    assert rests == []
    bench.loop.unregister(bench.fds[0])
    bench.until_ns = 0
    for _ in range(3):
        bench.loop.turn()
    assert len(rests) == 1


def test_a_source_that_is_closed_in_the_batch_is_skipped(bench: Bench) -> None:
    """Its descriptor may already be another's; level-triggered readiness brings that one back by itself."""
    sources: list[Ready] = []

    def served(source: Ready) -> None:
        for other in sources:
            other.closed = other is not source

    sources += bench.ready(5, served)
    bench.loop.turn()
    assert len(bench.served()) == 1


def test_who_left_the_selector_is_not_served(bench: Bench) -> None:
    bench.ready(2)
    bench.loop.unregister(bench.fds[0])
    bench.loop.turn()
    assert bench.served() == [1]


def test_idle_means_that_nothing_was_ready(bench: Bench) -> None:
    bench.loop.turn()
    assert bench.loop.idle
    bench.ready(1)
    bench.loop.turn()
    assert not bench.loop.idle


def test_stop_ends_run_after_this_turn(bench: Bench) -> None:
    bench.ready(3, lambda source: bench.loop.stop())
    bench.loop.run()
    assert sorted(bench.served()) == [0, 1, 2]
    assert len(bench.chores_ns) == 1


def test_stop_in_the_chores_ends_run(bench: Bench) -> None:
    bench.loop.call_at(START_NS, lambda now_ns: bench.loop.stop())
    bench.loop.run()
    assert bench.log == ["chores"]
