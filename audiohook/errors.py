"""Everything that can go wrong, under one name each: the slugs.

Three families, told apart by whose fault it is:

- the peer's: a `Refusal` answers an upgrade request with an HTTP status, a `Closure` ends an open WebSocket with a
  close code. They are values, not exceptions: pure code returns them, because nothing that a peer does may raise;
- the configuration's: `ConfigError` names file, key, value and remedy;
- ours: `BootError` and the other exceptions.

A slug is the metric label, the word in the log line and the word in the event ring, so it never changes once released.
`memory/layout.py` has a counter for each (tests/unit/test_errors.py holds the two lists to one another).
"""

from dataclasses import dataclass


class AudiohookError(Exception):
    """Base of every exception that this package raises on purpose."""


class ConfigError(AudiohookError):
    """A configuration that cannot be used: `file: section.key = value: what is wrong; what would be right`."""

    def __init__(self, file: str, key: str, value: object, remedy: str) -> None:
        super().__init__(f"{file}: {key} = {value!r}: {remedy}" if key else f"{file}: {remedy}")
        self.file = file
        self.key = key
        self.value = value
        self.remedy = remedy


class BootError(AudiohookError):
    """The daemon, or one of its processes, cannot start here. The message says what is missing and what would help."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """An upgrade (or any request) that is answered with an HTTP status instead of a stream.

    `text` is the body, one line of plain ASCII. It names the header that is wrong and never echoes its value.
    """

    slug: str
    status: int
    text: str

    def naming(self, detail: str) -> "Refusal":
        """Return this refusal with `detail` (a header's name, a rule) put behind its text."""
        return Refusal(self.slug, self.status, f"{self.text}: {detail}")


@dataclass(frozen=True, slots=True)
class Closure:
    """An end that we give to an open WebSocket. `code` is None where TCP is reset instead (the peer is dead)."""

    slug: str
    code: int | None
    text: str


HEADER_MISSING = Refusal("header_missing", 401, "missing header")
HEADER_MALFORMED = Refusal("header_malformed", 400, "malformed header")
REQUEST_MALFORMED = Refusal("request_malformed", 400, "malformed HTTP request")
UPGRADE_MALFORMED = Refusal("upgrade_malformed", 400, "malformed WebSocket upgrade")
VERSION_UNSUPPORTED = Refusal("version_unsupported", 426, "WebSocket version 13 is spoken here")
REQUEST_TOO_LARGE = Refusal("request_too_large", 431, "request head too large")
REQUEST_TIMEOUT = Refusal("request_timeout", 408, "no complete request in time")
NOT_FOUND = Refusal("not_found", 404, "nothing here")
METHOD_NOT_ALLOWED = Refusal("method_not_allowed", 405, "only GET is served here")
NO_SLOT = Refusal("no_slot", 503, "all streams are in use")
DRAINING = Refusal("draining", 503, "shutting down")
OVERLOADED = Refusal("overloaded", 503, "too busy for another call")
NO_DECODER = Refusal("no_decoder", 503, "no decoder could be made")
UNAUTHORIZED = Refusal("unauthorized", 401, "unauthorized")
FORBIDDEN_ADDRESS = Refusal("forbidden_address", 403, "forbidden")
HOST_FULL = Refusal("host_full", 503, "as many streams as there may be")
WORKER_FULL = Refusal("worker_full", 503, "as many streams as one worker may have")
ADDRESS_FULL = Refusal("address_full", 503, "as many streams as one address may have")
ORGANIZATION_FULL = Refusal("organization_full", 503, "as many streams as one organization may have")
ADDRESS_CROWDED = Refusal("address_crowded", 503, "as many connections as one address may have")

REFUSALS = (
    HEADER_MISSING,
    HEADER_MALFORMED,
    REQUEST_MALFORMED,
    UPGRADE_MALFORMED,
    VERSION_UNSUPPORTED,
    REQUEST_TOO_LARGE,
    REQUEST_TIMEOUT,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NO_SLOT,
    DRAINING,
    OVERLOADED,
    NO_DECODER,
    UNAUTHORIZED,
    FORBIDDEN_ADDRESS,
    HOST_FULL,
    WORKER_FULL,
    ADDRESS_FULL,
    ORGANIZATION_FULL,
    ADDRESS_CROWDED,
)

PROTOCOL_ERROR = Closure("protocol_error", 1002, "protocol error")
INVALID_PAYLOAD = Closure("invalid_payload", 1007, "text is not UTF-8")
MESSAGE_TOO_LARGE = Closure("message_too_large", 1009, "message too large")
SHUTDOWN = Closure("shutdown", 1012, "service restart")
HEARTBEAT_LOST = Closure("heartbeat_lost", None, "no answer to a ping")
SEND_STALLED = Closure("send_stalled", None, "peer does not read what is sent to it")
INTERNAL_ERROR = Closure("internal_error", 1011, "internal error")
PROXY_MALFORMED = Closure("proxy_malformed", None, "no PROXY header where one is wanted")
TLS_FAILED = Closure("tls_failed", None, "no TLS handshake came about")
TLS_TIMEOUT = Closure("tls_timeout", None, "no complete TLS handshake in time")
BAD_MESSAGE = Closure("bad_message", 1008, "a message against the protocol")
FOREIGN_ORGANIZATION = Closure("foreign_organization", 1008, "another organization")
OPEN_TIMEOUT = Closure("open_timeout", 1008, "no open in time")
IDLE_TIMEOUT = Closure("idle_timeout", 1008, "neither ping nor audio")
DISCONNECTED = Closure("disconnected", 1000, "disconnected")
SUPERSEDED = Closure("superseded", 4409, "a newer connection of this call")
CALL_ENDED = Closure("call_ended", 1000, "call ended")

CLOSURES = (
    PROTOCOL_ERROR,
    INVALID_PAYLOAD,
    MESSAGE_TOO_LARGE,
    SHUTDOWN,
    HEARTBEAT_LOST,
    SEND_STALLED,
    INTERNAL_ERROR,
    PROXY_MALFORMED,
    TLS_FAILED,
    TLS_TIMEOUT,
    BAD_MESSAGE,
    FOREIGN_ORGANIZATION,
    OPEN_TIMEOUT,
    IDLE_TIMEOUT,
    DISCONNECTED,
    SUPERSEDED,
    CALL_ENDED,
)

PEER_CLOSED = "peer_closed"
"""End reason: the peer sent a close frame of its own."""

PEER_VANISHED = "peer_vanished"
"""End reason: TCP ended without a close frame (what RFC 6455 section 7.1.5 calls 1006)."""

WORKER_DIED = "worker_died"
"""End reason of an ABORTED stream, written by the supervisor: its worker is gone."""


class ReaderError(AudiohookError):
    """Base of what a reader of streams can be told."""


class HubUnavailable(ReaderError):
    """Nobody answers at the hub, or it refused. The message names the path and the remedy."""


class NoSuchStream(ReaderError):
    """No stream matches. Streams that ended stay for `memory.keep_ended_seconds`."""


class AmbiguousStream(ReaderError):
    """Several streams match; the message lists them and `stream_ids` has their ids."""

    def __init__(self, message: str, stream_ids: tuple[str, ...]) -> None:
        super().__init__(message)
        self.stream_ids = stream_ids


class Overrun(ReaderError):
    """The reader fell behind: `lost_frames` frames of audio, counted exactly, were overwritten before they were read.

    Frames of gaps do not count. Reading can go on at `next_frame`. Where the slot already belongs to another stream,
    the count goes up to the last length that the reader saw. Then nothing more can be read (`next_frame` is None),
    unless the stream's peer came back: `next_frame` is where the stream begins in which it goes on.
    """

    def __init__(self, lost_frames: int, next_frame: int | None) -> None:
        where = "the stream is gone" if next_frame is None else f"reading can go on at frame {next_frame}"
        super().__init__(f"{lost_frames} frames were overwritten before they were read; {where}")
        self.lost_frames = lost_frames
        self.next_frame = next_frame


class GapFound(ReaderError):
    """With `gaps="raise"`: the next frame is not audio. `first_frame`, `frames` so far, and `cause` say what it is."""

    def __init__(self, first_frame: int, frames: int, cause: str) -> None:
        super().__init__(f"{frames} frames from {first_frame} on are a gap: {cause}")
        self.first_frame = first_frame
        self.frames = frames
        self.cause = cause


class WriterGone(ReaderError):
    """The process that wrote this stream is gone and nobody has marked the stream: the whole daemon was killed.

    Everything that was published stays readable for as long as this reader keeps its hub.
    """
