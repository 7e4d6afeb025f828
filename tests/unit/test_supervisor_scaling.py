"""The supervisor's policy: more workers, fewer workers, and who of them leaves."""

import pytest

from audiohook.supervisor.orders import (
    ForkWorker,
    Hung,
    Input,
    MarkDead,
    Scale,
    Scaled,
    ScaleRefused,
    Signal,
    SignalWorker,
    Started,
    WorkerReady,
)
from audiohook.supervisor.phases import ChildPhase
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.scaling import in_words
from audiohook.supervisor.state import deadline_ns
from audiohook.units import NEVER_NS, NS_PER_S, seconds_ns
from tests.unit.test_supervisor_policy import SERVED, exits, house

PLAN = Plan(workers=2, rows=5, desk=True, boot_ns=seconds_ns(20), drain_ns=seconds_ns(60))
ASKED = {"uid": 1000, "pid": 42}


def test_up_starts_workers_in_the_free_rows_and_they_are_like_the_others() -> None:
    h = house(*SERVED, plan=PLAN)
    assert h.tell(Scale(4, (9, 9), ASKED)) == [
        ForkWorker(2, 0),
        ForkWorker(3, 0),
        Scaled(2, 4, (2, 3), (), ASKED),
    ]
    assert "scaled from 2 to 4 workers" in h.text()
    h.tell(WorkerReady(2), WorkerReady(3))
    assert h.state.wanted == 4
    assert h.tell(*exits(3, status=-9)) == [MarkDead(3), ForkWorker(3, 0)]


def test_down_retires_whoever_has_the_fewest_calls_and_does_not_replace_it() -> None:
    h = house(*SERVED, Scale(4), WorkerReady(2), WorkerReady(3), plan=PLAN)
    assert h.tell(Scale(2, (7, 3, 5, 4), ASKED)) == [
        SignalWorker(1, "retire"),
        SignalWorker(3, "retire"),
        Scaled(4, 2, (), (1, 3), ASKED),
    ]
    assert h.state.child(1).phase is ChildPhase.READY, "its calls go on"
    assert h.tell(*exits(1)) == [MarkDead(1)]
    assert h.logged[-1].level == "info"
    assert h.tell(*exits(3, status=-9)) == [MarkDead(3)], "also one that is killed on its way"
    assert deadline_ns(h.state) == NEVER_NS
    assert h.state.wanted == 2


def test_one_that_hangs_leaves_before_one_that_still_boots() -> None:
    h = house(*SERVED, Scale(3), Hung(0, 100, 10 * NS_PER_S), plan=PLAN)
    *_, scaled = h.tell(Scale(2, (9, 1, 0)))
    assert isinstance(scaled, Scaled)
    assert scaled.leaving == (0,)


def test_of_equals_the_youngest_leaves() -> None:
    h = house(*SERVED, plan=PLAN)
    h.now_ns += NS_PER_S
    h.tell(*exits(0), WorkerReady(0))
    assert h.tell(Scale(1, (2, 2)))[0] == SignalWorker(0, "retire")


def test_who_does_not_serve_leaves_first() -> None:
    h = house(*SERVED, Scale(3), plan=PLAN)
    h.tell(*exits(1), *exits(1))
    assert [h.state.child(row).phase for row in range(3)] == ["ready", "waiting", "booting"]
    assert h.tell(Scale(1, (0, 0, 0)))[:-1] == [], "neither of them can be told anything yet"
    assert h.state.child(1).phase is ChildPhase.ABSENT
    assert h.tell(WorkerReady(2)) == [SignalWorker(2, "retire")]


def test_a_row_that_is_still_drained_cannot_be_had_again() -> None:
    h = house(*SERVED, Scale(5), WorkerReady(2), WorkerReady(3), WorkerReady(4), Scale(1), plan=PLAN)
    assert h.tell(Scale(3)) == [ScaleRefused("4 of 5 rows are still drained: 1 workers are the most now")]
    leaving = [row for row in range(5) if h.state.child(row).leaving]
    h.tell(*exits(*leaving[:2]))
    assert h.tell(Scale(3)) == [*(ForkWorker(row, 0) for row in leaving[:2]), Scaled(1, 3, tuple(leaving[:2]), (), {})]


@pytest.mark.parametrize("workers", [-1, 0, 6, 120])
def test_bounds(workers: int) -> None:
    h = house(*SERVED, plan=PLAN)
    (refused,) = h.tell(Scale(workers))
    assert isinstance(refused, ScaleRefused)
    assert refused.text.startswith("from 1 to 5 workers can be had")
    assert f"not scaled to {workers} workers" in h.text()
    assert h.state.wanted == 2


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ((), "the service is starting"),
        ((Started(),), "the service is starting"),
        ((*SERVED, Signal("TERM")), "the service is stopping"),
        ((*SERVED, Signal("QUIT")), "the service is stopping"),
    ],
)
def test_only_a_service_that_serves_is_scaled(inputs: tuple[Input, ...], text: str) -> None:
    h = house(*inputs, plan=PLAN)
    assert h.tell(Scale(3)) == [ScaleRefused(text)]


def test_as_many_as_there_are_is_nothing_to_do() -> None:
    h = house(*SERVED, plan=PLAN)
    (done,) = h.tell(Scale(2))
    assert done == Scaled(2, 2, (), (), {})
    assert in_words(Scaled(2, 2, (), (), {})) == "there were 2"
    assert in_words(Scaled(2, 4, (2, 3), (), {})) == "there were 2; 2 started"
    words = in_words(Scaled(4, 2, (), (1, 3), {}))
    assert words == "there were 4; 2 take no more calls and leave with their last one"


def test_who_leaves_leaves_with_the_service_too() -> None:
    h = house(*SERVED, Scale(1, (0, 1)), plan=PLAN)
    orders = h.tell(Signal("TERM"))
    assert orders[1:] == [SignalWorker(0, "drain"), SignalWorker(1, "drain")]
    assert h.tell(Signal("TERM")) == [SignalWorker(0, "hurry"), SignalWorker(1, "hurry")]
