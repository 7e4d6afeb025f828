"""What the log says of peers that got no stream, and of what else a peer can make happen as often as it likes.

One line a kind at once, then one a minute with their number and the last one's address: garbage from a thousand peers
is two lines. Counters have every one of them.
"""

import logging
import time
from collections.abc import Callable

from audiohook.errors import FORBIDDEN_ADDRESS, REFUSALS, UNAUTHORIZED
from audiohook.net.log_limit import LogLimit
from audiohook.units import NS_PER_S

log = logging.getLogger("audiohook.worker")

LOOK_EVERY_NS = NS_PER_S

_REFUSED = frozenset(refusal.slug for refusal in REFUSALS) - {FORBIDDEN_ADDRESS.slug, UNAUTHORIZED.slug}
"""`access.py` notes the others: it knows what was wrong."""


class Strangers:
    """One a worker."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._limit = LogLimit[str]()
        self._last: dict[str, tuple[str, str]] = {}
        self._looked_ns = 0

    def note(self, kind: str, text: str, address: str) -> None:
        """Something of this kind has happened. `text` has nothing in it that a peer has written."""
        self._last[kind] = (text, address)
        times = self._limit.note(kind, self._clock())
        if times is not None:
            self._write(kind, times)

    def note_answer(self, kind: str, address: str) -> None:
        """A request was answered with a refusal, or with something that needs no line."""
        if kind in _REFUSED:
            self.note(kind, f"peer refused reason={kind}", address)

    def turn(self, now_ns: int) -> None:
        """Say, now and then, what is still unsaid."""
        if now_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        for kind, times in self._limit.overdue(now_ns):
            self._write(kind, times)

    def _write(self, kind: str, times: int) -> None:
        text, address = self._last[kind]
        log.warning("%s times=%d from=%s", text, times, address)
