"""Is this worker too slow for what it is sent, and how much audio has to go for that? Integer clocks in, a share out.

Knows turns of a loop and nothing of sockets, packets or streams; what it finds out is told to whoever it is given.

Theory of operation
-------------------
Every connection that has something to say is served once a turn, so a turn's length is how late everybody's audio and
answers are. A long turn alone is no overload: after a stop of the process, a stall of the network or a burst at the
start of a call there is a backlog, and turns are long until it is worked off. But then each turn is shorter than the
one before, since in a turn of T comes less than T's worth of work. Under overload, and only then, turns are long and
*do not shrink*, and no wait ends without work. So:

- a turn that is longer than `lag_ns`, follows no idle wait and one of at least a quarter of `lag_ns`, and is not
  shorter than that by SHRINKING raises the share of packets that are not decoded: by STEP, or by as much as the next
  one would be too long if it grew as this one did, and SPARED is what each of them saves. That is known as soon as it
  has lasted so long (`during`), and acted upon then: at twice the load turns double, and whoever waits for the end of
  one that is too long, or takes small steps, is too late for who asks something meanwhile (make faults: overload). But
  in a rush, while more calls come and go than their part of a turn has time for, the one before must have been longer
  than `lag_ns`: a rush is over soon, and those who stayed are not to pay for it (make faults: reconnect);
- such a turn that has lasted for a quarter longer still decodes nothing more until it is over: what it takes longer,
  everybody waits for twice, in this turn and for what has come by the next. The share behind it is as above;
- a turn under half of `lag_ns` takes a step back, an idle wait two: there is room again. But only once in half of
  `lag_ns`: behind a long turn come short ones in which next to nothing has arrived, and say nothing;
- in between the share stays.

`share` is in 1/FULL. It says of how many of a connection's packets in a turn the oldest are not decoded; their time is
kept, as a gap of cause `dropped` (worker/stream_intake.py). Answers never wait for it: pings, `open` and closes are
served in the turn in which they are read.

`refusing`: new calls are told 503 while anything is shed, and before that: while turns of more than half of `lag_ns` do
not shrink and nothing has been idle for BUSY_NS. The rush after a network comes back, a thousand calls at once, is over
before that, and refusing it would cost the calls that it would save.
"""

import logging
from collections.abc import Callable

from audiohook.units import NS_PER_MS, NS_PER_S

log = logging.getLogger("audiohook.worker")

FULL = 16
STEP = 2
BUSY_NS = NS_PER_S
SHRINKING = 0.9
"""A turn that is shorter than so much of the one before works a backlog off."""

SPARED = 0.75
"""Of what a packet costs, if it is not decoded: it is read, unmasked and accounted for all the same."""

NOT_LONG = -1

MOST_GROWTH = 2.0
"""A turn is not expected to grow by more: some of what made it long comes once."""


class Overload:
    """One worker's. `turn` is to be called once for each turn of the loop."""

    def __init__(self, lag_ns: int) -> None:
        self.lag_ns = lag_ns
        self._last_turn_ns = 0
        self._last_growth = 1.0
        self._eased_ns = 0
        self._raised = False
        self._share_behind = NOT_LONG
        """The share behind the present turn, once it has lasted so long that nothing more is decoded in it."""
        self.share = 0
        """How many of 16 packets are not decoded."""
        self.refusing = False

    def during(self, turn_ns: int, *, rush: bool = False) -> None:
        """Take note of a turn that has worked for `turn_ns` and is not over."""
        if self._raised and turn_ns > self.lag_ns * 5 // 4 and self._share_behind == NOT_LONG:
            self._share_behind, self.share = self.share, FULL
        # A first long turn has nothing to be compared with: its predecessor was short, whatever made it long. Rejected:
        # half of the limit. Where turns went from 0.1 to 0.5 s, that was known in the next one, half a second later.
        long_before = self._last_turn_ns > (self.lag_ns if rush else self.lag_ns // 4)
        if self._raised or turn_ns <= self.lag_ns or not long_before or self._shrinks(turn_ns):
            return
        self._raised = True
        # What is not over may grow yet: as the one before did, at least.
        growth = min(max(turn_ns / self._last_turn_ns, self._last_growth), MOST_GROWTH)
        too_long = 1 - self.lag_ns / (turn_ns * growth)
        self.share = min(FULL, self.share + max(STEP, int(FULL * too_long / SPARED)))

    def turn(self, turn_ns: int, now_ns: int, *, idle: bool, idle_ns: int, rush: bool = False) -> None:
        """Take note of a turn that worked for `turn_ns`; `idle`: its wait had ended with nothing to do.

        `idle_ns` is when that was so last, this turn's wait included.
        """
        if not idle:
            self.during(turn_ns, rush=rush)
        if self._share_behind != NOT_LONG:
            self.share, self._share_behind = self._share_behind, NOT_LONG
        eases = (idle or turn_ns < self.lag_ns // 2) and now_ns - self._eased_ns >= self.lag_ns // 2
        if self.share and eases:
            self._eased_ns = now_ns
            self.share = max(0, self.share - (2 * STEP if idle else STEP))
        long_and_not_shrinking = min(turn_ns, self._last_turn_ns) > self.lag_ns // 2 and not self._shrinks(turn_ns)
        self.refusing = self.share > 0 or (long_and_not_shrinking and now_ns - idle_ns > BUSY_NS)
        self._last_growth = turn_ns / max(1, self._last_turn_ns)
        self._last_turn_ns = turn_ns
        self._raised = False

    def _shrinks(self, turn_ns: int) -> bool:
        return turn_ns < SHRINKING * self._last_turn_ns


QUIET_NS = 2 * NS_PER_S
"""So long nothing has been shed before an overload is said to be over: it comes and goes around its limit."""


class OverloadNotice:
    """Tells readers and operators when audio began to be shed, and when that was over, once, however it flickers."""

    def __init__(self, tell: Callable[..., None]) -> None:
        """`tell(kind, **fields)` writes an event of the worker."""
        self._tell = tell
        self._began_ns = 0
        self._last_ns = 0

    def turn(self, overload: Overload, now_ns: int) -> None:
        if overload.share:
            self._last_ns = now_ns
            if not self._began_ns:
                self._began_ns = now_ns
                log.warning("overload: audio is shed, its time kept; turn limit %d ms", overload.lag_ns // NS_PER_MS)
                self._tell("overload_began")
        elif self._began_ns and now_ns - self._last_ns >= QUIET_NS:
            seconds = round((self._last_ns - self._began_ns) / NS_PER_S, 3)
            self._began_ns = 0
            log.warning("overload is over seconds=%.1f", seconds)
            self._tell("overload_ended", seconds=seconds)
