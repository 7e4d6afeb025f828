"""The one thread in which an asynchronous hub waits: for every coroutine at once, by one futex_waitv.

Knows no stream and no desk. A coroutine hands in its words and a time, and is told in its event loop when one of them
has changed; it looks again itself. Invariants: the event loop waits for nothing but a lock that this thread never holds
while it sleeps; a coroutine that is cancelled leaves nothing behind; `close` ends the thread and every wait.

Theory of operation. The thread sleeps on the words of all waits and on one of its own, the kick, which is changed when
a wait is added (and on closing), so that a sleep which began without it ends. Everything shared is under one lock.
"""

import asyncio
import ctypes
import threading
import time
from collections import defaultdict

from audiohook.errors import HubUnavailable
from audiohook.memory.syscalls import futex_waitv, futex_wake
from audiohook.memory.waiting import MAX_WAIT_NS, TIMER_NS, Word, changed
from audiohook.units import NS_PER_S

MAX_WORDS = 128
"""What futex_waitv takes (FUTEX_WAITV_MAX), the kick included."""


class _Wait:
    """One coroutine's wait. Two may be equal and are not the same."""

    __slots__ = ("due_ns", "loop", "told", "words")

    def __init__(self, words: tuple[Word, ...], due_ns: int) -> None:
        self.words = words
        self.due_ns = due_ns
        self.loop = asyncio.get_running_loop()
        self.told: asyncio.Future[None] = self.loop.create_future()


class WaitingThread:
    """Waits for coroutines, of any number of event loops. The thread starts with the first wait."""

    def __init__(self, keep: object) -> None:
        """`keep` is what has the words mapped: it lives at least as long as the thread does."""
        self._keep = keep
        self._kick = ctypes.c_uint32(0)
        self._kick_address = ctypes.addressof(self._kick)
        self._lock = threading.Lock()
        self._waits: set[_Wait] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def wait(self, words: tuple[Word, ...], timeout_ns: int) -> None:
        """Wait until a word has changed or the time is over. HubUnavailable once this is closed."""
        if not words:
            await asyncio.sleep(timeout_ns / NS_PER_S)
            return
        wait = _Wait(words, time.monotonic_ns() + min(timeout_ns, MAX_WAIT_NS))
        with self._lock:
            if self._closed:
                raise HubUnavailable("the hub was closed while its streams were read")
            self._waits.add(wait)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audiohook-wait", daemon=True)
                self._thread.start()
            self._wake()
        try:
            await wait.told
        finally:
            with self._lock:
                self._waits.discard(wait)

    def close(self) -> None:
        """End every wait and the thread, which is awake at once. Never fails; more often does nothing."""
        with self._lock:
            self._closed = True
            self._wake()
        if self._thread is not None:
            self._thread.join()

    def _wake(self) -> None:
        self._kick.value += 1
        futex_wake(self._kick_address)

    def _run(self) -> None:
        while True:
            with self._lock:
                kick, closed, now_ns = self._kick.value, self._closed, time.monotonic_ns()
                over = [wait for wait in self._waits if closed or wait.due_ns <= now_ns or changed(wait.words)]
                self._waits.difference_update(over)
                words = {address: value for wait in self._waits for address, value in wait.words}
                due_ns = min((wait.due_ns for wait in self._waits), default=now_ns + MAX_WAIT_NS)
            _tell(over)
            if closed:
                return
            if len(words) >= MAX_WORDS:
                due_ns = min(due_ns, now_ns + TIMER_NS)
            shown = [(self._kick_address, kick), *list(words.items())[: MAX_WORDS - 1]]
            if not futex_waitv(shown, due_ns):
                time.sleep(TIMER_NS / NS_PER_S)


def _tell(over: list[_Wait]) -> None:
    """Let each wait's event loop know, with one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Wait]] = defaultdict(list)
    for wait in over:
        by_loop[wait.loop].append(wait)
    for loop, waits in by_loop.items():
        try:
            loop.call_soon_threadsafe(_finish, waits)
        except RuntimeError:
            pass  # that loop has been closed: nobody waits there any more


def _finish(waits: list[_Wait]) -> None:
    for wait in waits:
        if not wait.told.done():
            wait.told.set_result(None)
