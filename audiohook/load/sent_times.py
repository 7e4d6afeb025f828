"""When each packet was sent, shared between the process that sends and the one that watches the shared memory.

Anonymous memory made before the fork: for each watched call a ring of 64-bit words, packet k in word k mod PACKETS. A
watcher that is more than PACKETS packets (82 s) behind would read the time of a later packet; by then the daemon's ring
(30 s by default) has long lapped it. Words are stored through `memoryview.cast("Q")`, which is one aligned store:
`struct.pack_into` shows other processes halves.
"""

import mmap
from collections.abc import Sequence

PACKETS = 4096
WORD_BYTES = 8


class SentTimes:
    """CLOCK_MONOTONIC nanoseconds of the packets of the `watched` calls; 0 = not sent yet."""

    def __init__(self, watched: Sequence[int]) -> None:
        self._map = mmap.mmap(-1, max(1, len(watched)) * PACKETS * WORD_BYTES)
        words = memoryview(self._map).cast("Q")
        self._columns = {call: words[place * PACKETS : (place + 1) * PACKETS] for place, call in enumerate(watched)}

    def column(self, call: int) -> memoryview | None:
        """Return the words of `call`, or None if it is not watched. Packet k is in word `k % PACKETS`."""
        return self._columns.get(call)
