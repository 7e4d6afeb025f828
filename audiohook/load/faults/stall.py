"""`stall`: the network takes nothing for a while, and then all of it at once. Nothing is lost.

For the daemon it is a peer that is silent, answers no ping, and then sends what was due meanwhile in one burst. A stall
that is longer than the dialect's rule allows ends the call, as it should: then what was sent before is readable.
"""

from selectors import EVENT_READ, EVENT_WRITE

from audiohook.load.faults.answered import AnsweredCall
from audiohook.load.faults.planned import PlannedFault
from audiohook.load.placed import State
from audiohook.load.reports import Ending
from audiohook.units import NEVER_NS


class StallingCall(AnsweredCall):
    """A call whose socket is let alone, both ways, from the instant on."""

    _from_ns = NEVER_NS
    _until_ns = NEVER_NS
    _stalled = False
    _owed = 0

    def arm(self, fault: PlannedFault, epoch_ns: int) -> None:
        super().arm(fault, epoch_ns)
        self._from_ns = epoch_ns + fault.instant_ns
        self._until_ns = self._from_ns + fault.lasts_ns

    @property
    def due_ns(self) -> int:
        return NEVER_NS if self._stalled else super().due_ns

    def send_packet(self, now_ns: int) -> bool:
        if self._from_ns <= now_ns < self._until_ns:
            self._let_alone()
            # The last packet of the call is the one that is due when this is asked next.
            self._owed = min(self._owed + 1, self.planned.packets - self.offered - 1)
            return False
        if not self._stalled:
            return super().send_packet(now_ns)
        self._take_up(now_ns)
        while self._owed and self.state is State.OPEN and super().send_packet(now_ns):
            self._owed -= 1
        sent = self.state is State.OPEN and super().send_packet(now_ns)
        if self.state is State.OPEN:
            self._ask(now_ns)
        return sent

    def hang_up(self, ending: Ending, now_ns: int) -> None:
        if self._stalled:
            self._take_up(now_ns)
        super().hang_up(ending, now_ns)

    def _let_alone(self) -> None:
        if not self._stalled:
            assert self._socket is not None
            self._selector.unregister(self._socket)
            self._stalled = True

    def _take_up(self, now_ns: int) -> None:
        """Go on: first with what has come meanwhile, then (the caller) with what is owed."""
        assert self._socket is not None
        self._stalled = False
        self._selector.register(self._socket, EVENT_READ | (EVENT_WRITE if self._waiting else 0), self)
        self._on_readable(now_ns)
