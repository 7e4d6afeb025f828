"""What `audiohookctl status` says of TLS: the newest `tls_status` of the supervisor's event ring, and words for it."""

import json
import time
from typing import Any

from audiohook.memory.arena import Arena
from audiohook.memory.event_ring import EventReader
from audiohook.net.certificate import DAY_S, lifetime_in_words

STATUS_EVENT = b'"tls_status"'


def read_tls(arena: Arena) -> dict[str, Any] | None:
    """Return the fields of the newest `tls_status` and `days_left`, None where no TLS is watched."""
    texts, _ = EventReader(arena, arena.geometry.supervisor_row, oldest=True).take()
    newest = next((text for text in reversed(texts) if STATUS_EVENT in text), None)
    if newest is None:
        return None
    status: dict[str, Any] = json.loads(newest)
    if "not_after_s" in status:
        status["days_left"] = int((status["not_after_s"] - time.time()) // DAY_S)
    return status


def render_tls(status: dict[str, Any] | None) -> list[str]:
    """Return a line for the certificate, one for the last handshake, and one for files that cannot be used."""
    if status is None:
        return []
    lines = []
    if "not_after_s" in status:
        how = lifetime_in_words(status["not_before_s"], status["not_after_s"], time.time())
        lines.append(f"the certificate of {status['name']} {how}; serial {status['serial']}")
    probe = status.get("probe")
    if probe is None:
        lines.append(f"no handshake with {status['where']} has been tried yet")
    else:
        lines.append(f"handshake with {status['where']}: {'well, ' if status['probe_ok'] else 'FAILED, '}{probe}")
    if status.get("error"):
        lines.append(f"the files cannot be used, the old ones stay in force: {status['error']}")
    return [f"TLS      {line}" for line in lines]
