"""What an `event` message of the `audiohook2` dialect can carry back to Genesys: its entities, strictly typed.

Programs hand in entities as plain values (what a JSON parser makes of them); `entities_of` turns them into structs or
refuses them all. Strict, because a peer answers what it does not understand with an error in the middle of a call: only
documented types and fields pass, and only the types that are known to be documented.

Sources: `transcript` and `agentassist` of Genesys' reference implementation; `barge_in` and `bot_turn_response` of its
AudioConnector sample; `speech_started` of the Bot Transcription Connector's.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Duration = Annotated[str, Meta(pattern=r"^PT(?:[0-9]*\.)?[0-9]+S\Z", max_length=64)]
Uuid = Annotated[
    str,
    Meta(
        pattern=r"^(?:0{8}-(?:0{4}-){3}0{12}"
        r"|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[1-5][0-9A-Fa-f]{3}-[89abAB][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12})\Z"
    ),
]
"""A UUID as the reference client accepts it: versions 1 to 5, or nil."""

Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}-[A-Za-z]{2,3}\Z")]
Confidence = Annotated[float, Meta(ge=0, le=1)]


class _Fields(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of everything in an entity."""


class Token(_Fields, frozen=True):
    type: Literal["word"]
    value: str
    confidence: Confidence
    offset: Duration
    duration: Duration
    language: Language | UnsetType = UNSET


class Interpretation(_Fields, frozen=True):
    type: Literal["display"]
    transcript: str
    tokens: tuple[Token, ...] | UnsetType = UNSET


class Alternative(_Fields, frozen=True):
    confidence: Confidence
    interpretations: tuple[Interpretation, ...]
    languages: tuple[Language, ...] | UnsetType = UNSET


class TranscriptData(_Fields, frozen=True):
    """`offset` is a position of the stream; `channel_id` is 0 for external, 1 for internal."""

    id: Uuid
    channel_id: Literal[0, 1]
    is_final: bool
    alternatives: tuple[Alternative, ...]
    offset: Duration | UnsetType = UNSET
    duration: Duration | UnsetType = UNSET


class Utterance(_Fields, frozen=True):
    id: Uuid
    position: Duration
    text: str
    language: Language
    confidence: Confidence
    channel: Literal["external", "internal"]
    is_final: bool
    duration: Duration | UnsetType = UNSET


class Faq(_Fields, frozen=True, tag_field="type", tag="faq"):
    id: Uuid
    confidence: Confidence
    question: str
    answer: str
    position: Duration | UnsetType = UNSET


class Article(_Fields, frozen=True, tag_field="type", tag="article"):
    id: Uuid
    confidence: Confidence
    title: str
    excerpts: tuple[str, ...]
    document_uri: str
    metadata: dict[str, str] | UnsetType = UNSET
    position: Duration | UnsetType = UNSET


class AgentAssistData(_Fields, frozen=True):
    id: Uuid
    utterances: tuple[Utterance, ...] | UnsetType = UNSET
    suggestions: tuple[Faq | Article, ...] | UnsetType = UNSET


class BotTurnData(_Fields, frozen=True):
    disposition: Literal["no_input", "no_match", "match"]
    text: str | UnsetType = UNSET
    confidence: Confidence | UnsetType = UNSET


class NoData(_Fields, frozen=True):
    """`{}`."""


class Transcript(_Fields, frozen=True, tag_field="type", tag="transcript"):
    data: TranscriptData


class AgentAssist(_Fields, frozen=True, tag_field="type", tag="agentassist"):
    data: AgentAssistData


class BargeIn(_Fields, frozen=True, tag_field="type", tag="barge_in"):
    data: NoData


class BotTurnResponse(_Fields, frozen=True, tag_field="type", tag="bot_turn_response"):
    data: BotTurnData


class SpeechStarted(_Fields, frozen=True, tag_field="type", tag="speech_started"):
    data: NoData


Entity = Transcript | AgentAssist | BargeIn | BotTurnResponse | SpeechStarted

MAX_ENTITY_BYTES = 60_000
"""As JSON: what fits a message of 64,000 bytes beside its envelope, with room to spare."""


def entities_of(values: Sequence[Any]) -> tuple[Entity, ...] | None:
    """Return plain values as entities; None if there is none, or one is not exactly as documented or too large."""
    try:
        entities = msgspec.convert(list(values), tuple[Entity, ...])
        small = all(len(msgspec.json.encode(entity)) <= MAX_ENTITY_BYTES for entity in entities)
    except (ValueError, RecursionError):
        return None
    return entities if entities and small else None
