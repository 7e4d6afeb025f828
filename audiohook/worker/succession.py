"""The newest connection of a call wins: whoever still holds its stream is closed before the new one is admitted.

Only in the dialect `context`, where a peer that lost its connection simply comes back, often before anybody here has
noticed the loss. The stream of the same call, participant and direction takes what still lies unread, is closed with
4409 and PARKED, so that the new one can continue it (`ancestry.py`). Is it this worker's, that happens at once; is it
another's, that one is asked, and the new connection waits for the answer, at most WAIT_NS: then its stream begins
without a predecessor. Audio is never refused for it, and at no time are two connections told that they are the call's.

Where the direction is not said, two connections of one participant may be the two directions of a call: there only a
connection of the same session takes the place of one that is open.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from audiohook.control.commands import Reply, Verb
from audiohook.errors import SUPERSEDED, Closure
from audiohook.memory import layout
from audiohook.memory.pool import SlotPool
from audiohook.net.loop import Loop
from audiohook.session.context import DIALECT
from audiohook.session.events import Identity
from audiohook.units import NS_PER_S
from audiohook.worker.ancestry import same_way

WAIT_NS = NS_PER_S

_OPEN_STATES = (layout.LIVE, layout.PAUSED, layout.HELD)


class Closable(Protocol):
    """A connection, as far as it can be ended."""

    def give_way(self, why: Closure, now_ns: int) -> None: ...


Ask = Callable[[Verb, int, int, Callable[[Reply], None]], None]
"""`CommandPort.ask`: have the worker that owns a stream (slot, epoch) do something, and be told what became of it."""


class Succession:
    """One a worker. `calls` has the connection that last had a stream in each slot."""

    def __init__(self, pool: SlotPool, calls: Mapping[int, Closable], ask: Ask, loop: Loop) -> None:
        self._pool = pool
        self._calls = calls
        self._ask = ask
        self._loop = loop

    def clear_way(self, identity: Identity, now_ns: int, then: Callable[[int], None]) -> bool:
        """Close what is in the way of a new stream; return whether that is done.

        If not, `then` is called with the time once it is, or after WAIT_NS, and only once.
        """
        if identity.dialect != DIALECT:
            return True
        foreign = []
        for card in same_way(self._pool, identity, _OPEN_STATES):
            if identity.direction == "unknown" and card["session_id"] != identity.session_id:
                continue
            if card["slot"] in self._pool.held:
                self._calls[card["slot"]].give_way(SUPERSEDED, now_ns)
            else:
                foreign.append(card)
        if not foreign:
            return True
        self._wait_for(foreign, now_ns, then)
        return False

    def _wait_for(self, foreign: list[dict[str, Any]], now_ns: int, then: Callable[[int], None]) -> None:
        waiting = {(card["slot"], card["epoch"]) for card in foreign}
        called = False

        def go_on(at_ns: int) -> None:
            nonlocal called
            if not called:
                called = True
                then(at_ns)

        def answered(key: tuple[int, int], _reply: Reply) -> None:
            waiting.discard(key)
            if not waiting:
                go_on(self._loop.clock())

        self._loop.call_at(now_ns + WAIT_NS, go_on)
        for key in list(waiting):
            self._ask(Verb.TAKEOVER, *key, partial(answered, key))
