"""What the readers' rows make of their windows: the ratio, how far chance may carry it, and whether that decides."""

import pytest

from tests.faults.rows.readers import Cost, Window, uncertainty


def windows(*costs_us: float) -> list[Window]:
    return [Window(workers=1, seconds=1.0, cpu_ns=round(cost * 1e6), packets=1000, bells=0) for cost in costs_us]


def test_each_window_is_compared_with_the_two_around_it() -> None:
    steadily_slower = windows(50, 60, 70, 80)
    assert Cost.of(steadily_slower, windows(55, 65, 75)).ratio == pytest.approx(1)
    assert Cost.of(steadily_slower, windows(60.5, 71.5, 82.5)).ratio == pytest.approx(1.1)


def test_a_figure_counts_where_chance_does_not_reach_its_bound() -> None:
    steady, restless = windows(50, 50.5, 50, 50.5), windows(50, 60, 50, 60)
    assert not Cost.of(steady, windows(50, 50, 50)).open
    assert not Cost.of(steady, windows(60, 60, 60)).open
    assert Cost.of(restless, windows(55, 55, 55)).open
    assert Cost.of(restless, windows(60, 60, 60)).open


def test_chance_shrinks_with_the_windows_and_is_all_where_there_are_too_few() -> None:
    few, many = [50.0, 55.0] * 2, [50.0, 55.0] * 8
    assert uncertainty(many) < uncertainty(few) / 1.9
    assert uncertainty([50.0, 50.0]) == 1.0
