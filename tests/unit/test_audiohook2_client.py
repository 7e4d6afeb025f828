"""The client half: what it says when, what it holds against a server, and whole conversations with our session."""

import json
from typing import Any

import pytest

from audiohook.errors import NO_SLOT, SHUTDOWN
from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_client import (
    USUAL_OFFERS,
    AudioHook2Client,
    offer,
    probe,
    upgrade_headers,
)
from audiohook.session.audiohook2_rates import Sending
from audiohook.session.audiohook2_table import State
from audiohook.session.audiohook2_terms import AudioHook2Terms, Greeting, greet
from audiohook.session.events import Continues, Ended, GapArrived, Noticed, NotOpened, Probed
from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.wire.request import Request
from tests.support.audiohook2 import (
    CALLER,
    CORRELATION,
    ORGANIZATION,
    SESSION,
    START_NS,
    STEREO,
    Talk,
    counts,
    frames_of,
    open_parameters,
)


def said(client: AudioHook2Client) -> list[dict[str, Any]]:
    texts, client.texts = client.texts, []
    return [json.loads(text) for text in texts]


def answer(client: AudioHook2Client, kind: str, parameters: Any = None, **changed: Any) -> AudioHook2Client:
    """Let the server say something at START_NS, numbered rightly unless changed."""
    message = {
        "version": "2",
        "type": kind,
        "id": SESSION,
        "seq": len(client.received) + 1,
        "clientseq": client.seq,
        "parameters": {} if parameters is None else parameters,
        **changed,
    }
    client.receive_text(json.dumps(message), START_NS)
    return client


def opened() -> AudioHook2Client:
    client = answer(AudioHook2Client(CALLER, START_NS), "opened", {"media": [STEREO]})
    client.texts.clear()
    assert client.faults == []
    return client


# What it says


def test_the_headers_of_an_upgrade_are_understood_by_the_server() -> None:
    headers = upgrade_headers(CALLER, "a2V5")
    assert greet(Request("GET", "/", headers)) == Greeting(SESSION, ORGANIZATION, CORRELATION)
    assert dict(headers)["x-api-key"] == "a2V5"


def test_open_is_the_first_message_and_says_who_calls() -> None:
    (message,) = said(AudioHook2Client(CALLER, START_NS))
    parameters = open_parameters()
    parameters["participant"] |= {"aniName": ""}
    parameters["media"] = [
        {"type": "audio", "format": "PCMU", "channels": channels, "rate": 8000}
        for channels in (["external", "internal"], ["external"], ["internal"])
    ]
    assert (message["seq"], message["serverseq"], message["position"]) == (1, 0, "PT0S")
    assert message["parameters"] == parameters


def test_pings_come_as_the_reference_client_sends_them() -> None:
    talk = Talk()
    times_ms = []
    for _ in range(12_000 // 50):
        before = talk.client.seq
        talk.advance(50 * NS_PER_MS)
        times_ms += [(talk.now_ns - START_NS) // NS_PER_MS] * (talk.client.seq - before)
    assert times_ms == [1000, 1000, 6000, 11_000]
    assert talk.client.faults == []


def test_an_answer_that_does_not_come_is_a_fault_once() -> None:
    client = AudioHook2Client(CALLER, START_NS)
    assert client.deadline_ns == START_NS + 5 * NS_PER_S
    client.on_deadline(client.deadline_ns)
    client.on_deadline(START_NS + 60 * NS_PER_S)
    assert client.faults == ["no answer to open in time"]
    client = opened()
    client.on_deadline(START_NS + NS_PER_S)
    client.on_deadline(START_NS + 6 * NS_PER_S)
    client.close("error", START_NS + 6 * NS_PER_S)
    client.on_deadline(START_NS + 16 * NS_PER_S)
    assert client.faults == ["no answer to ping in time", "no answer to close in time"]


# What it holds against a server


def test_what_is_not_a_server_message() -> None:
    client = opened()
    client.receive_text("{", START_NS)
    answer(client, "pong", {"news": 1})
    answer(client, "reopened")
    assert [fault.partition(":")[0] for fault in client.faults] == ["not a server message"] * 3


@pytest.mark.parametrize(
    ("kind", "parameters", "changed", "fault"),
    [
        ("pause", {}, {"seq": 3}, "seq out of turn"),
        ("pause", {}, {"id": ORGANIZATION}, "another session's id"),
        ("pause", {}, {"clientseq": 9}, "clientseq of the future"),
        ("opened", {"media": []}, {}, "opened out of turn"),
        ("pong", {}, {}, "pong that answers no ping"),
        ("closed", {}, {}, "closed that answers no close"),
    ],
)
def test_what_is_wrong_after_opened(kind: str, parameters: Any, changed: dict[str, Any], fault: str) -> None:
    assert answer(opened(), kind, parameters, **changed).faults == [fault]


@pytest.mark.parametrize(
    ("kind", "parameters", "fault"),
    [
        ("pong", {}, "Pong before opened"),
        ("event", {"entities": [{"type": "barge_in", "data": {}}]}, "Event before opened"),
        ("pause", {}, "Pause before opened"),
        ("opened", {"media": [{**STEREO, "channels": ["internal", "external"]}]}, "media that were not offered"),
    ],
)
def test_what_is_wrong_before_opened(kind: str, parameters: Any, fault: str) -> None:
    assert answer(AudioHook2Client(CALLER, START_NS), kind, parameters).faults == [fault]


def test_what_is_wrong_after_close() -> None:
    client = opened()
    client.close("end", START_NS)
    answer(client, "pause", clientseq=1)
    assert client.faults == [], "it was on its way"
    answer(client, "disconnect", {"reason": "completed"})
    answer(client, "pause")
    answer(client, "closed", clientseq=1)
    answer(client, "closed")
    assert client.faults == [
        "disconnect after close",
        "Pause after close",
        "closed that answers no close",
        "Closed after closed",
    ]


def test_audio_and_size() -> None:
    client = opened()
    client.receive_audio(b"\xff")
    answer(client, "disconnect", {"reason": "error", "info": "x" * 64_000})
    assert client.faults == ["audio for a client that only listens", "message too large"]


# Whole conversations


def test_a_call_from_open_to_closed() -> None:
    talk = Talk()
    for _ in range(50):
        talk.audio(bytes(1600)).advance(100 * NS_PER_MS)
    talk.client.close("end", talk.now_ns)
    talk.settle()
    assert (talk.client.faults, talk.client.finished, talk.session.state) == ([], True, State.CLOSED)
    assert counts(talk.events) == {}
    assert frames_of(talk.events, 2) == talk.session.media_time.end == talk.client.position_frames == 40_000


def test_both_pauses() -> None:
    talk = Talk()
    talk.audio(bytes(1600))
    talk.session.pause(talk.now_ns)
    talk.settle().advance(NS_PER_S)
    assert not talk.client.wants_audio
    talk.client.pause(talk.now_ns)
    talk.session.resume(talk.now_ns)
    talk.settle()
    assert (talk.client.wants_audio, talk.session.state) == (False, State.PAUSED), "the client's own goes on"
    talk.advance(NS_PER_S).client.resume(talk.now_ns)
    talk.audio(bytes(1600))
    assert talk.client.wants_audio
    assert [event for event in talk.events if isinstance(event, GapArrived | Noticed)] == [
        Noticed("paused"),
        GapArrived(16_000, "paused"),
        Noticed("resumed"),
    ]
    assert frames_of(talk.events, 2) == talk.client.position_frames == 1600 + 16_000
    assert talk.client.faults == []


def test_start_paused() -> None:
    talk = Talk(AudioHook2Terms(start_paused=True))
    assert (talk.session.state, talk.client.wants_audio) == (State.PAUSED, False)
    talk.advance(4 * NS_PER_S).session.resume(talk.now_ns)
    talk.audio(bytes(1600))
    assert frames_of(talk.events, 2) == 32_800
    assert (talk.client.faults, counts(talk.events)) == ([], {})


def test_a_pause_of_an_hour_with_pings_keeps_the_session() -> None:
    talk = Talk()
    talk.session.pause(talk.now_ns)
    talk.settle().advance(3700 * NS_PER_S)
    assert talk.session.state is State.PAUSED
    assert talk.client.faults == []


def test_our_disconnect() -> None:
    talk = Talk()
    assert talk.session.disconnect("completed", "done", talk.now_ns) is Sending.SENT
    talk.settle()
    assert (talk.client.finished, talk.session.state, talk.client.faults) == (True, State.CLOSED, [])
    assert [event for event in talk.events if isinstance(event, Ended)] == [Ended("disconnected", None, "completed")]


@pytest.mark.parametrize("kind", [wire.Paused, wire.Ping])
def test_a_wrong_number_ends_in_order(kind: type[wire.ClientMessage]) -> None:
    talk = Talk()
    talk.client.seq += 1
    talk.client.say(kind, wire.PingParameters() if kind is wire.Ping else wire.NOTHING)
    talk.settle()
    assert (talk.client.finished, talk.session.state) == (True, State.CLOSED)
    assert talk.client.faults == []


def test_a_refusal() -> None:
    talk = Talk(admission=NO_SLOT)
    assert (talk.client.opened, talk.client.finished, talk.client.faults) == (False, True, [])
    assert NotOpened(NO_SLOT.slug, NO_SLOT.text) in talk.events


def test_a_probe() -> None:
    talk = Talk(caller=probe(SESSION, ORGANIZATION, CORRELATION))
    talk.client.close("end", talk.now_ns)
    talk.settle()
    assert (talk.client.finished, talk.client.faults, talk.events) == (True, [], [Probed()])


def test_a_continued_session() -> None:
    old = wire.ContinuedSession("11111111-2222-4333-8444-555555555555", 5, 5)
    talk = Talk(admission=800_000, continued=[old], first_frames=680_000)
    talk.audio(bytes(1600))
    assert talk.client.position_frames == 800_800, "it left out what it was asked to"
    assert Continues((old.id,), 680_000) in talk.events
    assert frames_of(talk.events, 2) == 800
    assert (talk.client.faults, counts(talk.events)) == ([], {})


def test_the_rest_of_what_a_client_says() -> None:
    talk = Talk(lists_languages=True)
    talk.client.update("de-DE")
    talk.client.dtmf("5")
    talk.client.error(429, "too much")
    talk.client.discard(800)
    talk.client.say(wire.PlaybackStarted)
    talk.settle()
    assert counts(talk.events) == {"updates": 1, "dtmf": 1, "playback": 1}
    assert GapArrived(800, "discarded") in talk.events
    assert talk.client.faults == []


def test_one_channel_and_l16() -> None:
    talk = Talk(offers=[offer("internal", media_format="L16")])
    assert talk.client.media == offer("internal", media_format="L16")
    assert USUAL_OFFERS[1] == offer("external")


def test_shutdown() -> None:
    talk = Talk()
    talk.session.close(SHUTDOWN, talk.now_ns)
    talk.settle()
    assert (talk.client.finished, talk.client.faults) == (True, [])
