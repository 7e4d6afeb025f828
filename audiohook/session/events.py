"""What a session tells the worker, as values. Knows neither the wire nor memory; both dialects speak these.

The order of a list of events is the order of what the peer sent. `AudioArrived` is on the way of every packet, hence a
msgspec Struct outside the garbage collector's sight (it can hold no cycle): 0.1 µs to make.
"""

import msgspec


class Identity(msgspec.Struct, frozen=True):
    """Who is calling, in the peer's own words; an absent field is the empty string.

    `direction` is `inbound`, `outbound` or `unknown`. Every string fits its field of a stream card.
    """

    dialect: str
    call_id: str
    session_id: str = ""
    user_id: str = ""
    participant_id: str = ""
    organization_id: str = ""
    direction: str = "unknown"
    ani: str = ""
    dnis: str = ""


class Media(msgspec.Struct, frozen=True):
    """What the stream carries: the codec on the wire, and the PCM that readers get."""

    codec: str
    rate_hz: int
    channel_names: tuple[str, ...]
    framing: str


class AdmissionAsked(msgspec.Struct, frozen=True):
    """A complete, correct upgrade request waits for a slot: answer with `Call.admit()` or `Call.refuse()`."""

    identity: Identity
    media: Media


class AudioArrived(msgspec.Struct, frozen=True, gc=False):
    """One message of audio, not decoded. An empty one is legal: the codec's side decides what it means."""

    payload: bytes


class Noticed(msgspec.Struct, frozen=True):
    """Something that readers and operators want to know and that changes no sample.

    `kind` is one of `degraded`, `recovered`, `no_audio` (told to readers) and `text_ignored` (counted only).
    """

    kind: str


class Ended(msgspec.Struct, frozen=True):
    """The stream is over. `reason` is a slug of `errors.py`; `code` and `text` are those of the close frame, if any."""

    reason: str
    code: int | None = None
    text: str = ""


class Answered(msgspec.Struct, frozen=True):
    """A request got an HTTP answer and no stream: `kind` is a refusal's slug, or `health_checks`."""

    kind: str


Event = AdmissionAsked | AudioArrived | Noticed | Ended | Answered


class SendPing(msgspec.Struct, frozen=True):
    """Send a WebSocket ping."""


class SendClose(msgspec.Struct, frozen=True):
    """Send a close frame and wait for the peer's, a bounded time."""

    code: int
    text: str


class Reset(msgspec.Struct, frozen=True):
    """Drop the connection without another word: there is nobody to hear one."""


Command = SendPing | SendClose | Reset
"""What a session wants sent. `call.py` turns it into bytes."""
