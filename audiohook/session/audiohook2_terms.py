"""What an `audiohook2` session is told at its start: the settings, and who has connected, from the upgrade's headers.

Whether the headers may be believed is `auth`'s to say. Pure.
"""

import re

import msgspec

from audiohook.errors import HEADER_MALFORMED, HEADER_MISSING, Refusal
from audiohook.session.audiohook2_media import CHANNELS, FORMATS
from audiohook.units import NS_PER_S
from audiohook.wire.request import Request

DIALECT = "audiohook2"
SESSION_HEADER = "audiohook-session-id"
"""The header by which a request is known to speak this dialect."""

ORGANIZATION_HEADER = "audiohook-organization-id"
CORRELATION_HEADER = "audiohook-correlation-id"

MAX_MESSAGE_BYTES = 65_536
"""The longest message that is taken; a longer one is 1009. The peer's own limit is 64,000."""

_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")


class AudioHook2Terms(msgspec.Struct, frozen=True):
    """What the configuration says about sessions of this dialect."""

    formats: tuple[str, ...] = FORMATS
    channels: tuple[str, ...] = CHANNELS
    start_paused: bool = False
    supported_languages: tuple[str, ...] = ()
    open_ns: int = 10 * NS_PER_S
    idle_ns: int = 30 * NS_PER_S
    paused_idle_ns: int = 3600 * NS_PER_S
    max_message_bytes: int = 65_536


class Greeting(msgspec.Struct, frozen=True):
    """Whom an upgrade request speaks for. The identifiers are as they were sent; a missing correlation id is empty."""

    session_id: str
    organization_id: str
    correlation_id: str


def greet(request: Request) -> Greeting | Refusal:
    """Return who connects, or which header is missing or malformed (never echoing a value).

    Both answers are 400, as nothing is wrong with anybody's rights. The correlation id only helps to find a call in two
    logs, so one that is missing or odd costs no call (a signature that must cover it does not verify without it).
    """
    values = []
    for name in (SESSION_HEADER, ORGANIZATION_HEADER):
        value = request.get(name)
        if not value:
            return Refusal(HEADER_MISSING.slug, 400, HEADER_MISSING.text).naming(name)
        if not _UUID.fullmatch(value):
            return HEADER_MALFORMED.naming(f"{name} must be a UUID, once")
        values.append(value)
    correlation = request.get(CORRELATION_HEADER) or ""
    return Greeting(values[0], values[1], correlation if _UUID.fullmatch(correlation) else "")
