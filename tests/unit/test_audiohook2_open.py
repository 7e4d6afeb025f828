"""Who connects, what `open` says and what is answered; and the probe. Sessions driven by hand-written messages."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from audiohook.errors import (
    NO_SLOT,
    Refusal,
)
from audiohook.session.audiohook2_table import State
from audiohook.session.audiohook2_terms import Greeting, greet
from audiohook.session.events import (
    AdmissionAsked,
    GapArrived,
    Identity,
    Media,
    NotOpened,
    Probed,
)
from audiohook.wire.request import Request
from tests.support.audiohook2 import (
    CONVERSATION,
    CORRELATION,
    MONO,
    ORGANIZATION,
    PARTICIPANT,
    PROBE,
    SESSION,
    STEREO,
    Life,
    counts,
    open_parameters,
)

HEADERS = (
    ("audiohook-organization-id", ORGANIZATION),
    ("audiohook-session-id", SESSION),
    ("audiohook-correlation-id", CORRELATION),
)
L16_MONO = {**MONO, "format": "L16"}


# Who connects


def request(*headers: tuple[str, str]) -> Request:
    return Request("GET", "/", headers)


def test_who_connects() -> None:
    assert greet(request(*HEADERS)) == Greeting(SESSION, ORGANIZATION, CORRELATION)


@pytest.mark.parametrize("name", ["audiohook-organization-id", "audiohook-session-id"])
@pytest.mark.parametrize(
    "values", [[], [""], ["x"], [SESSION, SESSION], [SESSION + "0"], ["{" + SESSION + "}"]], ids=str
)
def test_a_header_that_is_missing_or_no_uuid_is_named_and_400(name: str, values: list[str]) -> None:
    others = [header for header in HEADERS if header[0] != name]
    refusal = greet(request(*others, *((name, value) for value in values)))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, name in refusal.text) == (400, True)
    assert refusal.slug == ("header_malformed" if any(values) else "header_missing")
    assert SESSION not in refusal.text


@pytest.mark.parametrize("values", [[], ["what"], [CORRELATION, CORRELATION]])
def test_a_correlation_id_costs_no_call(values: list[str]) -> None:
    greeting = greet(request(*HEADERS[:2], *(("audiohook-correlation-id", value) for value in values)))
    assert greeting == Greeting(SESSION, ORGANIZATION, "")


# Open


def test_open_asks_for_a_stream_and_is_answered_at_once() -> None:
    life = Life().open()
    assert life.events() == [
        AdmissionAsked(
            Identity(
                dialect="audiohook2",
                call_id=CONVERSATION,
                session_id=SESSION,
                participant_id=PARTICIPANT,
                organization_id=ORGANIZATION,
                ani="tel:+15551234567",
                dnis="+1-555-9",
                correlation_id=CORRELATION,
            ),
            Media("pcmu", 8000, ("external", "internal"), "message"),
        )
    ]
    assert life.commands() == []
    life.session.admit(life.now_ns)
    assert life.sent() == [
        {
            "version": "2",
            "type": "opened",
            "id": SESSION,
            "seq": 1,
            "clientseq": 1,
            "parameters": {"media": [STEREO]},
        }
    ]
    assert life.events() == []


def test_capitals_are_stored_small_and_compared_alike() -> None:
    life = Life().say(
        "open",
        open_parameters(organizationId=ORGANIZATION.upper(), conversationId=CONVERSATION.upper()),
        id=SESSION.upper(),
    )
    (asked,) = life.events()
    assert isinstance(asked, AdmissionAsked)
    assert (asked.identity.call_id, asked.identity.organization_id) == (CONVERSATION, ORGANIZATION)


def test_names_and_numbers_are_cut_to_what_a_card_holds() -> None:
    life = Life().open(
        participant={"id": PARTICIPANT, "ani": "tel:\x00\n" + "5" * 500, "aniName": "x" * 60_000, "dnis": 5}
    )
    asked, *counted = life.events()[::-1]
    assert isinstance(asked, AdmissionAsked)
    assert (len(asked.identity.ani), asked.identity.ani[:6], asked.identity.dnis) == (126, "tel:55", "")
    assert counts(counted) == {"ignored_fields": 1}


@pytest.mark.parametrize(
    ("terms", "asked", "answered"),
    [
        ({}, {}, {"media": [STEREO]}),
        ({"start_paused": True}, {}, {"media": [STEREO], "startPaused": True}),
        ({"supported_languages": ("en-US",)}, {}, {"media": [STEREO]}),
        (
            {"supported_languages": ("en-US", "de-DE")},
            {"supportedLanguages": True},
            {"media": [STEREO], "supportedLanguages": ["en-US", "de-DE"]},
        ),
        ({}, {"supportedLanguages": True}, {"media": [STEREO], "supportedLanguages": []}),
        ({}, {"supportedLanguages": False}, {"media": [STEREO]}),
        ({"channels": ("external",)}, {}, {"media": [MONO]}),
        ({"formats": ("L16",)}, {"media": [STEREO, L16_MONO]}, {"media": [L16_MONO]}),
        ({}, {"media": []}, {"media": []}),
        ({}, {"media": [{"type": "audio", "format": "opus", "channels": ["external"], "rate": 48000}]}, {"media": []}),
        ({}, {"media": [{**STEREO, "rate": 16000}, MONO, 5]}, {"media": [MONO]}),
    ],
)
def test_what_opened_says(terms: dict[str, Any], asked: dict[str, Any], answered: dict[str, Any]) -> None:
    life = Life(**terms).admitted(**asked)
    assert [message["parameters"] for message in life.sent()] == [answered]


def test_a_session_without_media_is_valid() -> None:
    life = Life().open(media=[])
    (asked,) = life.events()
    assert isinstance(asked, AdmissionAsked)
    assert asked.media == Media("none", 8000, ("none",), "message")
    life.session.admit(life.now_ns)
    life.say("ping").say("discarded", {"start": "PT0S", "discarded": "PT1S"})
    assert life.sent_types() == ["opened", "pong"]
    assert life.events() == [GapArrived(8000, "discarded")]
    life.audio(b"\xff")
    assert life.session.state is State.SIGNALED


def test_refused() -> None:
    life = Life().open()
    life.session.refuse(NO_SLOT, life.now_ns)
    (said,) = life.sent()
    assert (said["type"], said["seq"]) == ("disconnect", 1)
    assert said["parameters"] == {"reason": "error", "info": NO_SLOT.text}
    assert life.events()[1:] == [NotOpened(NO_SLOT.slug, NO_SLOT.text)]
    life.say("ping").say("close", {"reason": "disconnect"})
    (said,) = life.sent()
    assert (said["type"], said["seq"], said["clientseq"]) == ("closed", 2, 3)
    assert counts(life.events()) == {"early_pings": 1}


def test_another_organization_is_unauthorized() -> None:
    life = Life().open(organizationId=CONVERSATION)
    (said,) = life.sent()
    assert said["type"] == "disconnect"
    assert said["parameters"]["reason"] == "unauthorized"
    assert CONVERSATION not in json.dumps(said["parameters"])
    (event,) = life.events()
    assert isinstance(event, NotOpened)
    assert event.reason == "foreign_organization"
    assert life.session.state is State.REJECTED


def test_the_probe_is_answered_and_is_no_call() -> None:
    life = Life().open(**PROBE)
    assert life.events() == [Probed()]
    assert [message["parameters"] for message in life.sent()] == [{"media": [STEREO]}]
    assert not life.session.streaming
    life.say("ping").audio(b"\xff\xff").say("close", {"reason": "end"})
    assert life.sent_types() == ["pong", "closed"]
    assert counts(life.events()) == {"stray_audio": 1}
    life.session.receive_close(None, "", life.now_ns)
    assert (life.session.over, life.events()) == (True, [])


@pytest.mark.parametrize(
    "parameters", [{"conversationId": PROBE["conversationId"]}, {"participant": PROBE["participant"]}]
)
def test_half_a_probe_is_a_call(parameters: dict[str, Any]) -> None:
    assert isinstance(Life().open(**parameters).events()[-1], AdmissionAsked)


def test_a_ping_before_open_is_counted_and_not_answered() -> None:
    life = Life().say("ping").say("dtmf").say("reconnecting").admitted()
    assert [(message["type"], message["seq"], message["clientseq"]) for message in life.sent()] == [("opened", 1, 4)]
    assert counts(life.events()) == {"early_pings": 1, "dtmf": 1, "unknown_messages": 1}


BEHIND_OPEN: list[Callable[[Life], object]] = [
    lambda life: life.say("ping"),
    lambda life: life.audio(b"\xff\xff" * 160),
    lambda life: life.say("discarded", {"start": "PT0.02S", "discarded": "PT1S"}),
    lambda life: life.audio(b"\x7f\x7f"),
    lambda life: life.say("close", {"reason": "end"}),
    lambda life: life.session.receive_close(None, "", life.now_ns),
]


@pytest.mark.parametrize("refusal", [None, NO_SLOT])
@pytest.mark.parametrize("held", range(len(BEHIND_OPEN) + 1))
def test_how_much_arrived_with_open_changes_nothing(held: int, refusal: Refusal | None) -> None:
    def outcome(held: int) -> tuple[object, ...]:
        life = Life().open()
        for number, step in enumerate(BEHIND_OPEN):
            if number == held:
                answer(life)
            step(life)
        if held == len(BEHIND_OPEN):
            answer(life)
        return life.session.state, life.events(), life.commands()

    def answer(life: Life) -> None:
        assert life.commands() == []
        if refusal is None:
            life.session.admit(life.now_ns)
        else:
            life.session.refuse(refusal, life.now_ns)

    assert outcome(held) == outcome(0)
