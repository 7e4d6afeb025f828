"""What the calls that have a fault have in common: they know which, and their outcome says so.

A fault is a class that does one thing otherwise than `PlacedCall`, whose theory of operation holds for the rest; a call
without one is a `PlacedCall` and pays nothing for them. Contract: docs/load.md, "Faults".
"""

import msgspec

from audiohook.load.faults.planned import PlannedFault
from audiohook.load.placed import PlacedCall
from audiohook.load.reports import Ending


class FaultyCall(PlacedCall):
    """A call with which something goes wrong. `arm` comes before anything else."""

    _fault: PlannedFault
    _now_ns = 0
    """When the call was last told the time."""

    _recovered_ns = 0

    def arm(self, fault: PlannedFault, epoch_ns: int) -> None:
        """Take `fault`, the times of which count from `epoch_ns`."""
        self._fault = fault

    def on_event(self, mask: int, now_ns: int) -> None:
        self._now_ns = now_ns
        super().on_event(mask, now_ns)

    def on_deadline(self, now_ns: int) -> None:
        self._now_ns = now_ns
        super().on_deadline(now_ns)

    def _finish(self, ending: Ending, detail: str) -> None:
        super()._finish(ending, detail)
        assert self.outcome is not None
        self.outcome = msgspec.structs.replace(self.outcome, fault=self._fault.kind, recovered_ns=self._recovered_ns)
