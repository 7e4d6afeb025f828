"""The worker's loop: readiness, timers, and fairness between them. Knows no audio and no protocol.

One turn: wait; serve what is ready, 64 at a time; between those and at the turn's end the bulk lane; there and every
5 ms the timers and the chores (`every_turn`); every 5 ms and at the turn's end newcomers. What makes it fair:

- a socket is read a portion at a time: 4 KB, or a second of PCM (worker/feed.py). One that fills a read has more to
  say than a live call ever has: it leaves the selector and waits in the *bulk lane*, which is served round-robin for at
  most 2 ms a turn. So 100 peers that each send 30 s of audio at once delay live calls by 5 ms; with reads of 64 KB it
  was 1.6 s. Where turns are long, a third of the time is the lane's: else whoever gets into it in an overload waits
  there for ever, pings and all;
- newcomers, who have not spoken yet, and those who are gone without a word have a selector of their own. They are
  served at the turn's end, for 4 ms or a third of what the others took, and for 2 ms every 5 ms, in the order that they
  give themselves (worker/ranks.py). A call that begins costs as much as twenty packets: where a thousand came back in
  one second, those who had stayed waited for 250 of them at a time, and were taken for an overload. And where turns are
  long nobody waits for the end of one with his `open`;
- turns begin at least `pace_ns` apart (but not while the bulk lane waits): what comes within is served in one go.
  A wait, a wake-up and cold caches for each packet cost as much again as all that we do with it (docs/performance.md).
  What comes after a silence is served at once;
- timers are a heap of hints: a callback is called at or after its time, and one that finds itself early asks again.

Readiness is level-triggered. A source that is closed while its event is still in the batch is skipped; one that has
been served meanwhile finds nothing to read.
"""

import heapq
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S

EVENTS_A_STRETCH = 64
STRETCH_NS = 5 * NS_PER_MS
BULK_NS = 2 * NS_PER_MS
LONG_TURN_NS = 40 * NS_PER_MS
"""From here on a third of the time is the bulk lane's. Shorter ones are long because others use this processor."""

NEWCOMERS_NS = 4 * NS_PER_MS
NEWCOMERS_BETWEEN_NS = 2 * NS_PER_MS
LOOK_NS = 20 * NS_PER_MS
"""So long those are served who were ready at the last look, while there are any. In a rush a look finds hundreds, of
whom a dose serves five: one for each dose was an eighth of what a rush costs."""
LONGEST_WAIT_NS = 60 * NS_PER_S
"""One wait. epoll_wait(2) counts milliseconds in an int, so it refuses a timer that is due in a month."""


class Source(Protocol):
    """Something with a descriptor that the loop serves."""

    closed: bool
    newcomer: int
    """Not 0: others come first, nobody talks here yet; and of newcomers the smallest first. Who sets it to 0 tells the
    loop (`settle`)."""

    def on_ready(self, mask: int, now_ns: int) -> None:
        """Serve readiness; `mask` as in `selectors`."""

    def on_bulk(self, now_ns: int) -> bool:
        """Serve one portion in the bulk lane; return whether there may be more."""


def _rank(ready: tuple[selectors.SelectorKey, int]) -> int:
    newcomer: int = ready[0].data.newcomer
    return newcomer


class _Newcomers:
    """Stands for all newcomers in the selector of the others: one of them is ready. They are served elsewhere."""

    closed = False
    newcomer = 0

    def on_ready(self, mask: int, now_ns: int) -> None:
        return

    def on_bulk(self, now_ns: int) -> bool:
        return False


class Loop:
    """One thread, one selector. `every_turn(now_ns) -> latest time for the next turn` is called between stretches."""

    def __init__(
        self,
        every_turn: Callable[[int], int],
        clock: Callable[[], int] = time.monotonic_ns,
        pace_ns: int = 0,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pace_ns = pace_ns
        self._rest = rest
        self.started_ns = 0
        """When the work of the present turn, or of the last one, began."""
        self.selector = selectors.EpollSelector()
        self._newcomers = selectors.EpollSelector()
        self.selector.register(self._newcomers.fileno(), selectors.EVENT_READ, _Newcomers())
        self.clock = clock
        self._every_turn = every_turn
        self._waiting: deque[tuple[selectors.SelectorKey, int]] = deque()
        """Newcomers that were ready at the last look and have not been served yet."""
        self._look_ns = 0
        self._bulk: deque[Source] = deque()
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._timer_number = 0
        self._stopped = False
        self.idle = False
        """Whether the last wait ended without anything being ready: there was time to spare."""
        self.idle_ns = 0
        """When that was so last."""
        self.turns = 0
        self.turn_ns = 0
        """How long the last turn's work took, its wait aside."""
        self.bulk_turns = 0
        """How often the bulk lane was served; whoever reports it may set it back."""
        self.rush = False
        """Whether newcomers were left over when their time was up, last."""
        self.timer_lag_ns = 0
        """How late the most overdue timer of the last stretch was."""

    def register(self, fd: Any, mask: int, source: Source) -> None:
        (self._newcomers if source.newcomer else self.selector).register(fd, mask, source)

    def modify(self, fd: Any, mask: int, source: Source) -> None:
        self._selector_of(fd).modify(fd, mask, source)

    def unregister(self, fd: Any) -> None:
        self._selector_of(fd).unregister(fd)

    def settle(self, fd: Any) -> None:
        """Take a source that is no newcomer any more to the others, if it is in a selector at all."""
        if fd in self._newcomers.get_map():
            key = self._newcomers.unregister(fd)
            self.selector.register(fd, key.events, key.data)

    def defer(self, fd: Any) -> None:
        """Take a source that is to be served behind the others from now on to the newcomers."""
        key = self.selector.unregister(fd)
        self._newcomers.register(fd, key.events, key.data)

    def _selector_of(self, fd: Any) -> selectors.EpollSelector:
        return self._newcomers if fd in self._newcomers.get_map() else self.selector

    def join_bulk(self, source: Source) -> None:
        """Put a source, which must have left the selector, at the end of the bulk lane."""
        self._bulk.append(source)

    @property
    def bulk_waiting(self) -> int:
        return len(self._bulk)

    def call_at(self, when_ns: int, callback: Callable[[int], None]) -> None:
        """Call `callback(now_ns)` once, at `when_ns` or later. There is no way to cancel: it looks for itself."""
        self._timer_number += 1
        heapq.heappush(self._timers, (when_ns, self._timer_number, callback))

    def stop(self) -> None:
        """End `run` after this turn."""
        self._stopped = True

    def run(self) -> None:
        """Turn until `stop`."""
        while not self._stopped:
            self.turn()

    def turn(self) -> None:
        """Wait for something to do and do it."""
        until_ns = self._between(self.clock(), self.turn_ns // 2 if self.turn_ns > LONG_TURN_NS else BULK_NS)
        now_ns = self.clock()
        if self.started_ns + self._pace_ns > now_ns and not self._bulk and not self.idle:
            self._rest(max(0, min(self.started_ns + self._pace_ns, until_ns) - now_ns) / NS_PER_S)
            now_ns = self.clock()
        timeout_ns = 0 if self._bulk else min(max(0, until_ns - now_ns), LONGEST_WAIT_NS)
        ready = self.selector.select(timeout_ns / NS_PER_S)
        self.idle = not ready and not self._bulk
        self.started_ns = started_ns = self.clock()
        if self.idle:
            self.idle_ns = started_ns
        clock = self.clock
        now_ns = stretch_ns = started_ns
        for number, (key, mask) in enumerate(ready, 1):
            source: Source = key.data
            if not source.closed:
                source.on_ready(mask, now_ns)
            now_ns = clock()
            long = now_ns - stretch_ns > STRETCH_NS
            if not number % EVENTS_A_STRETCH:
                self._between(now_ns, BULK_NS)
                now_ns = clock()
            if long:
                # Not behind 64 only: held to a tenth of a core they take half a second, by which an overload is known
                # too late (make faults: overload).
                self._keep_time()
                self._serve_newcomers(NEWCOMERS_BETWEEN_NS)
                now_ns = stretch_ns = clock()
        self._serve_newcomers(max(NEWCOMERS_NS, (self.clock() - started_ns) // 3))
        self.turn_ns = self.clock() - started_ns
        self.turns += 1

    def _serve_newcomers(self, for_ns: int) -> None:
        if not self._newcomers.get_map():
            self._waiting.clear()
            self.rush = False
            return
        now_ns = self.clock()
        end_ns = now_ns + for_ns
        looked = False
        while now_ns < end_ns:
            if not looked and (not self._waiting or now_ns >= self._look_ns):
                self._waiting = deque(sorted(self._newcomers.select(0), key=_rank))
                self._look_ns = now_ns + LOOK_NS
                looked = True
            if not self._waiting:
                break
            key, mask = self._waiting.popleft()
            if not key.data.closed and key.data.newcomer:
                key.data.on_ready(mask, now_ns)
                now_ns = self.clock()
        self.rush = bool(self._waiting)

    def _between(self, now_ns: int, bulk_ns: int) -> int:
        """Serve the bulk lane, the timers and the chores; return when the next turn must be at the latest."""
        if self._bulk:
            self._serve_bulk(now_ns + bulk_ns)
        return self._keep_time()

    def _keep_time(self) -> int:
        self._serve_timers(self.clock())
        until_ns = self._every_turn(self.clock())
        return min(until_ns, self._timers[0][0] if self._timers else NEVER_NS)

    def _serve_bulk(self, end_ns: int) -> None:
        self.bulk_turns += 1
        began_ns = self.clock()
        while self._bulk:
            source = self._bulk.popleft()
            if not source.closed and source.on_bulk(began_ns):
                self._bulk.append(source)
            now_ns = self.clock()
            # Nor if another such portion would take longer than there is: 4 KB of Opus are nearly the whole time.
            if now_ns + (now_ns - began_ns) > end_ns:
                return
            began_ns = now_ns

    def _serve_timers(self, now_ns: int) -> None:
        timers = self._timers
        self.timer_lag_ns = max(0, now_ns - timers[0][0]) if timers else 0
        while timers and timers[0][0] <= now_ns:
            _, _, callback = heapq.heappop(timers)
            callback(now_ns)

    def close(self) -> None:
        self._newcomers.close()
        self.selector.close()
