"""Every message of AudioHook protocol v2, both ways, as typed structs: names, fields, nothing of what they mean.

`ClientMessage` is what Genesys sends; it is read tolerantly (`audiohook2_reading.py`), so a field without a default is
one that cannot be done without. `ServerMessage` is what we send: only documented fields, `parameters` always there;
`SERVER_MESSAGE` reads it back strictly, as the peer does. Wire names are camelCase; sequence numbers are written as the
protocol writes them.

Source: the types and validators of Genesys' reference implementation (purecloudlabs/audiohook-reference-implementation)
and, for `dtmf`, `playback_*` and `outputVariables`, of its AudioConnector sample.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from audiohook.session.audiohook2_entities import Entity
from audiohook.session.audiohook2_position import DURATION

VERSION: Literal["2"] = "2"
NIL_UUID = "00000000-0000-0000-0000-000000000000"
MAX_SEQ = 1 << 53
MAX_SENT_BYTES = 64_000
"""The peer's message limit."""

UUID = r"^[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\Z"
"""A UUID of any version and variant, in any case."""

Duration = Annotated[str, Meta(pattern=DURATION, max_length=64)]
Uuid = Annotated[str, Meta(pattern=UUID)]
Seq = Annotated[int, Meta(ge=1, le=MAX_SEQ)]
PeerSeq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
Language = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,8}\Z")]
"""A language code by the shape of BCP 47: wider than the reference's, which refuses `es-419`."""

Channel = Literal["external", "internal"]


class Parameters(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of what stands under `parameters`.

    What may be left out is UNSET when it is. Any other default is for reading only: written, the field is always there.
    """


class Nothing(Parameters, frozen=True):
    """No parameters: `{}`."""


NOTHING = Nothing()


class MediaParameter(Parameters, frozen=True):
    """One kind of media: offered in `open`, chosen in `opened`."""

    type: Literal["audio"]
    format: Literal["PCMU", "L16"]
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=2)]
    rate: Literal[8000]


# ---------------------------------------------------------------------------------------- client to server


class Participant(Parameters, frozen=True):
    """Whom the session listens to. `ani` and `dnis` are `tel:` URIs, numbers, or empty."""

    id: Uuid
    ani: str = ""
    ani_name: str = ""
    dnis: str = ""


class ContinuedSession(Parameters, frozen=True):
    """An earlier session of the same conversation, which this one takes over from."""

    id: Uuid
    serverseq: int = 0
    clientseq: int = 0


class OpenParameters(Parameters, frozen=True):
    """`media` and `continued_sessions` are lists of anything: one entry that is wrong must not cost the call."""

    organization_id: Uuid
    conversation_id: Uuid
    participant: Participant
    media: tuple[Raw, ...]
    language: Language | UnsetType = UNSET
    supported_languages: bool | UnsetType = UNSET
    continued_sessions: tuple[Raw, ...] | UnsetType = UNSET
    custom_config: Raw | UnsetType = UNSET
    input_variables: Raw | UnsetType = UNSET


class PingParameters(Parameters, frozen=True):
    rtt: Duration | UnsetType = UNSET


class UpdateParameters(Parameters, frozen=True):
    language: Language | UnsetType = UNSET


class SpanParameters(Parameters, frozen=True):
    """A span of media time without audio: of `resumed` and of `discarded`."""

    start: Duration
    discarded: Duration


class ErrorParameters(Parameters, frozen=True):
    code: Annotated[int, Meta(ge=0, le=9999)] = 0
    message: str = ""
    retry_after: Duration | UnsetType = UNSET


class CloseParameters(Parameters, frozen=True):
    reason: Literal["end", "error", "disconnect", "reconnect", ""] = ""


class DtmfParameters(Parameters, frozen=True):
    digit: str = ""


class ClientMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every message of the client has. `position` is where its audio is, as a duration."""

    version: Literal["2"]
    id: str
    seq: Seq
    serverseq: PeerSeq
    position: Duration = ""


class Open(ClientMessage, frozen=True, kw_only=True, tag="open"):
    parameters: OpenParameters


class Ping(ClientMessage, frozen=True, kw_only=True, tag="ping"):
    parameters: PingParameters


class Update(ClientMessage, frozen=True, kw_only=True, tag="update"):
    parameters: UpdateParameters


class Paused(ClientMessage, frozen=True, kw_only=True, tag="paused"):
    parameters: Nothing


class Resumed(ClientMessage, frozen=True, kw_only=True, tag="resumed"):
    parameters: SpanParameters


class Discarded(ClientMessage, frozen=True, kw_only=True, tag="discarded"):
    parameters: SpanParameters


class Error(ClientMessage, frozen=True, kw_only=True, tag="error"):
    parameters: ErrorParameters


class Close(ClientMessage, frozen=True, kw_only=True, tag="close"):
    parameters: CloseParameters


class Dtmf(ClientMessage, frozen=True, kw_only=True, tag="dtmf"):
    parameters: DtmfParameters


class PlaybackStarted(ClientMessage, frozen=True, kw_only=True, tag="playback_started"):
    parameters: Nothing


class PlaybackCompleted(ClientMessage, frozen=True, kw_only=True, tag="playback_completed"):
    parameters: Nothing


CLIENT_MESSAGES: dict[str, type[ClientMessage]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        *(Open, Ping, Update, Paused, Resumed, Discarded, Error, Close, Dtmf),
        *(PlaybackStarted, PlaybackCompleted),
    )
}
"""The class of each `type`."""


# ---------------------------------------------------------------------------------------- server to client


class OpenedParameters(Parameters, frozen=True):
    """`media` holds at most one entry, byte for byte as it was offered."""

    media: Annotated[tuple[Raw, ...], Meta(max_length=1)]
    start_paused: bool | UnsetType = UNSET
    discard_to: Duration | UnsetType = UNSET
    supported_languages: tuple[str, ...] | UnsetType = UNSET


class EventParameters(Parameters, frozen=True):
    entities: Annotated[tuple[Entity, ...], Meta(min_length=1)]


class ReconnectParameters(Parameters, frozen=True):
    info: str | UnsetType = UNSET


DisconnectReason = Literal["completed", "unauthorized", "error"]
"""`rejected`, which is also documented, is refused by the reference client: never sent."""


class DisconnectParameters(Parameters, frozen=True):
    reason: DisconnectReason
    info: str | UnsetType = UNSET
    output_variables: dict[str, str] | UnsetType = UNSET


class ServerMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """What every message of the server has."""

    version: Literal["2"]
    id: str
    seq: Seq
    clientseq: PeerSeq


class Opened(ServerMessage, frozen=True, kw_only=True, tag="opened"):
    parameters: OpenedParameters


class Pong(ServerMessage, frozen=True, kw_only=True, tag="pong"):
    parameters: Nothing


class Updated(ServerMessage, frozen=True, kw_only=True, tag="updated"):
    parameters: Nothing


class Event(ServerMessage, frozen=True, kw_only=True, tag="event"):
    parameters: EventParameters


class Pause(ServerMessage, frozen=True, kw_only=True, tag="pause"):
    parameters: Nothing


class Resume(ServerMessage, frozen=True, kw_only=True, tag="resume"):
    parameters: Nothing


class Reconnect(ServerMessage, frozen=True, kw_only=True, tag="reconnect"):
    parameters: ReconnectParameters


class Disconnect(ServerMessage, frozen=True, kw_only=True, tag="disconnect"):
    parameters: DisconnectParameters


class Closed(ServerMessage, frozen=True, kw_only=True, tag="closed"):
    parameters: Nothing


AnyServerMessage = Opened | Pong | Updated | Event | Pause | Resume | Reconnect | Disconnect | Closed
SERVER_MESSAGE: "msgspec.json.Decoder[AnyServerMessage]" = msgspec.json.Decoder(AnyServerMessage)
"""Reads what a server sent, strictly: an unknown type or field, or a missing one, raises `msgspec.DecodeError`."""

_ENCODER = msgspec.json.Encoder()


def server_message(
    kind: type[ServerMessage], session_id: str, seq: int, clientseq: int, parameters: Parameters
) -> ServerMessage:
    """Return a message of `kind`; `parameters` are those of that kind."""
    make: Callable[..., ServerMessage] = kind
    return make(version=VERSION, id=session_id, seq=seq, clientseq=clientseq, parameters=parameters)


def client_message(
    kind: type[ClientMessage], session_id: str, seq: int, serverseq: int, position: str, parameters: Parameters
) -> ClientMessage:
    """Return a message of `kind`; `parameters` are those of that kind."""
    make: Callable[..., ClientMessage] = kind
    return make(version=VERSION, id=session_id, seq=seq, serverseq=serverseq, position=position, parameters=parameters)


def encode(message: ServerMessage | ClientMessage) -> str:
    """Return a message as the text that goes over the wire."""
    return _ENCODER.encode(message).decode("utf-8")


def as_raw(value: Any) -> Raw:
    """Return `value` as JSON that is sent as it is."""
    return Raw(_ENCODER.encode(value))
