"""worker/garbage.py: collections come in idle turns, not too often, and at the latest after a minute."""

import gc
from collections.abc import Iterator

import pytest

from audiohook.units import NS_PER_S
from audiohook.worker.garbage import AT_LEAST_EVERY_NS, IDLE_EVERY_NS, THRESHOLDS, GarbageTimes

START_NS = 500 * NS_PER_S


class Cyclic:
    """Garbage that only a collection finds."""

    def __init__(self, collected: list[str]) -> None:
        self.me = self
        self._collected = collected

    def __del__(self) -> None:
        self._collected.append("collected")


@pytest.fixture
def collected() -> Iterator[list[str]]:
    """A cycle that lies about, with nobody but the code under test to collect it."""
    found: list[str] = []
    gc.disable()
    Cyclic(found)
    yield found
    gc.enable()


@pytest.mark.parametrize(
    ("after_ns", "idle", "collects"),
    [
        (1, True, False),
        (IDLE_EVERY_NS, True, False),
        (IDLE_EVERY_NS + 1, True, True),
        (IDLE_EVERY_NS + 1, False, False),
        (AT_LEAST_EVERY_NS, False, False),
        (AT_LEAST_EVERY_NS + 1, False, True),
    ],
)
def test_when_it_collects(collected: list[str], after_ns: int, idle: bool, collects: bool) -> None:
    times = GarbageTimes(START_NS)
    times.turn(START_NS + after_ns, idle=idle)
    assert bool(collected) is collects


def test_a_collection_starts_both_clocks_anew(collected: list[str]) -> None:
    times = GarbageTimes(START_NS)
    now_ns = START_NS + AT_LEAST_EVERY_NS + 1
    times.turn(now_ns, idle=False)
    assert collected == ["collected"]
    Cyclic(collected)
    for after_ns in range(0, IDLE_EVERY_NS + 1, NS_PER_S):
        times.turn(now_ns + after_ns, idle=True)
    assert collected == ["collected"]
    times.turn(now_ns + IDLE_EVERY_NS + 1, idle=True)
    assert collected == ["collected"] * 2


def test_a_worker_that_is_never_idle_still_collects_every_minute(collected: list[str]) -> None:
    times = GarbageTimes(START_NS)
    for second in range(1, 191):
        times.turn(START_NS + second * NS_PER_S, idle=False)
        Cyclic(collected)
    assert 120 <= len(collected) <= 190, "three collections, the last one at 183 s"


def test_prepare_freezes_what_exists_and_makes_automatic_collections_rare(collected: list[str]) -> None:
    before = gc.get_threshold()
    frozen = gc.get_freeze_count()
    try:
        GarbageTimes.prepare()
        assert collected == ["collected"], "before the freeze: what is frozen is never collected"
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > frozen
        assert THRESHOLDS[0] > 0, "0 would switch it off"
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
