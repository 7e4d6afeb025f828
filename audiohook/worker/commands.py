"""The worker's end of its command line: a source of the loop. Commands in, answers out; and the worker's own requests.

Knows no stream: what a command does is its handler's. Invariants: a bounded number of records a turn, so that calls are
not held up by whoever commands; every command that reached the handler is answered once, also if the handler raises;
`then` of a request is called exactly once, at the latest ASK_NS later; nothing is queued: an answer that the line does
not take is dropped, since whoever asked has a clock of his own, and a request that it does not take is refused at once.
"""

import logging
import os
import selectors
from collections.abc import Callable

from audiohook.control.commands import (
    READ_BYTES,
    Command,
    Reply,
    Status,
    Verb,
    command_event,
    decode,
    encode_command,
    encode_reply,
)
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card
from audiohook.memory.row import Row
from audiohook.net.loop import Loop
from audiohook.units import NS_PER_S

log = logging.getLogger("audiohook.worker")

RECORDS_A_TURN = 4
MAX_ASKED = 64
MAX_UNANSWERED = 1024
"""Commands that the handler may keep for later. The oldest is forgotten for one more: its asker gave up long ago."""

ASK_NS = 7 * NS_PER_S
"""The supervisor answers in six seconds, unless it is stopped."""

Handler = Callable[[Command], Reply | None]
"""Carries a command out, or says why not. None: it will be answered later, by `CommandPort.answer`."""

Answered = Callable[[Command, Reply], None]
"""Told of each command once it is answered, whatever the answer (`CommandRecord`)."""


class CommandPort:
    """Lives in the loop from its making to `close`, or to the line's end."""

    newcomer = 0

    def __init__(self, fd: int, loop: Loop, handler: Handler, answered: Answered) -> None:
        """`fd` is the seat's `command_fd`, and the port's from now on."""
        self._fd = fd
        self._loop = loop
        self._handler = handler
        self._answered = answered
        self._unanswered: dict[int, Command] = {}
        self._asked: dict[int, Callable[[Reply], None]] = {}
        self._last_ticket = 0
        self.closed = False
        loop.register(fd, selectors.EVENT_READ, self)

    # The loop's calls

    def on_ready(self, mask: int, now_ns: int) -> None:
        for _ in range(RECORDS_A_TURN):
            if self.closed or not self._take_one():
                return

    def on_bulk(self, now_ns: int) -> bool:
        return False

    # Answers and requests

    def answer(self, reply: Reply) -> None:
        """Answer a command for which the handler returned None. Does nothing if it has been answered before."""
        command = self._unanswered.pop(reply.ticket, None)
        if command is None:
            return
        # Recorded first: whoever has the answer in hand finds it counted and in the event ring.
        try:
            self._answered(command, reply)
        except Exception:
            log.exception("internal error: the record of a command")
        self._write(encode_reply(reply))

    def ask(self, verb: Verb, slot: int, epoch: int, then: Callable[[Reply], None]) -> None:
        """Have the worker that owns a stream do something; `then` is told what became of it, maybe before this returns.

        The answer's status says it all: OK, or why not (REFUSED: busy or too late, GONE: that stream is over).
        """
        self._last_ticket += 1
        ticket = self._last_ticket
        command = Command(ticket, verb, slot, epoch, pid=os.getpid())
        self._asked[ticket] = then
        if len(self._asked) > MAX_ASKED or not self._write(encode_command(command)):
            self._settle(command.refused("the command line is busy or closed"))
            return
        late = command.refused("the supervisor did not answer in time")
        self._loop.call_at(self._loop.clock() + ASK_NS, lambda _now_ns: self._settle(late))

    def close(self) -> None:
        """Leave the loop and close the line; requests that wait are told. More often does nothing."""
        if self.closed:
            return
        self.closed = True
        self._loop.unregister(self._fd)
        os.close(self._fd)
        self._unanswered.clear()
        for ticket in list(self._asked):
            self._settle(Reply(ticket, Status.REFUSED, 0, "the command line is closed"))

    # Records

    def _take_one(self) -> bool:
        """Take in one record; return whether there may be more."""
        try:
            record = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True  # the supervisor died with something unread; the next read says what there is still to say
        said = decode(record)
        if said is None:
            # The end of the line, or a supervisor of another version: either way nobody is there to talk to.
            log.log(logging.ERROR if record else logging.INFO, "the command line of this worker has ended")
            self.close()
            return False
        if isinstance(said, Command):
            self._obey(said)
        else:
            self._settle(said)
        return True

    def _obey(self, command: Command) -> None:
        if len(self._unanswered) >= MAX_UNANSWERED:
            del self._unanswered[next(iter(self._unanswered))]
        self._unanswered[command.ticket] = command
        try:
            reply = self._handler(command)
        except Exception:
            # Ours, and not the business of whoever asked. The calls go on.
            log.exception("internal error: a command")
            reply = command.refused("internal error")
        if reply is not None:
            self.answer(reply)

    def _settle(self, reply: Reply) -> None:
        then = self._asked.pop(reply.ticket, None)
        if then is None:
            return
        try:
            then(reply)
        except Exception:
            log.exception("internal error: the answer to a request")

    def _write(self, record: bytes) -> bool:
        if self.closed:
            return False
        try:
            os.write(self._fd, record)
        except OSError:  # no room, or the supervisor is gone, which the next read finds
            return False
        return True


class CommandRecord:
    """Counts a worker's commands, and tells the event ring who had what done to which stream.

    Of `event` there is a count only: transcripts come several a second and stream, and would push all else out of the
    ring, which is sized for lifecycles.
    """

    def __init__(self, arena: Arena, row: Row, tell: Callable[..., None]) -> None:
        """`tell(kind, **fields)` writes an event (`Intake.tell`)."""
        self._arena = arena
        self._row = row
        self._tell = tell

    def __call__(self, command: Command, reply: Reply) -> None:
        if reply.status is not Status.OK:
            self._row.count("commands_refused")
            return
        self._row.count("commands_done")
        if command.verb is Verb.EVENT:
            return
        # Also of a stream that this very command has ended: its card stays until the slot is used again.
        card = read_card(self._arena, command.slot)
        self._tell("command", stream=card["stream_id"], call=card["call_id"], **command_event(command))
