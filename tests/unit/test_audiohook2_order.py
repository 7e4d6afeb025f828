"""Numbers, ids and violations: what is held against a peer, what is only counted, and what it is told."""

import json
from typing import Any

import pytest

from audiohook.session.audiohook2_table import State
from audiohook.session.events import (
    Counted,
    Ended,
    NotOpened,
    PeerError,
)
from tests.support.audiohook2 import (
    CONVERSATION,
    Life,
    counts,
)

# The order of things


@pytest.mark.parametrize(
    ("seq", "info"),
    [(1, "Invalid seq"), (3, "Invalid seq"), (2**53, "Invalid seq")],
)
def test_a_number_out_of_turn_is_a_violation_and_not_adopted(seq: int, info: str) -> None:
    life = Life().admitted()
    life.sent()
    life.say("ping", seq=seq)
    (said,) = life.sent()
    assert (said["type"], said["clientseq"], said["parameters"]["reason"]) == ("disconnect", 1, "error")
    assert info in said["parameters"]["info"]
    (event,) = life.events()[-1:]
    assert event == Ended("bad_message", None, said["parameters"]["info"])


@pytest.mark.parametrize(
    ("kind", "parameters", "envelope", "info"),
    [
        ("ping", {}, {"serverseq": 2}, "serverseq"),
        ("ping", {}, {"id": CONVERSATION}, "Session identifier mismatch"),
        ("resumed", {}, {}, "Invalid/missing parameters"),
        ("discarded", {"start": "PT99999999999S", "discarded": "PT0S"}, {}, "Invalid/missing parameters"),
    ],
)
def test_any_other_violation_is_adopted(
    kind: str, parameters: dict[str, Any], envelope: dict[str, Any], info: str
) -> None:
    life = Life().admitted()
    life.sent()
    life.say(kind, parameters, **envelope)
    (said,) = life.sent()
    assert (said["type"], said["clientseq"]) == ("disconnect", 2)
    assert info in said["parameters"]["info"]


def test_an_id_that_is_wrong_is_not_told_nor_is_a_number() -> None:
    life = Life().admitted().say("ping", id="+15551234567", seq=2)
    assert "555" not in json.dumps([message["parameters"] for message in life.sent()])


def test_serverseq_may_lag() -> None:
    life = Life().admitted()
    for serverseq in (0, 1, 0, 3):
        life.say("ping", serverseq=serverseq)
    assert life.sent_types() == ["opened", "pong", "pong", "pong", "pong"]


def test_a_pong_names_its_ping() -> None:
    life = Life().admitted().say("ping").say("paused").say("ping")
    assert [(message["type"], message["seq"], message["clientseq"]) for message in life.sent()] == [
        ("opened", 1, 1),
        ("pong", 2, 2),
        ("pong", 3, 4),
    ]


def test_after_a_violation_only_the_close_counts() -> None:
    life = Life().admitted()
    life.session.receive_text("no JSON", life.now_ns)
    life.say("ping", seq=9).say("ping", seq=3, id="x").audio(b"\xff\xff").say("paused", seq=1)
    life.session.receive_text("{", life.now_ns)
    assert life.sent_types() == ["opened", "disconnect", "pong", "pong"]
    life.say("close", {"reason": "disconnect"}, seq=40)
    (said,) = life.sent()
    assert (said["type"], said["seq"], said["clientseq"]) == ("closed", 5, 40)
    life.say("close", {"reason": "disconnect"}, seq=41).say("ping")
    assert life.commands() == [], "nothing after closed"
    ended = [event for event in life.events() if isinstance(event, Ended)]
    assert [event.reason for event in ended] == ["bad_message"], "once, and for the first reason"


def test_audio_before_opened_is_a_violation() -> None:
    life = Life().audio(b"\xff")
    (said,) = life.sent()
    assert (said["type"], said["parameters"]["info"]) == (
        "disconnect",
        "Client Error: Received audio in state PREPARING",
    )
    assert life.events() == [NotOpened("bad_message", "Client Error: Received audio in state PREPARING")]


def test_unknown_things_are_counted() -> None:
    life = Life().admitted()
    life.events()
    life.say("reconnecting", {"reason": "rebalance"}).say("ping", {"rtt": 5, "new": 1}, also="new").open()
    assert counts(life.events()) == {
        "unknown_messages": 1,
        "unknown_fields": 2,
        "ignored_fields": 1,
        "stray_messages": 1,
    }
    assert life.session.state is State.ACTIVE


def test_a_digit_is_counted_and_kept_nowhere() -> None:
    life = Life().admitted()
    life.events()
    life.say("dtmf", {"digit": "7"}).say("playback_started").say("playback_completed")
    assert life.events() == [Counted("dtmf"), Counted("playback"), Counted("playback")]


def test_update_is_answered() -> None:
    life = Life().admitted().say("update", {"language": "es-419"}).say("paused").say("update", {})
    assert life.sent_types() == ["opened", "updated", "updated"]


def test_an_error_of_the_peer_is_reported_without_its_text() -> None:
    life = Life().admitted()
    life.events()
    life.say("error", {"code": 415, "message": "call from +15551234567"})
    assert life.events() == [PeerError(415)]
    assert life.session.streaming
