"""What the commands that arrive from the hub do to a worker's calls.

Finds the call by slot and epoch, asks its session or its intake, and says what became of it. Knows neither who may
command (the desk's business) nor how commands travel (`commands.py`).
"""

from collections.abc import Callable, Mapping

import msgspec

from audiohook.call import Session
from audiohook.control.commands import Command, Reply, Status, Verb
from audiohook.errors import CALL_ENDED, DISCONNECTED, SUPERSEDED, Closure
from audiohook.session.audiohook2 import AudioHook2Session
from audiohook.session.audiohook2_rates import Sending
from audiohook.session.context import ContextSession
from audiohook.worker.connection import Connection
from audiohook.worker.stream_intake import StreamIntake

WRONG_DIALECT = "the peer's dialect has no such message"
OWN_PAUSES = "the peer's dialect says itself when a call is on hold"

_SAID: Mapping[Sending, str] = {
    Sending.FULL: "too many events wait already: the peer takes five a second",
    Sending.INVALID: "not an entity as the protocol documents it",
    Sending.NOT_OPEN: "the session is not open",
}


class Verbs:
    """The handler of a worker's command port. `calls` has the connection that last had a stream in each slot."""

    def __init__(self, calls: Mapping[int, Connection], clock: Callable[[], int]) -> None:
        self._calls = calls
        self._clock = clock

    def __call__(self, command: Command) -> Reply:
        connection = self._calls.get(command.slot)
        stream = None if connection is None else connection.stream
        if connection is None or stream is None or (stream.slot, stream.epoch) != (command.slot, command.epoch):
            return command.gone()
        return _ACTS[command.verb](command, connection, stream, self._clock())


def _say(command: Command, connection: Connection, now_ns: int, act: Callable[[AudioHook2Session], Sending]) -> Reply:
    """Let a session of the dialect that has messages for it say something to the peer."""

    def ask(session: Session) -> Sending | None:
        return act(session) if isinstance(session, AudioHook2Session) else None

    said = connection.ask(ask, now_ns)
    if said is None:
        return command.not_available(WRONG_DIALECT)
    if said in _SAID:
        return command.refused(_SAID[said])
    return command.done(text="queued" if said is Sending.QUEUED else "")


def _pause(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    return _say(command, connection, now_ns, lambda session: session.pause(now_ns))


def _resume(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    return _say(command, connection, now_ns, lambda session: session.resume(now_ns))


def _event(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    try:
        entity = msgspec.json.decode(command.payload)
    except (msgspec.DecodeError, RecursionError):
        return command.refused(_SAID[Sending.INVALID])
    return _say(command, connection, now_ns, lambda session: session.send_event([entity], now_ns))


def _hold(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    return _tell_hold(command, connection, now_ns, ContextSession.hold)


def _unhold(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    return _tell_hold(command, connection, now_ns, ContextSession.unhold)


def _tell_hold(
    command: Command, connection: Connection, now_ns: int, tell: Callable[[ContextSession, int], None]
) -> Reply:
    def ask(session: Session) -> bool:
        if isinstance(session, ContextSession):
            tell(session, now_ns)
        return isinstance(session, ContextSession)

    return command.done() if connection.ask(ask, now_ns) else command.not_available(OWN_PAUSES)


def _take_over(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    connection.give_way(SUPERSEDED, now_ns)
    return command.done()


def _end(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    return _end_for(CALL_ENDED, command, connection, now_ns)


def _disconnect(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    return _end_for(DISCONNECTED, command, connection, now_ns)


def _end_for(why: Closure, command: Command, connection: Connection, now_ns: int) -> Reply:
    # "completed", not an error: where reconnecting is enabled, the peer would take an error for an invitation.
    reply = _say(command, connection, now_ns, lambda session: session.disconnect("completed", "", now_ns))
    if reply.status is Status.NOT_AVAILABLE:
        connection.close(why, now_ns)
        return command.done()
    return reply


def _mask(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    first = stream.mask(now_ns)
    if command.argument > 0:
        wiped, end = stream.mask_back(command.argument)
        stream.tell("wiped", first_frame=wiped, frames=end - wiped)
        first = min(first, wiped)
    return command.done(first)


def _unmask(command: Command, connection: Connection, stream: StreamIntake, now_ns: int) -> Reply:
    return command.done(stream.unmask())


_ACTS: Mapping[Verb, Callable[[Command, Connection, StreamIntake, int], Reply]] = {
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.EVENT: _event,
    Verb.DISCONNECT: _disconnect,
    Verb.HOLD: _hold,
    Verb.UNHOLD: _unhold,
    Verb.END: _end,
    Verb.TAKEOVER: _take_over,
    Verb.MASK: _mask,
    Verb.UNMASK: _unmask,
}
