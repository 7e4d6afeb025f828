"""Pause, resume and events: what a session says without being asked, and the peer's rate limits."""

import json

from audiohook.session.audiohook2_rates import MAX_QUEUED_EVENTS, Sending
from audiohook.session.audiohook2_table import State
from audiohook.units import NS_PER_MS, NS_PER_S
from tests.support.audiohook2 import (
    CONVERSATION,
    Life,
    counts,
)

BARGE_IN = {"type": "barge_in", "data": {}}


# Said without being asked


def test_pause_and_resume() -> None:
    life = Life().admitted()
    assert life.session.pause(life.now_ns) is Sending.SENT
    assert life.session.resume(life.now_ns) is Sending.SENT
    assert life.sent_types() == ["opened", "pause", "resume"]
    assert life.session.state is State.ACTIVE, "until the peer has said so"


def test_pauses_beyond_the_rate_wait_and_the_last_wish_counts() -> None:
    life = Life().admitted()
    life.commands()
    answers = [life.session.pause(life.now_ns) for _ in range(6)]
    assert answers == [Sending.SENT] * 4 + [Sending.QUEUED] * 2
    assert len(life.commands()) == 4
    life.session.resume(life.now_ns)
    assert life.sent_types() == ["resume"]
    life.advance(NS_PER_S)
    assert life.commands() == []


def test_events_are_one_entity_each_and_keep_the_rate() -> None:
    life = Life().admitted()
    life.sent()
    assert life.session.send_event([BARGE_IN] * 3, life.now_ns) is Sending.SENT
    said = life.sent()
    assert [message["parameters"] for message in said] == [{"entities": [BARGE_IN]}] * 3
    assert [message["seq"] for message in said] == [2, 3, 4]
    assert life.session.send_event([BARGE_IN] * 40, life.now_ns) is Sending.QUEUED
    assert len(life.sent()) == 25 - 1 - 3, "opened has taken one"
    life.advance(200 * NS_PER_MS)
    assert life.sent_types() == ["event"]
    life.advance(20 * NS_PER_S)
    assert len(life.sent()) == 40 - 21 - 1


def test_answers_do_not_wait_behind_events() -> None:
    life = Life().admitted()
    life.session.send_event([BARGE_IN] * 60, life.now_ns)
    life.commands()
    life.say("ping").say("update", {"language": "en"})
    assert life.sent_types() == ["pong", "updated"]
    life.say("close", {"reason": "end"})
    assert life.sent_types() == ["closed"]
    assert counts(life.events())["events_unsent"] == 60 - 24


def test_a_full_queue_says_so_and_takes_nothing() -> None:
    life = Life().admitted()
    life.session.send_event([BARGE_IN] * 24, life.now_ns)
    assert life.session.send_event([BARGE_IN] * MAX_QUEUED_EVENTS, life.now_ns) is Sending.QUEUED
    assert life.session.send_event([BARGE_IN], life.now_ns) is Sending.FULL
    life.advance(200 * NS_PER_MS)
    assert life.session.send_event([BARGE_IN] * 2, life.now_ns) is Sending.FULL
    assert life.session.send_event([BARGE_IN], life.now_ns) is Sending.QUEUED


def test_what_is_no_entity_is_not_sent() -> None:
    life = Life().admitted()
    life.sent()
    assert life.session.send_event([{"type": "barge_in", "data": {"x": 1}}], life.now_ns) is Sending.INVALID
    assert life.session.send_event([], life.now_ns) is Sending.INVALID
    assert life.commands() == []


def test_a_429_holds_what_is_not_asked_for() -> None:
    life = Life().admitted().say("error", {"code": 429, "message": "", "retryAfter": "PT3S"})
    life.sent()
    assert life.session.send_event([BARGE_IN], life.now_ns) is Sending.QUEUED
    assert life.session.pause(life.now_ns) is Sending.QUEUED
    life.say("ping")
    assert life.sent_types() == ["pong"]
    life.advance(3 * NS_PER_S - 1)
    assert life.commands() == []
    life.advance(NS_PER_S)
    assert life.sent_types() == ["pause", "event"]


def test_nothing_is_sent_beyond_the_peers_limit() -> None:
    life = Life().admitted()
    life.commands()
    text = {"type": "transcript", "data": {"id": CONVERSATION, "channelId": 1, "isFinal": True, "alternatives": []}}
    big = {"confidence": 1, "interpretations": [{"type": "display", "transcript": "ü" * 29_800}]}
    assert (
        life.session.send_event([{**text, "data": {**text["data"], "alternatives": [big]}}], life.now_ns)
        is Sending.SENT
    )  # type: ignore[dict-item]
    (said,) = life.sent()
    assert 59_000 < len(json.dumps(said, ensure_ascii=False).encode()) < 64_000
