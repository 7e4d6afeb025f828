"""Every end of a session, and every clock that leads to one."""

from collections.abc import Callable
from typing import Any

import pytest

from audiohook.errors import (
    INTERNAL_ERROR,
    INVALID_PAYLOAD,
    MESSAGE_TOO_LARGE,
    PEER_CLOSED,
    PEER_VANISHED,
    PROTOCOL_ERROR,
    SEND_STALLED,
    SHUTDOWN,
    Closure,
)
from audiohook.session.audiohook2_rates import Sending
from audiohook.session.audiohook2_table import State
from audiohook.session.events import (
    Ended,
    NotOpened,
    Probed,
    Reset,
    SendClose,
)
from audiohook.units import NEVER_NS, NS_PER_S
from tests.support.audiohook2 import (
    PROBE,
    Life,
)

# Ends


@pytest.mark.parametrize("reason", ["end", "error", "disconnect", "reconnect"])
def test_the_peers_close_is_answered_at_once(reason: str) -> None:
    life = Life().admitted()
    life.sent()
    life.events()
    life.say("close", {"reason": reason})
    (said,) = life.sent()
    assert (said["type"], said["seq"], said["clientseq"], said["parameters"]) == ("closed", 2, 2, {})
    assert life.events() == [Ended(PEER_CLOSED, None, reason)]
    life.session.receive_close(None, "", life.now_ns)
    assert (life.session.over, life.events(), life.session.deadline_ns) == (True, [], life.session.deadline_ns)


@pytest.mark.parametrize("parameters", [{}, {"reason": "bored"}, {"reason": 5}])
def test_a_close_needs_no_reason(parameters: dict[str, Any]) -> None:
    life = Life().admitted().say("close", parameters)
    assert life.sent_types() == ["opened", "closed"]


def test_a_peer_that_stays_after_closed_is_closed() -> None:
    life = Life().admitted().say("close", {"reason": "end"})
    life.commands()
    life.advance(10 * NS_PER_S - 1)
    assert life.commands() == []
    life.advance(1)
    assert life.commands() == [SendClose(1000, "")]
    life.advance(2 * NS_PER_S)
    assert life.commands() == [Reset()]
    assert (life.session.over, life.session.deadline_ns) == (True, NEVER_NS)


@pytest.mark.parametrize("why", [SHUTDOWN, INTERNAL_ERROR])
def test_our_end_is_told_and_the_peers_close_awaited(why: Closure) -> None:
    life = Life().admitted()
    life.sent()
    life.events()
    life.session.close(why, life.now_ns)
    (said,) = life.sent()
    assert said["parameters"] == {"reason": "error", "info": why.text}
    assert life.events() == [Ended(why.slug, None, why.text)]
    life.advance(10 * NS_PER_S - 1)
    assert life.commands() == []
    life.advance(1)
    assert life.commands() == [SendClose(why.code or 0, why.text)]


@pytest.mark.parametrize("why", [PROTOCOL_ERROR, INVALID_PAYLOAD, MESSAGE_TOO_LARGE])
def test_a_broken_websocket_gets_a_close_frame(why: Closure) -> None:
    life = Life().admitted()
    life.sent()
    life.events()
    life.session.close(why, life.now_ns)
    assert life.commands() == [SendClose(why.code or 0, why.text)]
    assert life.events() == [Ended(why.slug, why.code, why.text)]
    life.advance(2 * NS_PER_S)
    assert life.commands() == [Reset()]


def test_a_dead_peer_is_reset() -> None:
    life = Life().admitted()
    life.sent()
    life.events()
    life.session.close(SEND_STALLED, life.now_ns)
    assert (life.commands(), life.events(), life.session.over) == ([Reset()], [Ended("send_stalled")], True)


def test_a_peer_that_vanishes() -> None:
    life = Life().admitted()
    life.events()
    life.session.receive_eof(life.now_ns)
    assert life.events() == [Ended(PEER_VANISHED)]
    life = Life()
    life.session.receive_close(1001, "bye", life.now_ns)
    assert life.events() == [NotOpened(PEER_CLOSED, "bye")]


@pytest.mark.parametrize("reason", ["completed", "unauthorized", "error"])
def test_disconnect_on_somebodys_wish(reason: Any) -> None:
    life = Life().admitted()
    life.sent()
    life.events()
    assert life.session.disconnect(reason, "", life.now_ns) is Sending.SENT
    assert [message["parameters"] for message in life.sent()] == [{"reason": reason}]
    assert life.events() == [Ended("disconnected", None, reason)]
    assert life.session.disconnect(reason, "again", life.now_ns) is Sending.NOT_OPEN
    life.say("close", {"reason": "disconnect"})
    assert life.sent_types() == ["closed"]
    assert life.events() == []


# Clocks


def test_open_within_ten_seconds() -> None:
    life = Life()
    life.advance(10 * NS_PER_S - 1).say("ping")
    assert life.commands() == []
    life.advance(1)
    assert life.sent_types() == ["disconnect"]
    assert life.events()[-1] == NotOpened("open_timeout", "no open in time")


SIGNS: dict[str, Callable[[Life], object]] = {
    "ping": lambda life: life.say("ping"),
    "audio": lambda life: life.audio(b"\xff\xff"),
    "empty audio": lambda life: life.audio(b""),
}


@pytest.mark.parametrize("sign", SIGNS)
def test_idle_is_thirty_seconds_without_a_sign(sign: str) -> None:
    life = Life().admitted()
    for _ in range(3):
        life.advance(30 * NS_PER_S - 1)
        SIGNS[sign](life)
    assert life.session.state is State.ACTIVE
    life.commands()
    life.advance(30 * NS_PER_S)
    assert life.sent_types() == ["disconnect"]
    assert life.events()[-1] == Ended("idle_timeout", None, "neither ping nor audio")


def test_a_websocket_ping_is_no_sign() -> None:
    life = Life().admitted()
    life.advance(29 * NS_PER_S).session.receive_control(life.now_ns)
    life.advance(NS_PER_S)
    assert life.session.state is State.SIGNALED


def test_a_pause_may_be_long() -> None:
    life = Life().admitted().say("paused")
    life.advance(3599 * NS_PER_S)
    assert life.session.state is State.PAUSED
    life.say("resumed", {"start": "PT0S", "discarded": "PT3599S"})
    assert life.session.state is State.ACTIVE
    life.say("paused").advance(3600 * NS_PER_S)
    assert life.session.state is State.SIGNALED, "but nothing is kept for ever"


def test_the_idle_clock_of_a_probe() -> None:
    life = Life().open(**PROBE)
    life.commands()
    life.advance(30 * NS_PER_S)
    assert life.sent_types() == ["disconnect"]
    assert life.events() == [Probed()]
