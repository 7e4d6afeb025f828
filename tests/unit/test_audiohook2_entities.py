"""What may be sent back to Genesys: every documented entity, and nothing beside."""

import json
from typing import Any

import msgspec
import pytest

from audiohook.session.audiohook2_entities import MAX_ENTITY_BYTES, entities_of

ID = "8d6a2f1c-9b1e-4c6b-9f64-0a3f5f7b2d11"

TRANSCRIPT: dict[str, Any] = {
    "type": "transcript",
    "data": {
        "id": ID,
        "channelId": 0,
        "isFinal": True,
        "offset": "PT1.5S",
        "duration": "PT0.5S",
        "alternatives": [
            {
                "confidence": 0.9,
                "languages": ["en-US"],
                "interpretations": [
                    {
                        "type": "display",
                        "transcript": "hello",
                        "tokens": [
                            {
                                "type": "word",
                                "value": "hello",
                                "confidence": 1,
                                "offset": "PT1.5S",
                                "duration": "PT.5S",
                                "language": "en-US",
                            }
                        ],
                    }
                ],
            }
        ],
    },
}
UTTERANCE = {
    "id": ID,
    "position": "PT0S",
    "duration": "PT1S",
    "text": "hello",
    "language": "en-US",
    "confidence": 0.5,
    "channel": "external",
    "isFinal": False,
}
FAQ = {"type": "faq", "id": ID, "confidence": 0, "question": "why?", "answer": "<b>so</b>", "position": "PT1S"}
ARTICLE = {
    "type": "article",
    "id": ID,
    "confidence": 1.0,
    "title": "All of it",
    "excerpts": ["some"],
    "documentUri": "https://kb.example/1",
    "metadata": {"a": "b"},
}
ALL: list[dict[str, Any]] = [
    TRANSCRIPT,
    {"type": "agentassist", "data": {"id": ID, "utterances": [UTTERANCE], "suggestions": [FAQ, ARTICLE]}},
    {"type": "agentassist", "data": {"id": ID}},
    {"type": "barge_in", "data": {}},
    {"type": "bot_turn_response", "data": {"disposition": "match", "text": "yes", "confidence": 0.5}},
    {"type": "bot_turn_response", "data": {"disposition": "no_input"}},
    {"type": "speech_started", "data": {}},
]


@pytest.mark.parametrize("value", ALL, ids=lambda value: value["type"])
def test_a_documented_entity_is_sent_as_it_is(value: dict[str, Any]) -> None:
    entities = entities_of([value])
    assert entities is not None
    assert [json.loads(msgspec.json.encode(entity)) for entity in entities] == [value]


def test_several_keep_their_order() -> None:
    entities = entities_of(ALL)
    assert entities is not None
    assert [json.loads(msgspec.json.encode(entity)) for entity in entities] == ALL


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the transcript with one place changed; `path` is its keys with dots between, `value` None removes it."""
    copy: dict[str, Any] = json.loads(json.dumps(TRANSCRIPT))
    place: Any = copy
    *steps, last = path.split(".")
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return copy


WORD = "data.alternatives.0.interpretations.0.tokens.0"
WRONG = [
    *(changed(path, None) for path in ("type", "data", "data.id", "data.channelId", "data.isFinal", f"{WORD}.value")),
    *(changed(path, "news") for path in ("news", "data.news", "data.channel", f"{WORD}.news", "data.codec")),
    *(changed("data.id", value) for value in ("", "x", "0190163d-8694-739b-aea5-966c26f8ad91", 5)),
    *(changed("data.channelId", value) for value in (2, -1, "0", True)),
    *(changed("data.offset", value) for value in ("", "PT1M", "1", 1, "PT1.S", "PT1S\n")),
    *(changed("data.alternatives.0.confidence", value) for value in (-0.1, 1.1, "1", float("nan"), float("inf"))),
    *(changed("data.alternatives.0.languages", value) for value in (["es-419"], ["EN-US"], "en-US")),
    *(changed("data.alternatives", value) for value in ({}, "x")),
    *(changed("type", value) for value in ("transcripts", "mutation", "", 5)),
    *({"type": "barge_in", "data": data} for data in (None, {"x": 1}, [])),
    {"type": "bot_turn_response", "data": {"disposition": "maybe"}},
    *(None, 5, "x", [], {}),
]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: json.dumps(value)[:80])
def test_anything_else_is_not_sent(value: Any) -> None:
    assert entities_of([value]) is None
    assert entities_of([ALL[0], value, ALL[1]]) is None, "nor what stands beside it"


def test_no_entity_is_no_event() -> None:
    assert entities_of([]) is None


def test_what_would_not_fit_a_message_is_not_sent() -> None:
    path = "data.alternatives.0.interpretations.0.transcript"
    empty = entities_of([changed(path, "")])
    assert empty is not None
    room = MAX_ENTITY_BYTES - len(msgspec.json.encode(empty[0]))
    assert entities_of([changed(path, "x" * room)]) is not None
    assert entities_of([changed(path, "x" * (room + 1))]) is None
    assert entities_of([changed(path, "ä" * (room // 2 + 1))]) is None, "in bytes"


def test_nesting_without_end_is_not_sent() -> None:
    value: dict[str, Any] = {}
    value["data"] = value
    value["type"] = "transcript"
    assert entities_of([value]) is None
