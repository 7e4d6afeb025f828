"""Which streams a command means: by the start of a stream's id, or by a call's id. Reads cards, through any mapping.

Knows no client and no worker. A stream that is over can be commanded no more, but is told apart from one that never
was. Candidates come from one scan of the cards' columns; the card that is then read properly decides.
"""

from typing import Any

import numpy as np

from audiohook.control import protocol
from audiohook.control.errands import Target
from audiohook.control.requests import lower_ascii
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card

MAX_TARGETS = 64
"""Streams that one command may reach: more than any call has."""

MOST_LISTED = 20

_COMMANDED_STATES = frozenset({*layout.OWNED_STATES, layout.PARKED})


def find_stream(arena: Arena, start: str) -> list[Target] | dict[str, Any]:
    """Return the one stream whose id begins with `start` (lower case), or a refusal that says why there is not one."""
    there, over = _having(arena, "stream_id", start, whole=False)
    if len(there) == 1:
        return there
    if there:
        ids = [target.stream_id for target in there]
        return {**protocol.refusal("ambiguous", _several(start, ids)), "streams": ids[:MOST_LISTED]}
    if over:
        return protocol.refusal("stream_over", f"stream {over[0].stream_id} is over")
    return protocol.refusal("no_such_stream", f"no stream's id begins with {start}")


def find_call(arena: Arena, call_id: str) -> list[Target] | dict[str, Any]:
    """Return every stream of a call that is live or parked, or a refusal. `call_id` is lower case."""
    there, over = _having(arena, "call_id", call_id, whole=True)
    if len(there) > MAX_TARGETS:
        return protocol.refusal("too_many_streams", f"the call has {len(there)} streams, {MAX_TARGETS} are the most")
    if there:
        return there
    if over:
        return protocol.refusal("stream_over", "every stream of this call is over")
    return protocol.refusal("no_such_call", "no stream has this call id")


def _several(start: str, ids: list[str]) -> str:
    more = f" and {len(ids) - MOST_LISTED} more" if len(ids) > MOST_LISTED else ""
    return f"{len(ids)} streams begin with {start}: {', '.join(ids[:MOST_LISTED])}{more}"


def _having(arena: Arena, column: str, wanted: str, *, whole: bool) -> tuple[list[Target], list[Target]]:
    """Return the streams that have this text in a column of their cards, or a text that begins so, by stream id.

    First those that can be commanded, then those that are over.
    """
    slots = np.arange(arena.geometry.slots)
    current = (arena.card_versions & np.uint64(1)).astype(np.intp)
    texts = np.char.lower(arena.cards[column][slots, current])
    there: list[Target] = []
    over: list[Target] = []
    for slot in np.flatnonzero(np.char.startswith(texts, wanted.encode())):
        card = read_card(arena, int(slot))
        text = lower_ascii(card[column])
        if text != wanted if whole else not text.startswith(wanted):
            continue
        target = Target(int(slot), card["epoch"], card["stream_id"], card["call_id"])
        if card["state"] in _COMMANDED_STATES:
            there.append(target)
        elif card["state"] != layout.FREE:
            over.append(target)
    return sorted(there, key=lambda target: target.stream_id), over
