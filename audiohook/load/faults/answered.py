"""For faults after which a call goes on: a ping is sent behind them, and its pong says that all before it was read.

RFC 6455 section 5.5.3 lets an endpoint answer only the newest of several pings; so a pong answers the older ones, too.
"""

from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.faults.planned import PlannedFault
from audiohook.load.reports import Ending

NUMBER_BYTES = 8


class AnsweredCall(FaultyCall):
    """A call that asks for signs of life; without the last of them it has not recovered."""

    _asked: dict[int, int]
    """When each ping was sent that nothing has answered yet, by its number, in order."""

    _asked_times = 0

    def arm(self, fault: PlannedFault, epoch_ns: int) -> None:
        super().arm(fault, epoch_ns)
        self._asked = {}

    def _ask(self, now_ns: int) -> None:
        self._asked_times += 1
        self._asked[self._asked_times] = now_ns
        self._send_control(self._websocket.ping(self._asked_times.to_bytes(NUMBER_BYTES, "big")))

    def _on_pong(self, payload: bytes, now_ns: int) -> None:
        number = int.from_bytes(payload, "big") if len(payload) == NUMBER_BYTES else 0
        for answered in [asked for asked in self._asked if asked <= number]:
            self._recovered_ns = max(self._recovered_ns, now_ns - self._asked.pop(answered))

    def _finish(self, ending: Ending, detail: str) -> None:
        if ending == "completed" and self._asked:
            super()._finish("unrecovered", f"no pong for a ping behind the {self._fault.kind}")
        else:
            super()._finish(ending, detail)
