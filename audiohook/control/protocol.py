"""What is spoken on hub.sock: one JSON object a packet (SOCK_SEQPACKET), a reply to each request.

    {"do": "attach"}                           -> {"ok": true, "layout": major} with the arena's read-only descriptor
    {"do": "watch",   "slot": n, "epoch": e}   -> {"ok": true, "watched": bool}
    {"do": "unwatch", "slot": n, "epoch": e}   -> {"ok": true}
    anything else                              -> {"ok": false, "slug": "...", "error": "one line"}

Commands. `stream` is the start of one stream's id, `call` a call's id: every stream of it that is live or parked.

    {"do": "pause" | "resume" | "disconnect" | "unmask", "stream": s}
    {"do": "mask",  "stream": s, "seconds_back": 2.5}           seconds_back may be left out
    {"do": "event", "stream": s, "entity": {"type": "..", "data": ..}}
    {"do": "hold" | "unhold" | "end", "call": c}
        -> {"ok": all done?, "results": [{"stream": id, "call": id, "status": .., "value": n, "text": ".."}, ...]},
           with "slug" and "error" if not ok. status: ok, refused, not_available, gone (the stream is over) or no_answer
           (within five seconds). value: of `mask` the first masked frame

    {"do": "scale", "workers": n}                               have n worker processes
        -> {"ok": true, "workers": n, "text": what was done}, or {"ok": false, "slug": .., "error": why not}

    {"do": "reload"}                                            load code and configuration anew
        -> {"ok": true, "attempt": n}: begun; or {"ok": false, ..}: why not
    {"do": "outcome", "attempt": n}                             what has become of it
        -> {"ok": true, "generation": g, "text": ".."}          g takes new calls; 0: under way, and `text` is the step
           or {"ok": false, ..}: nothing was changed, and why

A command may have a `ticket`, a whole number, that its reply repeats: several may be under way on one connection, and
each is answered when its streams have answered, attach and watch always at once.

Who may what is decided by uid and groups: `read` attaches and watches, `speak` sends events, `operate` does the rest.

Knows no socket. Used by both sides, so it needs the standard library only (readers have NumPy and nothing else).
Packets keep their bounds, so there is no half request to wait for and none to buffer.
"""

import json
from typing import Any

MAX_PACKET_BYTES = 65_536


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def decode(packet: bytes) -> dict[str, Any] | None:
    """Return the object in a packet, None if it is none (NaN is none). Never raises: the other side may be anybody."""
    try:
        message = json.loads(packet, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _no_number(name: str) -> None:
    raise ValueError(name)


def refusal(slug: str, text: str) -> dict[str, Any]:
    return {"ok": False, "slug": slug, "error": text}
