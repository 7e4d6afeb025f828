"""How a session of the `audiohook2` dialect ends: each reason with what the peer is told and what readers are told.

`info` goes to the peer, who logs it: it names what was wrong, in the reference server's words where it has some, and
never a value. `code` is that of the close frame, in case the peer does not close by itself.
"""

import msgspec

from audiohook.errors import (
    BAD_MESSAGE,
    DISCONNECTED,
    FOREIGN_ORGANIZATION,
    PEER_CLOSED,
    PEER_VANISHED,
    Closure,
)
from audiohook.session.audiohook2_messages import DisconnectReason
from audiohook.session.events import Ended

BAD_SEQ = "Client Error: Invalid seq value (not monotonically increasing)"
BAD_SERVERSEQ = "Client Error: Invalid serverseq value"
BAD_SESSION_ID = "Client Error: Session identifier mismatch"
EARLY_AUDIO = "Client Error: Received audio in state PREPARING"
UNCHOSEN_AUDIO = "Client Error: Unexpected binary message: No media selected"
OTHER_ORGANIZATION = 'Mismatch between "organizationId" open parameter and "audiohook-organization-id" header field'


class Departure(msgspec.Struct, frozen=True):
    """An end, as it is told to readers (`ended`) and to the peer (the rest)."""

    ended: Ended
    reason: DisconnectReason = "error"
    info: str = ""
    code: int = 1000


def violation(info: str) -> Departure:
    """The peer sent what it must not."""
    return Departure(Ended(BAD_MESSAGE.slug, None, info), "error", info, BAD_MESSAGE.code or 1008)


def foreign() -> Departure:
    """The organization in `open` is not the one in the headers, for which the peer has shown its key."""
    ended = Ended(FOREIGN_ORGANIZATION.slug, None, OTHER_ORGANIZATION)
    return Departure(ended, "unauthorized", OTHER_ORGANIZATION, FOREIGN_ORGANIZATION.code or 1008)


def told(why: Closure) -> Departure:
    """An end of ours that the peer is told with `disconnect`."""
    return Departure(Ended(why.slug, None, why.text), "error", why.text, why.code or 1000)


def broken(why: Closure) -> Departure:
    """The WebSocket itself cannot go on: only a close frame, or a reset, is left."""
    return Departure(Ended(why.slug, why.code, why.text if why.code else ""), info=why.text, code=why.code or 1000)


def disconnected(reason: DisconnectReason, info: str) -> Departure:
    """Somebody with the right to do so ended the session."""
    return Departure(Ended(DISCONNECTED.slug, None, reason), reason, info, DISCONNECTED.code or 1000)


def closed_by_peer(text: str, code: int | None = None) -> Departure:
    """The peer said `close`, with a reason, or sent a close frame."""
    return Departure(Ended(PEER_CLOSED, code, text))


VANISHED = Departure(Ended(PEER_VANISHED))
