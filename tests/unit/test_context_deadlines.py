"""session/context.py: when a session wants to be asked again. Integer clocks, no wire."""

import pytest

from audiohook.errors import SHUTDOWN
from audiohook.session.context import CLOSE_WAIT_NS, State
from audiohook.units import NS_PER_MS, NS_PER_S
from tests.support.calls import DEGRADED_NS, FIRST_AUDIO_NS, START_NS
from tests.unit.test_context import HOUR_NS, Life, reached


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"degraded_ns": NS_PER_MS, "first_audio_ns": NS_PER_MS},
        {"heartbeat_ns": 10 * NS_PER_MS},
        {"heartbeat_ns": HOUR_NS, "degraded_ns": 1, "first_audio_ns": 1},
    ],
    ids=["usual", "silence first", "heartbeat first", "at once"],
)
def test_after_every_deadline_the_next_one_lies_ahead(state: State, terms: dict[str, int]) -> None:
    life = Life(**terms)
    session = life.session
    if state in (State.FLOWING, State.DEGRADED):
        session.receive_audio(b"a", life.now_ns)
    elif state is State.CLOSING:
        session.close(SHUTDOWN, life.now_ns)
    elif state is State.OVER:
        session.receive_eof(life.now_ns)
    for _ in range(20):
        life.now_ns = max(life.now_ns, min(session.deadline_ns, life.now_ns + HOUR_NS))
        session.on_deadline(life.now_ns)
        assert session.deadline_ns > life.now_ns


def test_a_packet_after_a_pause_brings_the_deadline_forward() -> None:
    life = Life(heartbeat_ns=HOUR_NS)
    session = life.session
    life.now_ns += FIRST_AUDIO_NS
    session.on_deadline(life.now_ns)
    assert session.deadline_ns == START_NS + HOUR_NS
    session.receive_audio(b"a", life.now_ns)
    assert session.deadline_ns == life.now_ns + DEGRADED_NS
    life.now_ns += DEGRADED_NS
    session.on_deadline(life.now_ns)
    life.now_ns += NS_PER_S
    session.receive_audio(b"b", life.now_ns)
    assert session.deadline_ns == life.now_ns + DEGRADED_NS


def test_the_wait_for_the_peers_close_begins_at_once() -> None:
    life = Life(heartbeat_ns=HOUR_NS, first_audio_ns=HOUR_NS)
    life.session.close(SHUTDOWN, life.now_ns)
    assert life.session.deadline_ns == life.now_ns + CLOSE_WAIT_NS


def test_a_packet_does_not_move_the_deadline() -> None:
    life = reached(State.FLOWING)
    before_ns = life.session.deadline_ns
    life.session.receive_audio(b"a", life.now_ns + 3 * NS_PER_S)
    assert life.session.deadline_ns == before_ns, "early is allowed, and costs nothing a packet"
