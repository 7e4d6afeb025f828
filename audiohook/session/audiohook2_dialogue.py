"""Both sides' numbers in one `audiohook2` session, and what is said with them.

Each side numbers its text messages from 1 on, without a hole, and says with each which of the other's it has seen. What
is wrong with a message's place in the dialogue is found here; what it means is the session's. Everything that we say
goes through here, so that numbers are given in the order of sending, also to what had to wait for the peer's rate
limits (`audiohook2_rates.py`).
"""

from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_departure import BAD_SEQ, BAD_SERVERSEQ, BAD_SESSION_ID
from audiohook.session.audiohook2_rates import Pace
from audiohook.session.audiohook2_reading import Envelope, Reading
from audiohook.session.events import Command, SendText


class Dialogue:
    """The numbers of one session, and what waits to be said in it (`pace`)."""

    __slots__ = ("_client_seq", "_id", "_peer_id", "_server_seq", "pace")

    def __init__(self, session_id: str, now_ns: int) -> None:
        self._id = session_id
        self._peer_id = session_id.lower()
        self._client_seq = 0
        self._server_seq = 0
        self.pace = Pace(now_ns)

    def judge(self, reading: Reading) -> str:
        """Return what is wrong with a message, or nothing. A number out of turn is not adopted, any other is."""
        envelope = reading.envelope
        if envelope is None:
            return reading.fault
        if envelope.seq != self._client_seq + 1:
            return BAD_SEQ
        self._client_seq = envelope.seq
        if envelope.serverseq > self._server_seq:
            return BAD_SERVERSEQ
        if envelope.id.lower() != self._peer_id:
            return BAD_SESSION_ID
        return reading.fault

    def follow(self, envelope: Envelope) -> None:
        """Adopt a message's number without judging it: an end is agreed on, and all that is wanted is a `close`."""
        self._client_seq = max(self._client_seq, envelope.seq)

    def say(self, kind: type[wire.ServerMessage], parameters: wire.Parameters = wire.NOTHING) -> SendText:
        """Return the next message, numbered, to be sent now."""
        self._server_seq += 1
        message = wire.server_message(kind, self._id, self._server_seq, self._client_seq, parameters)
        return SendText(wire.encode(message))

    def answer(
        self, kind: type[wire.ServerMessage], now_ns: int, parameters: wire.Parameters = wire.NOTHING
    ) -> SendText:
        """Return an answer, to be sent now. It waits for nothing, but what waits makes room for it."""
        self.pace.answered(now_ns)
        return self.say(kind, parameters)

    def due(self, now_ns: int) -> list[Command]:
        """Return what has waited and need not wait any longer."""
        commands: list[Command] = []
        while (unasked := self.pace.next(now_ns)) is not None:
            if isinstance(unasked, wire.EventParameters):
                commands.append(self.say(wire.Event, unasked))
            else:
                commands.append(self.say(unasked))
        return commands
