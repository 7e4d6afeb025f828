"""worker/placement.py: who listens, by the worker table, with heartbeats that the test writes."""

from collections.abc import Iterator

import pytest

from audiohook.config import Admission
from audiohook.memory import layout
from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.worker.placement import STALE_NS, Placement, allowance
from tests.support.memory import Bench, bench

ROWS = 5
NOW_NS = 1_000 * NS_PER_S


@pytest.fixture(scope="module")
def memory() -> Iterator[Bench]:
    with bench(layout.geometry(slots=1, rows=ROWS, ring_seconds=1, event_records=4)) as made:
        yield made


class Table:
    """The worker table: every row free until it is set."""

    def __init__(self, memory: Bench) -> None:
        self._memory = memory
        for row in range(ROWS + 1):
            self.set(row, layout.ROW_FREE, 0, 0)

    def set(self, row: int, state: int, live: int, beat_ns: int = NOW_NS) -> None:
        for name, value in (("state", state), ("live", live), ("heartbeat_ns", beat_ns)):
            self._memory.arena.words[layout.row_word(self._memory.geometry, row, name)] = value

    def listens(self, row: int, now_ns: int = NOW_NS, most: int = 0) -> bool:
        admission = Admission(streams_per_worker=most)
        return Placement(self._memory.arena, row, lambda: admission).may_accept(now_ns)


@pytest.fixture
def table(memory: Bench) -> Table:
    return Table(memory)


@pytest.mark.parametrize(
    ("least", "most"), [(0, 3), (1, 4), (100, 103), (191, 194), (192, 195), (255, 258), (256, 260), (6400, 6500)]
)
def test_the_allowance_is_three_or_a_64th(least: int, most: int) -> None:
    assert allowance(least) == most


def test_who_is_alone_listens(table: Table) -> None:
    table.set(0, layout.ROW_ACCEPTING, 5000)
    assert table.listens(0)


def test_who_has_more_than_the_allowance_does_not_listen(table: Table) -> None:
    table.set(1, layout.ROW_ACCEPTING, 10)
    table.set(2, layout.ROW_ACCEPTING, 400)
    for live, listens in ((0, True), (13, True), (14, False)):
        table.set(0, layout.ROW_ACCEPTING, live)
        assert table.listens(0) is listens
    assert table.listens(1)
    assert not table.listens(2)


@pytest.mark.parametrize("state", [layout.ROW_FREE, layout.ROW_BOOTING, layout.ROW_DRAINING, layout.ROW_DEAD])
def test_only_accepting_workers_hold_others_back(table: Table, state: int) -> None:
    table.set(0, layout.ROW_ACCEPTING, 100)
    table.set(1, state, 0)
    assert table.listens(0)


@pytest.mark.parametrize(
    ("age_ns", "listens"), [(0, False), (STALE_NS - 1, False), (STALE_NS, True), (NS_PER_S, True), (-NS_PER_MS, False)]
)
def test_a_stopped_worker_holds_nobody_back(table: Table, age_ns: int, listens: bool) -> None:
    """A heartbeat younger than our own `now_ns` is possible: it was written after we looked at the clock."""
    table.set(0, layout.ROW_ACCEPTING, 100)
    table.set(1, layout.ROW_ACCEPTING, 0, NOW_NS - age_ns)
    assert table.listens(0) is listens


def test_who_leaves_listens_only_if_nobody_stays(table: Table) -> None:
    """What it accepted it would refuse with 503. When all leave, somebody has to say so."""
    table.set(0, layout.ROW_DRAINING, 5)
    table.set(1, layout.ROW_ACCEPTING, 500)
    assert not table.listens(0)
    assert table.listens(1)
    table.set(1, layout.ROW_ACCEPTING, 500, NOW_NS - STALE_NS)
    assert table.listens(0)
    table.set(1, layout.ROW_DRAINING, 500)
    assert table.listens(0)
    assert table.listens(1)


def test_a_full_worker_leaves_connections_to_those_that_have_room(table: Table) -> None:
    table.set(0, layout.ROW_ACCEPTING, 10)
    table.set(1, layout.ROW_ACCEPTING, 9)
    assert [table.listens(row, most=10) for row in (0, 1)] == [False, True]
    assert [table.listens(row, most=11) for row in (0, 1)] == [True, True]
    table.set(1, layout.ROW_ACCEPTING, 10)
    assert [table.listens(row, most=10) for row in (0, 1)] == [True, True], "somebody has to refuse"


def test_the_supervisors_row_is_nobodys_rival(table: Table) -> None:
    table.set(0, layout.ROW_ACCEPTING, 100)
    table.set(ROWS, layout.ROW_ACCEPTING, 0)
    assert table.listens(0)


def test_somebody_always_listens(table: Table) -> None:
    """Among workers whose hearts beat, the least loaded one always listens: a connection never waits for ever."""
    for loads in ((0, 0, 0, 0, 0), (7, 3, 900, 3, 4), (1000, 999, 1000, 1, 5)):
        for row, live in enumerate(loads):
            table.set(row, layout.ROW_ACCEPTING, live)
        assert table.listens(loads.index(min(loads)))


def test_a_thousand_calls_on_four_workers_lie_close(table: Table) -> None:
    """Whoever listens may get the next connection; the worst case is that always the most loaded of them does."""
    loads = [0, 0, 0, 0]
    for row in range(4):
        table.set(row, layout.ROW_ACCEPTING, 0)
    rules = [Placement(table._memory.arena, row) for row in range(4)]
    for _ in range(1000):
        takes = max((row for row in range(4) if rules[row].may_accept(NOW_NS)), key=lambda row: loads[row])
        loads[takes] += 1
        table.set(takes, layout.ROW_ACCEPTING, loads[takes])
    assert max(loads) - min(loads) <= 4
