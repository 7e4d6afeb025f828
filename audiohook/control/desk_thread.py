"""What an asynchronous hub asks of the desk, in a thread of its own: the desk may be slow, an event loop must not be.

A watch is wanted by loops over a stream, counted, and given back with the last of them. Whether a stream is watched is
answered from memory: No until the desk has said Yes. It is asked again once a second, since the desk may have died:
then nobody wakes the waits on a stream's own word, which end by their time.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from audiohook.control.desk_client import DeskClient
from audiohook.units import NS_PER_S

ASK_AGAIN_NS = NS_PER_S

Key = tuple[int, int]
Result = TypeVar("Result")


class DeskThread:
    """Requests to one desk, one after the other. All methods are for the event loop, and none waits there."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audiohook-desk")
        self._wanted: Counter[Key] = Counter()
        self._asked_ns: dict[Key, int] = {}
        self._watched: set[Key] = set()
        self.closed = False

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Have something done in the thread. RuntimeError once this is closed."""
        return self._thread.submit(work)

    def want(self, key: Key) -> None:
        """A loop over the stream (slot, epoch) begins."""
        self._wanted[key] += 1

    def release(self, desk: DeskClient, key: Key) -> None:
        """A loop over the stream has ended: the last one gives the watch back."""
        self._wanted[key] -= 1
        if self._wanted[key] > 0:
            return
        del self._wanted[key]
        if self._asked_ns.pop(key, None) is not None and not self.closed:
            self._thread.submit(self._unwatch, desk, key)

    def watched(self, desk: DeskClient, key: Key) -> bool:
        """Return whether the desk said that the stream's own word is woken; have it asked if it is time to."""
        now_ns = time.monotonic_ns()
        if not self.closed and now_ns - self._asked_ns.get(key, -ASK_AGAIN_NS) >= ASK_AGAIN_NS:
            self._asked_ns[key] = now_ns
            self._thread.submit(self._watch, desk, key)
        return key in self._watched

    def close(self) -> None:
        """Take no more requests; the thread ends when those before are done."""
        self.closed = True
        self._thread.shutdown(wait=False)

    # ---------------------------------------------------------------------------------------- in the thread

    def _watch(self, desk: DeskClient, key: Key) -> None:
        desk.check()
        if desk.watch(*key):
            self._watched.add(key)
        else:
            self._watched.discard(key)

    def _unwatch(self, desk: DeskClient, key: Key) -> None:
        self._watched.discard(key)
        desk.unwatch(*key)
