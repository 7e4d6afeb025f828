"""session/context.py: packets on hold are counted, silence on hold is measured. Integer clocks, no wire."""

import pytest

from audiohook.session.context import HELD_PAUSE_NS, State
from audiohook.session.events import AudioArrived, AudioHeld, Noticed, TimeMeasured
from audiohook.units import NS_PER_MS, NS_PER_S
from tests.support.calls import DEGRADED_NS, FIRST_AUDIO_NS
from tests.unit.test_context import HOUR_NS, notices, reached, take


def test_a_hold_with_packets_counts_each_and_measures_nothing() -> None:
    life = reached(State.FLOWING)
    life.session.hold(life.now_ns)
    for _ in range(100):
        life.now_ns += 20 * NS_PER_MS
        life.session.receive_audio(b"held", life.now_ns)
    life.session.unhold(life.now_ns)
    life.session.receive_audio(b"heard", life.now_ns + 20 * NS_PER_MS)
    assert take(life.session)[0] == [
        Noticed("held"),
        *[AudioHeld(b"held")] * 100,
        Noticed("unheld"),
        AudioArrived(b"heard"),
    ]


@pytest.mark.parametrize("first_after_unhold", [True, False], ids=["then unhold", "unhold late"])
def test_a_hold_without_packets_is_measured_from_the_last_to_the_next(first_after_unhold: bool) -> None:
    """The word and the stop of the audio come in any order: here some packets still follow the word."""
    life = reached(State.FLOWING)
    life.session.hold(life.now_ns)
    for _ in range(5):
        life.now_ns += 20 * NS_PER_MS
        life.session.receive_audio(b"late", life.now_ns)
    take(life.session)
    life.pass_time(7 * NS_PER_S)
    if first_after_unhold:
        life.session.unhold(life.now_ns)
        assert take(life.session)[0] == [Noticed("unheld")]
    life.session.receive_audio(b"next", life.now_ns)
    after = AudioArrived(b"next") if first_after_unhold else AudioHeld(b"next")
    assert take(life.session)[0] == [TimeMeasured(7 * NS_PER_S), after]
    life.session.unhold(life.now_ns)
    life.session.receive_audio(b"x", life.now_ns)
    life.pass_time(HELD_PAUSE_NS)
    life.session.receive_audio(b"y", life.now_ns)
    held = [] if first_after_unhold else [Noticed("unheld")]
    assert take(life.session)[0] == [*held, AudioArrived(b"x"), AudioArrived(b"y")], "and after that no clock is asked"


def test_a_pause_shorter_than_a_hold_is_jitter() -> None:
    life = reached(State.HELD)
    life.now_ns += HELD_PAUSE_NS - 1
    life.session.receive_audio(b"a", life.now_ns)
    assert take(life.session)[0] == [AudioHeld(b"a")]


def test_before_any_audio_there_is_nothing_to_measure_from() -> None:
    life = reached(State.HELD_EARLY)
    life.pass_time(HOUR_NS)
    life.session.unhold(life.now_ns)
    life.session.receive_audio(b"a", life.now_ns)
    assert take(life.session)[0] == [Noticed("unheld"), AudioArrived(b"a")]


def test_after_a_hold_audio_is_waited_for_anew() -> None:
    for held, wait_ns, said in ((State.HELD, DEGRADED_NS, "degraded"), (State.HELD_EARLY, FIRST_AUDIO_NS, "no_audio")):
        life = reached(held)
        life.pass_time(HOUR_NS)
        life.session.unhold(life.now_ns)
        assert life.session.deadline_ns <= life.now_ns + wait_ns
        life.pass_time(wait_ns - 1)
        assert notices(life) == ["unheld"]
        life.pass_time(1)
        assert notices(life) == [said]
