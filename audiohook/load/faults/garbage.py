"""`garbage`: random bytes, before the request, within the upgrade, or as frames in the middle of a call, in turn.

They are sent on and on, a chunk a look of the caller, until the daemon ends the connection in whatever way: a refusal,
a close frame, a reset. What was sent before as packets must be readable; of what is heard of the garbage nothing is
said.
"""

import random

from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.faults.planned import PlannedFault
from audiohook.load.placed import State
from audiohook.load.reports import Ending

PHASES = ("before the request", "within the upgrade", "as frames")
CHUNK_BYTES = 4096
ENDED_BY_SERVER = frozenset({"refused", "connect_failed", "ended_by_server", "lost", "not_opened"})


class GarbageCall(FaultyCall):
    """Speaks properly up to its phase, then nonsense."""

    _begun_garbage_ns = 0
    _random: random.Random

    def arm(self, fault: PlannedFault, epoch_ns: int) -> None:
        super().arm(fault, epoch_ns)
        self._random = random.Random(fault.draw)

    @property
    def phase(self) -> str:
        return PHASES[self._fault.rank % len(PHASES)]

    @property
    def due_ns(self) -> int:
        return self.deadline_ns if self._begun_garbage_ns else super().due_ns

    def hang_up(self, ending: Ending, now_ns: int) -> None:
        if self._begun_garbage_ns:
            self._finish(ending, self.phase)
        elif ending == "completed":
            self._begin_garbage(now_ns)
        else:
            super().hang_up(ending, now_ns)

    def on_deadline(self, now_ns: int) -> None:
        self._now_ns = now_ns
        if not self._begun_garbage_ns:
            super().on_deadline(now_ns)
        elif now_ns - self._begun_garbage_ns > self._fault.found_within_ns:
            self._finish("unrecovered", f"{self.phase}: not ended by the server in time")
        elif not self._waiting:
            self._send_control(self._random.randbytes(CHUNK_BYTES))

    def _on_connected(self) -> None:
        super()._on_connected()
        if self.state is State.UPGRADING and self.phase != PHASES[2]:
            self._begin_garbage(self._now_ns)

    def _send_request(self, request: bytes) -> None:
        if self.phase == PHASES[1]:
            super()._send_request(request[: len(request) // 2])
        elif self.phase == PHASES[2]:
            super()._send_request(request)

    def _begin_garbage(self, now_ns: int) -> None:
        self._begun_garbage_ns = self.deadline_ns = now_ns

    def _finish(self, ending: Ending, detail: str) -> None:
        if self._begun_garbage_ns and ending in ENDED_BY_SERVER:
            self._recovered_ns = max(1, self._now_ns - self._begun_garbage_ns)
            super()._finish("faulted", f"{self.phase}: {detail}")
        else:
            super()._finish(ending, detail)
