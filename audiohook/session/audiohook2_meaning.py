"""What a message of an `audiohook2` client is to the session's table: an input, and what goes with it.

Here JSON ends: behind it there are numbers, times and an `Opening`. Knows no state.
"""

from typing import Any

import msgspec

from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_departure import Departure, closed_by_peer, foreign, violation
from audiohook.session.audiohook2_opening import Opening
from audiohook.session.audiohook2_position import parse_duration
from audiohook.session.audiohook2_reading import BAD_PARAMETERS
from audiohook.session.audiohook2_table import Input
from audiohook.session.audiohook2_terms import AudioHook2Terms, Greeting

_INPUTS: dict[type, Input] = {
    wire.Open: Input.OPEN,
    wire.Ping: Input.PING,
    wire.Paused: Input.PAUSED,
    wire.Resumed: Input.RESUMED,
    wire.Discarded: Input.DISCARDED,
    wire.Update: Input.UPDATE,
    wire.Error: Input.ERROR,
    wire.Close: Input.CLOSE,
    wire.Dtmf: Input.DTMF,
    wire.PlaybackStarted: Input.PLAYBACK,
    wire.PlaybackCompleted: Input.PLAYBACK,
}


class Meaning(msgspec.Struct, frozen=True):
    """`subject` is what the action of `given` needs; `departure` is why it ends the session, where it does.

    `position` is the peer's, where it says something about ours: where a span is skipped it may be either end's.
    """

    given: Input
    subject: Any = None
    departure: Departure | None = None
    position: str = ""


def meaning_of(message: wire.ClientMessage | None, greeting: Greeting, terms: AudioHook2Terms) -> Meaning:
    """Return the meaning of a well-formed message; None is one of an unknown type."""
    if message is None:
        return Meaning(Input.UNKNOWN)
    given = _INPUTS[type(message)]
    if isinstance(message, wire.Open):
        opening = Opening(message, greeting, terms)
        if opening.is_foreign:
            return Meaning(Input.OPEN_FOREIGN, departure=foreign())
        return Meaning(Input.OPEN_PROBE if opening.is_probe else given, opening)
    if isinstance(message, wire.Resumed | wire.Discarded):
        span = parse_duration(message.parameters.start), parse_duration(message.parameters.discarded)
        return Meaning(Input.VIOLATION, departure=violation(BAD_PARAMETERS)) if None in span else Meaning(given, span)
    if isinstance(message, wire.Error):
        retry_after = message.parameters.retry_after
        hold_ns = parse_duration(retry_after) if isinstance(retry_after, str) else None
        return Meaning(given, (message.parameters.code, hold_ns or 0), position=message.position)
    if isinstance(message, wire.Close):
        return Meaning(given, departure=closed_by_peer(message.parameters.reason), position=message.position)
    return Meaning(given, position=message.position)
