"""What grows is found, and what only goes up and down is not."""

import random
from collections.abc import Callable, Iterator

import pytest

from tests.faults.outcome import Outcome
from tests.soak.flat import FEWEST, growth
from tests.soak.gauges import Reading
from tests.soak.growing import OWN_MIB, judge_flat

READINGS = 300


def steady() -> Iterator[Reading]:
    """Five minutes of a process that warms up, is up and down by a quarter of a MiB, and stays as it is."""
    rng = random.Random(1)
    for second in range(READINGS):
        own = 40 - 10 / (1 + second) + rng.uniform(-0.25, 0.25)
        yield Reading(float(second), {"worker 0": own}, {"worker 0": 20}, {"worker 0": 1}, 50, 50, 20 * second, 0, 0, 0)


def judged(change: Callable[[int, Reading], None]) -> list[str]:
    outcome = Outcome(0)
    readings = list(steady())
    for number, reading in enumerate(readings):
        change(number, reading)
    judge_flat(outcome, readings)
    assert len(outcome.findings) == 3
    return outcome.wrong_counts


def test_what_is_steady_is_flat() -> None:
    assert judged(lambda number, reading: None) == []


def test_memory_that_grows_is_found() -> None:
    def leak(number: int, reading: Reading) -> None:
        reading.own_mib["worker 0"] += 2.5 * OWN_MIB * number / READINGS

    (wrong,) = judged(leak)
    assert wrong.startswith("worker 0: +1.")


def test_a_peak_is_no_growth() -> None:
    def peak(number: int, reading: Reading) -> None:
        reading.own_mib["worker 0"] += 50.0 * (number in range(280, 290))

    assert judged(peak) == []


def test_a_descriptor_more_is_found() -> None:
    def leak(number: int, reading: Reading) -> None:
        reading.spare_fds["worker 0"] += number > READINGS // 2

    assert len(judged(leak)) == 1


def test_a_thread_more_is_found() -> None:
    def start(number: int, reading: Reading) -> None:
        reading.threads["worker 0"] += number == READINGS - 1

    assert judged(start) == ["worker 0: threads [1, 2]"]


def test_too_few_readings_say_nothing() -> None:
    with pytest.raises(ValueError, match="are needed"):
        growth([1.0] * (FEWEST - 1))
    outcome = Outcome(0)
    judge_flat(outcome, list(steady())[:3])
    assert outcome.wrong_counts == ["3 readings are too few"]
