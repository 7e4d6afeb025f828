"""A short run of `python -m tests.bench.answers`: every `open` and every ping is answered while calls talk.

How soon, and by a worker that is full, is measured there: a test machine is busy, and an upper bound would measure
that.
"""

from collections import Counter

from audiohook.units import NS_PER_S
from tests.bench.answers import Answers, misses, run, table, told

CALLS, OPENS = 12, 10


def test_every_open_and_every_ping_is_answered() -> None:
    found = run(CALLS, OPENS, pinged_ns=2 * NS_PER_S, ramp_s=0.1)
    assert found["opens"] == found["asked"] == OPENS
    assert found["pings"] >= 2 * OPENS, "one a second after opened, one at its pong"
    assert found["faults"] == {}
    assert found["packets"] > 2 * CALLS * 25
    assert found["flood"]["sent"] >= found["packets"]
    assert found["flood"]["unsent"] == 0
    assert {"open", "ping", "late"} == set(found["milliseconds"])
    assert f"{OPENS}" in table(found)
    assert misses(found), "a worker that is not full proves nothing"


def figures(**changed: float) -> dict[str, object]:
    answers = Answers(opens=[20_000_000] * 10, pings=[30_000_000] * 40, late=[1000] * 10)
    done = Counter(packets=1000, shed_messages=60)
    full = {"calls": 1, "busy": changed.get("busy", 0.99), "own_core": True, "seconds": 1.0}
    answers.opens[-1] = round(changed.get("slowest_ms", 20.0) * 1_000_000)
    del answers.opens[: int(changed.get("unanswered", 0))]
    return told(answers, full, done, {"late_ms": changed.get("flood_late_ms", 3.0)})


def test_what_is_called_a_miss() -> None:
    assert not misses(figures())
    assert misses(figures(busy=0.5))
    assert misses(figures(slowest_ms=101))
    assert misses(figures(unanswered=1))
    assert misses(figures(unanswered=10))
    assert misses(figures(flood_late_ms=500))
    assert "VOID: the flood was late by 500 ms" in table(figures(flood_late_ms=500))
    assert "6% were shed" in table(figures())
