"""What a session tells the worker, as values. Knows neither the wire nor memory; both dialects speak these.

The order of a list of events is the order of what the peer sent. `AudioArrived` is on the way of every packet, hence a
msgspec Struct outside the garbage collector's sight (it can hold no cycle): 0.1 µs to make.
"""

import msgspec

from audiohook.wire.request import Request


class Identity(msgspec.Struct, frozen=True):
    """Who is calling, in the peer's own words; an absent field is the empty string.

    `direction` is `inbound`, `outbound` or `unknown`. Every string fits its field of a stream card but
    `correlation_id`, by which a call is found in both sides' logs and nowhere else.
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
    correlation_id: str = ""


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


class AccessAsked(msgspec.Struct, frozen=True):
    """A correct WebSocket handshake of `dialect` waits for leave to enter: `Call.let_in()` or `Call.keep_out()`."""

    dialect: str
    request: Request


class AudioArrived(msgspec.Struct, frozen=True, gc=False):
    """One message of audio, not decoded. An empty one is legal: the codec's side decides what it means."""

    payload: bytes


class AudioHeld(msgspec.Struct, frozen=True, gc=False):
    """One message of audio that came while the call is on hold: its time passes, nobody may hear it."""

    payload: bytes


class TimeMeasured(msgspec.Struct, frozen=True):
    """Nothing was sent for `elapsed_ns`, from the last packet to the next event's, because the call was on hold.

    How much media time that is, in whole packets, only the codec's side can say.
    """

    elapsed_ns: int


class Noticed(msgspec.Struct, frozen=True):
    """Something that readers and operators want to know and that changes no sample.

    `kind` is one of `degraded`, `recovered`, `no_audio`, `paused`, `resumed`, `held`, `unheld` (told to readers) and
    `text_ignored` (counted only).
    """

    kind: str


class Ended(msgspec.Struct, frozen=True):
    """The connection's stream is over. `reason` is a slug of `errors.py`; `code` and `text` are the close frame's.

    `waits_ns`: how long the stream stays PARKED, since its peer may come back; 0 if it has ended for good.
    """

    reason: str
    code: int | None = None
    text: str = ""
    waits_ns: int = 0


class Answered(msgspec.Struct, frozen=True):
    """A request got an HTTP answer and no stream: `kind` is a refusal's slug, or `health_checks`."""

    kind: str


class Counted(msgspec.Struct, frozen=True):
    """Something for the counter `kind` only, `times` times (or so many frames, where the name says so)."""

    kind: str
    times: int = 1


class GapArrived(msgspec.Struct, frozen=True):
    """`frames` (> 0) of media time passed without audio. `cause` is one of `memory/layout.CAUSES`.

    It lies between the audio before and after it in the list of events: `paused`, `discarded`, or, between the end of
    an earlier session's stream and the first offered audio of the one that continues it, `lost`.
    """

    frames: int
    cause: str


class Continues(msgspec.Struct, frozen=True):
    """The stream that the next `AdmissionAsked` asks for goes on where others ended, or does not start at frame 0.

    `session_ids` are the earlier sessions in the peer's order, oldest first; it may be empty. `first_frames` is the
    media frame of the first audio that the peer offers. If the stream of the newest known session reaches frame L,
    answer with `admit(now_ns, L)` and let the new stream start at L; else it starts at `first_frames`.
    """

    session_ids: tuple[str, ...]
    first_frames: int


class Probed(msgspec.Struct, frozen=True):
    """The peer tried whether we are there, and got its answer: no call, no stream, nothing follows."""


class NotOpened(msgspec.Struct, frozen=True):
    """The WebSocket was opened and no stream will come of it. `reason` is a slug, `text` what the peer was told."""

    reason: str
    text: str = ""


class PeerError(msgspec.Struct, frozen=True):
    """The peer reported an error of its own, by the protocol's number. It goes on, or closes by itself."""

    code: int


StreamEvent = AudioHeld | TimeMeasured | GapArrived | Noticed
"""What a stream has to hear of, audio aside."""

Event = (
    AccessAsked
    | AdmissionAsked
    | AudioArrived
    | StreamEvent
    | Ended
    | Answered
    | Counted
    | Continues
    | Probed
    | NotOpened
    | PeerError
)


class SendPing(msgspec.Struct, frozen=True):
    """Send a WebSocket ping."""


class SendClose(msgspec.Struct, frozen=True):
    """Send a close frame and wait for the peer's, a bounded time."""

    code: int
    text: str


class Reset(msgspec.Struct, frozen=True):
    """Drop the connection without another word: there is nobody to hear one."""


class SendText(msgspec.Struct, frozen=True):
    """Send a text message, whole."""

    text: str


Command = SendPing | SendClose | Reset | SendText
"""What a session wants sent. `call.py` turns it into bytes."""
