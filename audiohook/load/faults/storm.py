"""`storm`: beside its audio, a call sends bursts of pings, texts and empty messages, each in a segment of its own.

BURST messages every INTERVAL_NS are 1,000 a second, where a call has 50 packets of audio. Texts are what the dialect
must put up with: in `audiohook2` messages of a type that it does not know, with the right `seq`; in `context` JSON and
what is none. A ping behind each burst measures how long the daemon needs for it.
"""

from audiohook.load.dialogue import AudioHook2Dialogue
from audiohook.load.faults.answered import AnsweredCall
from audiohook.load.faults.planned import PlannedFault
from audiohook.load.placed import State
from audiohook.session.audiohook2_messages import ClientMessage, Nothing
from audiohook.units import NS_PER_MS

INTERVAL_NS = 200 * NS_PER_MS
BURST = 200
CONTEXT_TEXTS = ('{"type":"x-storm"}', "not JSON")


class Unheard(ClientMessage, frozen=True, kw_only=True, tag="x-storm"):
    """A message of a type that nobody knows."""

    parameters: Nothing


class StormCall(AnsweredCall):
    """A call in all respects, and a nuisance."""

    _next_ns = 0

    def arm(self, fault: PlannedFault, epoch_ns: int) -> None:
        super().arm(fault, epoch_ns)
        self._next_ns = epoch_ns + fault.draw % INTERVAL_NS

    def send_packet(self, now_ns: int) -> bool:
        sent = super().send_packet(now_ns)
        if now_ns >= self._next_ns and self.state is State.OPEN:
            self._next_ns = now_ns + INTERVAL_NS
            self._burst(now_ns)
        return sent

    def _burst(self, now_ns: int) -> None:
        for number in range(BURST // 4):
            self._send_control(self._websocket.ping(b"storm"))
            self._send_control(self._websocket.binary(b""))
            for place in range(2):
                if isinstance(self._dialogue, AudioHook2Dialogue):
                    self._dialogue.say(Unheard)
                else:
                    self._dialogue.texts.append(CONTEXT_TEXTS[(number + place) % 2])
            self._follow(now_ns)
        self._ask(now_ns)
