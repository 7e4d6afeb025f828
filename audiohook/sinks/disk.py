"""What the recorder does when the disk refuses: it says so, in words, and goes on.

One line a minute for each reason, not one a block: a full disk under a thousand streams is one trouble. Knows no
stream. Usable from several threads.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audiohook.units import NS_PER_S

log = logging.getLogger("audiohook.record")

TELL_AGAIN_NS = 60 * NS_PER_S


@dataclass
class Attempt:
    """Whether what was tried has been done."""

    good: bool = True


class Disk:
    """The disk of one recorder: when it was last told that it refuses, by reason (errno)."""

    def __init__(self) -> None:
        self._told_ns: dict[int | None, int] = {}

    @contextmanager
    def trying(self, path: str) -> Iterator[Attempt]:
        """Do something with a file. An OSError is told, goes no further, and makes the attempt no good."""
        attempt = Attempt()
        try:
            yield attempt
        except OSError as error:
            attempt.good = False
            now_ns = time.monotonic_ns()
            if now_ns - self._told_ns.get(error.errno, -TELL_AGAIN_NS) >= TELL_AGAIN_NS:
                self._told_ns[error.errno] = now_ns
                log.error(
                    "cannot write %s: %s; until that ends audio is missing from recordings (unwritten_frames) and the "
                    "calls go on",
                    path,
                    error.strerror or error,
                )
