"""What is spoken on hub.sock: one JSON object a packet (SOCK_SEQPACKET), a reply to each request, in order.

    {"do": "attach"}                           -> {"ok": true, "ring_seconds": ..} with the arena's read-only descriptor
    {"do": "watch",   "slot": n, "epoch": e}   -> {"ok": true, "watched": bool}
    {"do": "unwatch", "slot": n, "epoch": e}   -> {"ok": true}
    anything else                              -> {"ok": false, "slug": "...", "error": "one line"}

Knows no socket. Used by both sides, so it needs the standard library only (readers have NumPy and nothing else).
Packets keep their bounds, so there is no half request to wait for and none to buffer.
"""

import json
from typing import Any

MAX_PACKET_BYTES = 65_536


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def decode(packet: bytes) -> dict[str, Any] | None:
    """Return the object in a packet, None if it is none. Never raises: the other side may be anybody."""
    try:
        message = json.loads(packet)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def refusal(slug: str, text: str) -> dict[str, Any]:
    return {"ok": False, "slug": slug, "error": text}
