"""The commands that the desk has passed on and is waiting for: which client asked, which streams have answered.

PURE: knows neither sockets nor memory; time is an argument. Invariants (tests/unit/test_commands_errands.py): each
errand that is begun is answered exactly once, at the latest ERRAND_NS later, unless its client has left; a client has
at most MAX_OF_A_CLIENT, a user with all his connections at most MAX_STREAMS_OF_A_USER streams to wait for, and all
together MAX_STREAMS, so that one who multiplies leaves room for others; an answer names every stream that it was about
and what became of it there.
"""

from typing import Any

import msgspec

from audiohook.control import protocol
from audiohook.control.commands import Command, Reply, Status, Verb
from audiohook.control.requests import Order
from audiohook.units import NEVER_NS, NS_PER_S

ERRAND_NS = 5 * NS_PER_S
MAX_OF_A_CLIENT = 8
MAX_STREAMS_OF_A_USER = 128
MAX_STREAMS = 256

MOST_TOLD = 3
"""Streams whose failures are in `error`; `results` has all of them."""

NO_ANSWER = "no_answer"
_VALUES = {Verb.SCALE: "workers", Verb.RELOAD: "attempt", Verb.OUTCOME: "generation"}
"""What the value of a reply is called where a command is for the service."""

_WORDS = {Status.OK: "ok", Status.REFUSED: "refused", Status.NOT_AVAILABLE: "not_available", Status.GONE: "gone"}


class Target(msgspec.Struct, frozen=True):
    """One stream that a command is for (`targets.py` finds them)."""

    slot: int
    epoch: int
    stream_id: str
    call_id: str


SERVICE = Target(0, 0, "", "")
"""What a command for the service as a whole is for."""


class _Errand:
    """One client's command while its streams have not all answered."""

    def __init__(
        self, client: Any, uid: int, order: Order, targets: list[Target], first_ticket: int, due_ns: int
    ) -> None:
        self.client = client
        self.uid = uid
        self.order = order
        self.targets = targets
        self.first_ticket = first_ticket
        self.due_ns = due_ns
        self.replies: list[Reply | None] = [None] * len(targets)

    @property
    def tickets(self) -> range:
        return range(self.first_ticket, self.first_ticket + len(self.targets))

    def answer(self) -> dict[str, Any]:
        answer = self._of_the_service(self.replies[0]) if self.targets == [SERVICE] else self._of_streams()
        return answer if self.order.ticket is None else {**answer, "ticket": self.order.ticket}

    def _of_the_service(self, reply: Reply | None) -> dict[str, Any]:
        result = _result(SERVICE, reply)
        if result["status"] == "ok":
            return {"ok": True, _VALUES[self.order.verb]: result["value"], "text": result["text"]}
        return protocol.refusal(result["status"], result["text"])

    def _of_streams(self) -> dict[str, Any]:
        results = [_result(target, reply) for target, reply in zip(self.targets, self.replies, strict=True)]
        failed = [result for result in results if result["status"] != "ok"]
        answer: dict[str, Any] = {"ok": True}
        if failed:
            words = "; ".join(
                f"stream {one['stream'][:8]}: {one['text'] or one['status']}" for one in failed[:MOST_TOLD]
            )
            words += f" and {len(failed) - MOST_TOLD} more" if len(failed) > MOST_TOLD else ""
            answer = protocol.refusal(failed[0]["status"], words)
        return {**answer, "results": results}


def _result(target: Target, reply: Reply | None) -> dict[str, Any]:
    named = {"stream": target.stream_id, "call": target.call_id}
    if reply is None:
        text = f"no answer in {ERRAND_NS // NS_PER_S} s; it may still be carried out"
        return {**named, "status": NO_ANSWER, "value": 0, "text": text}
    return {**named, "status": _WORDS[reply.status], "value": reply.value, "text": reply.text}


class Answer(msgspec.Struct, frozen=True):
    """What is to be told to a client. `client` is whatever `begin` was given."""

    client: Any
    message: dict[str, Any]


class Errands:
    """All that the desk waits for."""

    def __init__(self) -> None:
        self._errands: list[_Errand] = []  # in the order in which they become due
        self._by_ticket: dict[int, _Errand] = {}
        self._next_ticket = 1

    @property
    def due_ns(self) -> int:
        """When `expire` will have something to do."""
        return self._errands[0].due_ns if self._errands else NEVER_NS

    def begin(
        self, client: Any, order: Order, targets: list[Target], uid: int, pid: int, now_ns: int
    ) -> list[Command] | dict[str, Any]:
        """Return the commands to send, one a stream, or the refusal where too many are under way."""
        mine = sum(errand.client == client for errand in self._errands)
        his = sum(len(errand.targets) for errand in self._errands if errand.uid == uid) + len(targets)
        if mine >= MAX_OF_A_CLIENT or his > MAX_STREAMS_OF_A_USER or len(self._by_ticket) + len(targets) > MAX_STREAMS:
            text = (
                f"{MAX_OF_A_CLIENT} commands of a client, to {MAX_STREAMS_OF_A_USER} streams of a user and "
                f"{MAX_STREAMS} in all may be under way: wait for an answer"
            )
            return protocol.refusal("too_many_commands", text)
        errand = _Errand(client, uid, order, targets, self._next_ticket, now_ns + ERRAND_NS)
        self._next_ticket += len(targets)
        self._errands.append(errand)
        self._by_ticket.update(dict.fromkeys(errand.tickets, errand))
        return [
            Command(ticket, order.verb, target.slot, target.epoch, order.argument, uid, pid, order.payload)
            for ticket, target in zip(errand.tickets, targets, strict=True)
        ]

    def take(self, reply: Reply) -> Answer | None:
        """Take a stream's reply; return the client's answer if it was the last one. One that is too late is dropped."""
        errand = self._by_ticket.pop(reply.ticket, None)
        if errand is None:
            return None
        errand.replies[reply.ticket - errand.first_ticket] = reply
        if any(ticket in self._by_ticket for ticket in errand.tickets):
            return None
        self._remove(errand)
        return Answer(errand.client, errand.answer())

    def expire(self, now_ns: int) -> list[Answer]:
        """Return the answers to the errands that have waited long enough, with what is known by now."""
        due = [errand for errand in self._errands if errand.due_ns <= now_ns]
        for errand in due:
            self._remove(errand)
        return [Answer(errand.client, errand.answer()) for errand in due]

    def forget(self, client: Any) -> None:
        """A client has left: nobody waits for its answers."""
        for errand in [errand for errand in self._errands if errand.client == client]:
            self._remove(errand)

    def _remove(self, errand: _Errand) -> None:
        self._errands.remove(errand)
        for ticket in errand.tickets:
            self._by_ticket.pop(ticket, None)
