"""net/loop.py: connections without a call come after the others, in doses, and those first that have just arrived."""

from collections.abc import Iterator

import pytest

from audiohook.net.loop import NEWCOMERS_NS
from audiohook.units import NS_PER_MS
from tests.unit.test_loop import Bench, Ready


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


CROWD = 100
"""The number of the first newcomer; others count from 0."""


def newcomers(bench: Bench, count: int, cost_ns: int) -> list[int]:
    """Make sources that can wait, each of which is served once, for `cost_ns`; return their numbers."""
    first = len(bench.fds)

    def serve(source: Ready) -> None:
        bench.now_ns += cost_ns
        bench.loop.unregister(bench.fds[first + source.number - CROWD])

    for source in bench.ready(count, serve, newcomer=1):
        source.number += CROWD
    return list(range(CROWD, CROWD + count))


def test_newcomers_come_after_all_others_and_for_four_milliseconds_a_turn(bench: Bench) -> None:
    crowd = newcomers(bench, 20, NEWCOMERS_NS * 2 // 5)
    bench.ready(2)
    turns = []
    for _ in range(7):
        began = len(bench.served())
        bench.loop.turn()
        turns.append(bench.served()[began:])
    assert [turn[:2] for turn in turns] == [[0, 1]] * 7
    assert [len(turn[2:]) for turn in turns] == [3, 3, 3, 3, 3, 3, 2]
    assert sorted(number for turn in turns for number in turn[2:]) == crowd


def test_where_turns_are_long_newcomers_have_a_third_of_what_the_others_took(bench: Bench) -> None:
    def slow(source: Ready) -> None:
        bench.now_ns += 45 * NS_PER_MS

    crowd = newcomers(bench, 20, 4 * NS_PER_MS)
    bench.ready(2, slow)
    bench.loop.turn()
    assert bench.served()[:4] == [0, crowd[0], 1, crowd[1]], "two milliseconds, at least one, between two stretches"
    assert bench.served()[4:] == crowd[2 : 2 + 9]


def test_who_was_served_before_comes_behind_who_has_just_arrived(bench: Bench) -> None:
    sources = bench.ready(3, newcomer=2)
    sources[1].newcomer = 1
    bench.loop.turn()
    assert bench.served() == [1, 0, 2]


def test_who_became_a_caller_is_served_with_the_others(bench: Bench) -> None:
    def slow(source: Ready) -> None:
        bench.now_ns += NEWCOMERS_NS

    first, second = bench.ready(2, slow, newcomer=1)
    bench.loop.turn()
    assert bench.served() == [first.number]
    second.newcomer = 0
    bench.loop.settle(bench.fds[1])
    bench.loop.settle(bench.fds[1])
    bench.log.clear()
    bench.loop.turn()
    assert bench.served()[:2] == [second.number, first.number]
    for fd in bench.fds:
        bench.loop.unregister(fd)
    bench.log.clear()
    bench.loop.turn()
    assert bench.served() == []


def test_a_newcomer_that_is_closed_in_the_batch_is_skipped(bench: Bench) -> None:
    first, second = bench.ready(2, lambda source: setattr(second, "closed", True), newcomer=1)
    bench.loop.turn()
    assert bench.served() == [first.number]


def test_who_is_to_be_served_later_waits_behind_the_others_from_then_on(bench: Bench) -> None:
    def defer(source: Ready) -> None:
        if source.number == 0 and not source.newcomer:
            source.newcomer = 2
            bench.loop.defer(bench.fds[0])

    bench.ready(3, defer)
    bench.loop.turn()
    assert bench.served() == [0, 1, 2, 0]
    bench.log.clear()
    bench.loop.turn()
    assert bench.served() == [1, 2, 0]
    bench.loop.unregister(bench.fds[0])


def test_it_is_a_rush_while_newcomers_are_left_over(bench: Bench) -> None:
    newcomers(bench, 5, NEWCOMERS_NS // 2)
    rushes = []
    for _ in range(4):
        bench.loop.turn()
        rushes.append(bench.loop.rush)
    assert rushes == [True, True, False, False]
