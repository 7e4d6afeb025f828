"""What is told of a stream when it is over: the fields of the event `stream_ended`, from its card and its timeline.

Knows neither who tells nor why the stream ended: that is on the card by then.
"""

from typing import Any

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.timeline import Timeline
from audiohook.units import NS_PER_S


def ending(arena: Arena, card: dict[str, Any], now_ns: int) -> dict[str, Any]:
    """Return the verdict on the stream of `card`, which has its `slot` in it. Raises Recycled if that is taken again.

    `seconds` count from the stream's opening to `now_ns`, time in which it was PARKED included.
    """
    totals = Timeline(arena, card["slot"], card).totals()
    return {
        "reason": card["end_reason"],
        "code": card["close_code"] or None,
        "seconds": round((now_ns - card["opened_monotonic_ns"]) / NS_PER_S, 3),
        "length_frames": totals.length,
        "decoded_frames": totals.decoded,
        "concealed_frames": totals.concealed,
        "gaps_frames": {cause: frames for cause, frames in totals.gaps.items() if frames},
        "packets": totals.packets,
        "wire_bytes": totals.wire_bytes,
        "no_audio": bool(card["flags"] & layout.FLAG_NO_AUDIO),
    }
