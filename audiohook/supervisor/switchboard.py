"""Brings each command to the worker that owns the stream, and each answer back to who asked. A pure state machine.

Knows no socket, no process and no memory: the lines are `command_lines.py`'s, and where a stream is, is asked of a
function. It parses nothing but the fixed-size records of `control/commands.py`: a payload passes through unread.

Theory of operation. A *place* is a child of the supervisor: `policy.DESK`, or the row of a worker. A command that
arrives is either answered here, at once (of the service as a whole by `on_service`, of a PARKED stream by `on_parked`),
or forwarded to the worker of the stream's row under a ticket of our own; the
table `ticket -> who waits` then has one entry, which exactly one of these ends: the worker's reply, the worker's end,
no room on the worker's line, or time. A reply that finds no entry comes too late and is dropped.

Invariants (tests/unit/test_switchboard.py): each well-formed command is answered exactly once, unless its origin has
left; a place is never sent more than MAX_WAITING_AT_A_WORKER commands that it has not answered, nor has one more than
MAX_WAITING_OF_AN_ORIGIN of its own waiting, so the table is bounded and one worker that is stopped does not use up the
room of the others; a reply is believed only from the worker that was asked; what is malformed, or not that place's to
say (a desk that replies, a worker that orders about), costs that place its line and nobody else anything.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from audiohook.control.commands import (
    SERVICE_VERBS,
    Command,
    Reply,
    Status,
    Verb,
    decode,
    encode_command,
    encode_reply,
)
from audiohook.supervisor.state import DESK
from audiohook.units import NS_PER_S

WAIT_NS = 6 * NS_PER_S
"""How long a worker has for its reply. The desk gives up before; this keeps the table from filling."""

MAX_WAITING_AT_A_WORKER = 128
MAX_WAITING_OF_AN_ORIGIN = 512


STRANDED_TEXT = "its worker is of a daemon that was killed, and the line to it is lost; the call goes on to its end"


class Whereabouts(msgspec.Struct, frozen=True):
    """Where a stream that can be commanded is: the slot's epoch, and the row of its worker, None if it is PARKED."""

    epoch: int
    row: int | None


class Send(msgspec.Struct, frozen=True):
    """Send this record to this place. `ticket` is ours if it is a command, 0 if it is a reply."""

    place: int
    record: bytes
    ticket: int = 0


class Waiting(msgspec.Struct, frozen=True):
    """A forwarded command: who waits, by which ticket of theirs, for whom, until when. `ticket` is ours."""

    ticket: int
    origin: int
    origin_ticket: int
    row: int
    due_ns: int


class Switchboard:
    """The table, and what happens to it."""

    def __init__(
        self,
        whereabouts: Callable[[int], Whereabouts | None],
        on_parked: Callable[[Command], Reply],
        on_refused: Callable[[int], None],
        last_ticket: int = 0,
    ) -> None:
        """`whereabouts(slot)` is None where no stream is, or one that is over; `on_parked` answers for a PARKED one.

        `on_refused` is told how many commands were just answered here with anything but OK. Tickets of ours are above
        `last_ticket`.
        """
        self._whereabouts = whereabouts
        self._on_parked = on_parked
        self._on_refused = on_refused
        self.on_service: Callable[[Command], Reply] = lambda command: command.not_available("nobody serves this here")
        """Answers commands that are for no stream (SERVICE_VERBS). The arbiter puts itself here."""
        self._places: set[int] = set()
        self._stranded: set[int] = set()
        self._waiting: dict[int, Waiting] = {}
        self._of_origin: Counter[int] = Counter()
        self._at_worker: Counter[int] = Counter()
        self._last_ticket = last_ticket

    @property
    def waiting(self) -> int:
        """How many commands have been forwarded and not been answered yet."""
        return len(self._waiting)

    @property
    def table(self) -> list[Waiting]:
        """Every forwarded command that has not been answered yet: what a reload takes along."""
        return list(self._waiting.values())

    @property
    def last_ticket(self) -> int:
        return self._last_ticket

    def take_on(self, table: Iterable[Waiting], last_ticket: int) -> None:
        """Go on where the switchboard of another image stopped. Its places have joined by now."""
        self._last_ticket = last_ticket
        for entry in table:
            self._enter(entry)

    def join(self, place: int) -> None:
        """A child has a line from now on."""
        self._places.add(place)
        self._stranded.discard(place)

    def strand(self, place: int) -> None:
        """A worker lives to which no line leads: the supervisor that had the other end was killed."""
        self._stranded.add(place)

    def leave(self, place: int) -> list[Send]:
        """A child's line is over: whoever waits for it is told, and what it waited for is forgotten."""
        self._places.discard(place)
        for ticket, entry in list(self._waiting.items()):
            if entry.origin == place:
                self._remove(ticket)
        lost = [ticket for ticket, entry in self._waiting.items() if entry.row == place]
        return self._end(lost, Status.GONE, "its worker ended before it answered")

    def receive(self, place: int, record: bytes, now_ns: int) -> list[Send] | None:
        """Take one record from a child; None if it is to lose its line."""
        said = decode(record)
        if isinstance(said, Command):
            # Only the desk speaks for people, and only workers know of newer connections.
            return self._route(place, said, now_ns) if (said.verb is Verb.TAKEOVER) == (place != DESK) else None
        return None if said is None or place == DESK else self._take_reply(place, said)

    def undelivered(self, send: Send) -> list[Send]:
        """The line had no room for this. Of a reply nothing can be said to anybody: its origin has its own clock."""
        return self._end([send.ticket], Status.REFUSED, "its worker is busy") if send.ticket in self._waiting else []

    def expire(self, now_ns: int) -> list[Send]:
        """Give up what has waited too long. Cheap: entries lie in the order in which they become due."""
        due = []
        for ticket, entry in self._waiting.items():
            if entry.due_ns > now_ns:
                break
            due.append(ticket)
        return self._end(due, Status.REFUSED, "its worker did not answer in time; it may still be carried out")

    # Commands

    def _route(self, origin: int, command: Command, now_ns: int) -> list[Send]:
        found = self._find(origin, command)
        if isinstance(found, Reply):
            if found.status is not Status.OK:
                self._on_refused(1)
            return [Send(origin, encode_reply(found.renumbered(command.ticket)))]
        self._last_ticket += 1
        ticket = self._last_ticket
        self._enter(Waiting(ticket, origin, command.ticket, found, now_ns + WAIT_NS))
        return [Send(found, encode_command(command.renumbered(ticket)), ticket)]

    def _find(self, origin: int, command: Command) -> int | Reply:
        """Return the row of the worker that the command is for, or the answer where there is none to be asked."""
        if command.verb in SERVICE_VERBS:
            return self.on_service(command)
        found = self._whereabouts(command.slot)
        if found is None or found.epoch != command.epoch:
            return command.gone()
        if found.row is None:
            return self._on_parked(command)
        if found.row in self._stranded:
            return command.not_available(STRANDED_TEXT)
        if found.row not in self._places:
            return command.gone("its worker is gone")
        if self._at_worker[found.row] >= MAX_WAITING_AT_A_WORKER:
            return command.refused("its worker is busy")
        if self._of_origin[origin] >= MAX_WAITING_OF_AN_ORIGIN:
            return command.refused("too many commands are waiting")
        return found.row

    def _take_reply(self, place: int, reply: Reply) -> list[Send]:
        entry = self._waiting.get(reply.ticket)
        if entry is None or entry.row != place:
            return []
        self._remove(reply.ticket)
        return [Send(entry.origin, encode_reply(reply.renumbered(entry.origin_ticket)))]

    # The table

    def _end(self, tickets: list[int], status: Status, text: str) -> list[Send]:
        if tickets:
            self._on_refused(len(tickets))
        entries = [self._remove(ticket) for ticket in tickets]
        return [Send(entry.origin, encode_reply(Reply(entry.origin_ticket, status, 0, text))) for entry in entries]

    def _enter(self, entry: Waiting) -> None:
        self._waiting[entry.ticket] = entry
        self._of_origin[entry.origin] += 1
        self._at_worker[entry.row] += 1

    def _remove(self, ticket: int) -> Waiting:
        entry = self._waiting.pop(ticket)
        for counter, key in ((self._of_origin, entry.origin), (self._at_worker, entry.row)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        return entry
