"""When a worker listens: only while it has about as few calls as the least loaded of the healthy workers.

Reads the worker table, decides, passes nothing on. One listener is shared by all workers, so whoever listens gets the
next connection; 1,000 calls on 4 workers lie 1.6 % apart (tests/process/test_daemon_placement.py). A worker whose
heartbeat is old counts as absent: it may be stopped, and would hold everybody else back.

Two more rules, both for the sake of connections that would be refused although somebody else has room: a worker that is
leaving listens only if nobody stays, and one that has as many streams as it may only if the others have as well. So at
every moment somebody listens.
"""

from collections.abc import Callable

from audiohook.config import Admission
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.units import NS_PER_MS

STALE_NS = 250 * NS_PER_MS


def allowance(least: int) -> int:
    """Return the largest live count with which a worker still listens, when the least loaded one has `least`."""
    return least + max(3, least // 64)


class Placement:
    """The rule, for one worker."""

    def __init__(self, arena: Arena, row: int, admission: Callable[[], Admission] = Admission) -> None:
        """`admission()` says how many streams one worker may have, at this instant."""
        self._words = arena.words
        self._admission = admission
        sizes = arena.geometry
        self._own = layout.row_word(sizes, row, "live")
        self._own_state = layout.row_word(sizes, row, "state")
        self._others = [
            tuple(layout.row_word(sizes, other, name) for name in ("state", "heartbeat_ns", "live"))
            for other in range(sizes.rows)
            if other != row
        ]

    def may_accept(self, now_ns: int) -> bool:
        words, own = self._words, self._words[self._own]
        least = None
        for state, heartbeat, live in self._others:
            if words[state] == layout.ROW_ACCEPTING and now_ns - words[heartbeat] < STALE_NS:
                least = words[live] if least is None else min(least, words[live])
        if least is None:
            return True
        most = self._admission().streams_per_worker
        if words[self._own_state] == layout.ROW_DRAINING or (most and own >= most > least):
            return False
        return own <= allowance(min(own, least))
