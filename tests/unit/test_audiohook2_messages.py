"""Every message of the protocol, both ways: its fields on the wire, and that they come back."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_entities import BargeIn, NoData
from audiohook.session.audiohook2_reading import read_message
from tests.support.audiohook2 import CONVERSATION, MONO, ORGANIZATION, PARTICIPANT, SESSION, STEREO

OFFER = wire.as_raw(STEREO)

CLIENT: list[tuple[type[wire.ClientMessage], Any, dict[str, Any]]] = [
    (
        wire.Open,
        wire.OpenParameters(
            organization_id=ORGANIZATION,
            conversation_id=CONVERSATION,
            participant=wire.Participant(PARTICIPANT, "tel:+1", "J. Doe", ""),
            media=(OFFER, wire.as_raw(MONO)),
            language="en-US",
            supported_languages=True,
            continued_sessions=(wire.as_raw(wire.ContinuedSession(SESSION, 3, 4)),),
            custom_config=wire.as_raw({"any": [1]}),
            input_variables=wire.as_raw({"a": "b"}),
        ),
        {
            "organizationId": ORGANIZATION,
            "conversationId": CONVERSATION,
            "participant": {"id": PARTICIPANT, "ani": "tel:+1", "aniName": "J. Doe", "dnis": ""},
            "media": [STEREO, MONO],
            "language": "en-US",
            "supportedLanguages": True,
            "continuedSessions": [{"id": SESSION, "serverseq": 3, "clientseq": 4}],
            "customConfig": {"any": [1]},
            "inputVariables": {"a": "b"},
        },
    ),
    (
        wire.Open,
        wire.OpenParameters(ORGANIZATION, CONVERSATION, wire.Participant(PARTICIPANT), ()),
        {
            "organizationId": ORGANIZATION,
            "conversationId": CONVERSATION,
            "participant": {"id": PARTICIPANT, "ani": "", "aniName": "", "dnis": ""},
            "media": [],
        },
    ),
    (wire.Ping, wire.PingParameters(), {}),
    (wire.Ping, wire.PingParameters("PT0.05S"), {"rtt": "PT0.05S"}),
    (wire.Update, wire.UpdateParameters("de-DE"), {"language": "de-DE"}),
    (wire.Paused, wire.NOTHING, {}),
    (wire.Resumed, wire.SpanParameters("PT1S", "PT2S"), {"start": "PT1S", "discarded": "PT2S"}),
    (wire.Discarded, wire.SpanParameters("PT1S", "PT2S"), {"start": "PT1S", "discarded": "PT2S"}),
    (wire.Error, wire.ErrorParameters(409, "no"), {"code": 409, "message": "no"}),
    (
        wire.Error,
        wire.ErrorParameters(429, "slow down", "PT5S"),
        {"code": 429, "message": "slow down", "retryAfter": "PT5S"},
    ),
    (wire.Close, wire.CloseParameters("end"), {"reason": "end"}),
    (wire.Dtmf, wire.DtmfParameters("#"), {"digit": "#"}),
    (wire.PlaybackStarted, wire.NOTHING, {}),
    (wire.PlaybackCompleted, wire.NOTHING, {}),
]

SERVER: list[tuple[type[wire.ServerMessage], Any, dict[str, Any]]] = [
    (wire.Opened, wire.OpenedParameters(media=()), {"media": []}),
    (
        wire.Opened,
        wire.OpenedParameters((OFFER,), True, "PT1.5S", ("en-US",)),
        {"media": [STEREO], "startPaused": True, "discardTo": "PT1.5S", "supportedLanguages": ["en-US"]},
    ),
    (wire.Opened, wire.OpenedParameters((), supported_languages=()), {"media": [], "supportedLanguages": []}),
    (wire.Pong, wire.NOTHING, {}),
    (wire.Updated, wire.NOTHING, {}),
    (wire.Event, wire.EventParameters((BargeIn(NoData()),)), {"entities": [{"type": "barge_in", "data": {}}]}),
    (wire.Pause, wire.NOTHING, {}),
    (wire.Resume, wire.NOTHING, {}),
    (wire.Reconnect, wire.ReconnectParameters("because"), {"info": "because"}),
    (wire.Disconnect, wire.DisconnectParameters("completed"), {"reason": "completed"}),
    (
        wire.Disconnect,
        wire.DisconnectParameters("error", "why", {"a": "b"}),
        {"reason": "error", "info": "why", "outputVariables": {"a": "b"}},
    ),
    (wire.Closed, wire.NOTHING, {}),
]


@pytest.mark.parametrize(("kind", "parameters", "expected"), CLIENT)
def test_what_a_client_says(kind: type[wire.ClientMessage], parameters: Any, expected: dict[str, Any]) -> None:
    message = wire.client_message(kind, SESSION, 3, 2, "PT1S", parameters)
    text = wire.encode(message)
    assert json.loads(text) == {
        "type": kind.__struct_config__.tag,
        "version": "2",
        "id": SESSION,
        "seq": 3,
        "serverseq": 2,
        "position": "PT1S",
        "parameters": expected,
    }
    reading = read_message(text)
    assert (reading.fault, reading.unknown_fields, reading.ignored_fields) == ("", 0, 0)
    assert reading.message is not None
    assert wire.encode(reading.message) == text


@pytest.mark.parametrize(("kind", "parameters", "expected"), SERVER)
def test_what_a_server_says(kind: type[wire.ServerMessage], parameters: Any, expected: dict[str, Any]) -> None:
    text = wire.encode(wire.server_message(kind, SESSION, 3, 2, parameters))
    assert json.loads(text) == {
        "type": kind.__struct_config__.tag,
        "version": "2",
        "id": SESSION,
        "seq": 3,
        "clientseq": 2,
        "parameters": expected,
    }
    again = wire.SERVER_MESSAGE.decode(text)
    assert (type(again), wire.encode(again)) == (kind, text)


def test_no_type_is_missing_here() -> None:
    assert {kind for kind, _, _ in CLIENT} == set(wire.CLIENT_MESSAGES.values())
    assert {kind for kind, _, _ in SERVER} == set(wire.ServerMessage.__subclasses__())
    assert sorted(wire.CLIENT_MESSAGES) == sorted(
        [
            *("open", "ping", "update", "paused", "resumed", "discarded", "error", "close", "dtmf"),
            *("playback_started", "playback_completed"),
        ]
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"news": 1},
        {"parameters": {"news": 1}},
        {"parameters": None},
        {"type": "reopened"},
        {"seq": 0},
        {"version": "3"},
        {"clientseq": None},
    ],
    ids=str,
)
def test_the_strict_reader_refuses(changed: dict[str, Any]) -> None:
    good = json.loads(wire.encode(wire.server_message(wire.Pong, SESSION, 1, 1, wire.NOTHING)))
    fields = {name: value for name, value in {**good, **changed}.items() if value is not None}
    with pytest.raises(msgspec.DecodeError):
        wire.SERVER_MESSAGE.decode(json.dumps(fields))


@pytest.mark.parametrize("kind", [entry for entry in SERVER if entry[0] in (wire.Opened, wire.Event)])
def test_lists_have_their_lengths(kind: tuple[type[wire.ServerMessage], Any, Any]) -> None:
    message = json.loads(wire.encode(wire.server_message(kind[0], SESSION, 1, 1, kind[1])))
    message["parameters"] = {"media": [STEREO, STEREO]} if kind[0] is wire.Opened else {"entities": []}
    with pytest.raises(msgspec.DecodeError):
        wire.SERVER_MESSAGE.decode(json.dumps(message))


def test_what_is_unset_is_not_there() -> None:
    assert "info" not in wire.encode(
        wire.server_message(wire.Disconnect, SESSION, 1, 0, wire.DisconnectParameters("error", UNSET))
    )
