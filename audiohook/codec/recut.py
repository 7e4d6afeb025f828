"""Notices that a stream of one-size packets comes in messages that are cut otherwise, and which size would mend it.

For streams with framing `message`. Such a stream makes bad sound and few errors: glued packets, and pieces of packets,
are valid Opus more often than not. Nothing is repaired here (`framing.py` says why). A number N comes out, once a
stream, for somebody to set `fixed:N`; where there is doubt, none does.

Theory of operation. If the bytes of all messages are packets of N bytes, the stream's bytes 0, N, 2N ... are TOC bytes,
and one sender's have their upper six bits (configuration, stereo) in common for long. Bytes of sound agree with them
one time in 64. So N is the smallest size at which all of a window agree, up to one change. Sizes alone would not do:
glued pairs, and pieces that fill a network's packet, have one size as good messages have. Three more conditions keep
good streams out:

- the messages do not fit: packets begin inside of messages, or messages inside of packets, FEWEST_WITNESSES in all;
- messages that begin inside of a packet mostly do so with different bytes. Good ones always begin alike: a tone's
  packets of 40, 41, 40, 41 bytes are also 81-byte packets, each in two pieces;
- the packets differ from one another, and so do those that begin inside of messages. In silence and tones all packets
  can be the same, and any byte of them can look like a TOC byte: a packet of 80 bytes like two of 40.

A window is WINDOW_BYTES or WINDOW_MESSAGES long, and two in a row must say the same: packets of variable size are all
of one while they are as large as they may be. The first is the beginning of the stream; others follow ever more rarely,
since what was silence, or changed its configuration, may be clear later. In between only bytes are counted, to know
where a packet begins: what does not fit from the stream's first byte on, `fixed:N` would not mend.

Good messages all begin alike, and then only the common divisors of their sizes are tried: all in all 0.15 to 0.2 µs a
packet in a call of a minute. Every size is tried only where a stream is suspect: 0.3 µs. A look at a window takes as
long as one or two packets do: calls that began at one instant (a network that comes back) would all look in the same
20 ms, five seconds later. With 400 of them packets were 27 ms late then. So each passes over up to SPREAD_MESSAGES
first.
Pure; one object a stream.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import gcd

from audiohook.codec.opus_packet import MAX_FRAME_BYTES

WINDOW_BYTES = 16_384
WINDOW_MESSAGES = 256

WAIT = 3
"""After a window so many times the messages of the stream are passed over that there have been."""

SPREAD_MESSAGES = 64
"""More than a second of them."""

SMALLEST_BYTES = 8
"""Smaller packets of one size have no speech in them."""

FEWEST_PACKETS = 12
FEWEST_WITNESSES = 3

FEWEST_STARTS = 8
"""So many messages that begin alike do so because they begin with a packet."""

_SENDERS_BITS = bytes(value >> 2 for value in range(256))
"""For `bytes.translate`. The other two bits of a TOC byte, the frame count code, change when an encoder pads."""


class RecutWatch:
    """Watches one stream's messages. After `take` has returned a number there is nothing more to watch.

    `number` is any, best another for each stream that is there: those of one kind do not all look at one instant.
    """

    __slots__ = ("_before", "_kept", "_seen", "_suspected", "_to_keep", "_to_pass")

    def __init__(self, number: int = 0) -> None:
        self._before = 0
        """Bytes of the stream before the window."""
        self._seen = self._to_pass = number % SPREAD_MESSAGES
        self._suspected: int | None = None
        self._to_keep = WINDOW_BYTES
        self._kept: list[bytes] = []

    def take(self, message: bytes) -> int | None:
        """Take the next message; return the size N of the packets if it is clear that messages cut them anew."""
        if self._to_pass:
            self._to_pass -= 1
            self._before += len(message)
            return None
        kept = self._kept
        kept.append(message)
        self._to_keep -= len(message)
        if self._to_keep > 0 and len(kept) < WINDOW_MESSAGES:
            return None
        return self._look()

    def _look(self) -> int | None:
        found = packet_size(b"".join(self._kept)[:WINDOW_BYTES], list(map(len, self._kept)), self._before)
        if found is not None and found == self._suspected:
            return found
        self._seen += len(self._kept)
        self._to_pass = WAIT * self._seen if found is None else 0
        self._seen += self._to_pass
        self._suspected = found
        self._begin_window()
        return None

    def pass_over(self, message_bytes: int) -> None:
        """Count a message that is not to be kept, nor what was kept before it."""
        self._before += message_bytes
        self._begin_window()

    def _begin_window(self) -> None:
        self._before += sum(map(len, self._kept))
        self._to_keep = WINDOW_BYTES
        self._kept.clear()


def packet_size(window: bytes, sizes: Sequence[int], before: int = 0) -> int | None:
    """Return the size of the packets that messages of `sizes` cut anew, or None: they do not, or it is not clear.

    `window` is the messages' bytes, the end possibly left out; `before` how many bytes the stream had before them.
    """
    bits = window.translate(_SENDERS_BITS)
    starts = list(accumulate(sizes[:-1], initial=0))
    del starts[bisect_left(starts, len(bits)) :]
    candidates: Iterable[int] = range(SMALLEST_BYTES, MAX_FRAME_BYTES + 1)
    if len(starts) >= FEWEST_STARTS and len({bits[at] for at in starts}) <= 2:
        common = gcd(before, *sizes)
        candidates = [size for size in range(SMALLEST_BYTES, min(common, MAX_FRAME_BYTES) + 1) if common % size == 0]
    for size in candidates:
        first = -before % size
        if first + (FEWEST_PACKETS - 1) * size >= len(bits):
            return None
        # Nearly all sizes fail here, before anything is copied.
        if not bits[first] == bits[first + size] == bits[first + 2 * size]:
            continue
        column = bits[first::size]
        if _agree(column) and _cut_anew(window, bits, starts, first, size):
            return size
    return None


def _cut_anew(window: bytes, bits: bytes, starts: Sequence[int], first: int, size: int) -> bool:
    """Whether messages that begin at `starts` do not fit packets of `size` that begin at `first`."""
    begins = set(starts)
    places = range(first, len(window) - size + 1, size)
    inside = [at for at in places if at not in begins]
    cut = [bits[at] for at in starts if (at - first) % size]
    alike = max(map(cut.count, set(cut)), default=0)
    return (
        len(inside) + len(cut) >= FEWEST_WITNESSES
        and 2 * alike <= len(cut) + 1
        and _differ([window[at : at + size] for at in places])
        and _differ([window[at : at + size] for at in inside])
    )


def _agree(column: bytes) -> bool:
    """Whether all are the same, up to one change: speech comes after silence, or an encoder finds another bandwidth."""
    same = column.count(column[0])
    return column == column[:1] * same + column[-1:] * (len(column) - same)


def _differ(packets: Sequence[bytes]) -> bool:
    return 2 * len(set(packets)) >= len(packets)
