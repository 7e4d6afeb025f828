"""In which order those are served who come and go (net/loop.py, newcomers). Pure.

    FRESH ──its request, piece by piece──▶ SLOW ──an answer──▶ FRESH ──a stream──▶ SILENT ──audio──▶ 0: it talks
                                                                             0 ──the end, no word before──▶ LEAVING

Who has a stream and has sent no audio waits for nobody's: what it sends are `open`, pings and pauses, and a worker that
is late with decoding answers them at once (`python -m tests.bench.answers`). Who says a request byte by byte comes
behind those who have just arrived.

Who is gone without a word waits for those who talk, too: a proxy that restarts takes a thousand calls with it, and to
end a stream costs as much as ten packets. All of them in one turn made it half a second long for who had stayed (make
faults: reconnect). They go before others come, who may be the same.
"""

SILENT, LEAVING, FRESH, SLOW = 1, 2, 3, 4

_BINARY = 0x2
"""RFC 6455 section 5.2."""


def rank_after(data: bytes, *, streaming: bool) -> int:
    """Return the rank of a newcomer that has sent `data`; `streaming`: it has a stream. 0: it is none any more."""
    if not streaming:
        return SLOW
    return 0 if data and data[0] & 0xF == _BINARY else SILENT
