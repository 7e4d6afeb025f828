"""In which order those are served who have not spoken yet (net/loop.py, newcomers). Pure.

    FRESH ──its request, piece by piece──▶ SLOW ──an answer──▶ FRESH ──a stream──▶ SILENT ──audio──▶ 0: it talks

Who has a stream and has sent no audio waits for nobody's: what it sends are `open`, pings and pauses, and a worker that
is late with decoding answers them at once (`python -m tests.bench.answers`). Who says a request byte by byte comes
behind those who have just arrived.
"""

SILENT, FRESH, SLOW = 1, 2, 3

_BINARY = 0x2
"""RFC 6455 section 5.2."""


def rank_after(data: bytes, *, streaming: bool) -> int:
    """Return the rank of a newcomer that has sent `data`; `streaming`: it has a stream. 0: it is none any more."""
    if not streaming:
        return SLOW
    return 0 if data and data[0] & 0xF == _BINARY else SILENT
