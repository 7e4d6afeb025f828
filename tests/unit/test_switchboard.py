"""The switchboard: who is asked, who is answered, and that nobody waits for ever. Records in, records out."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from audiohook.control.commands import SERVICE_VERBS, Command, Reply, Status, Verb, decode, encode_command, encode_reply
from audiohook.supervisor.state import DESK
from audiohook.supervisor.switchboard import (
    MAX_WAITING_AT_A_WORKER,
    MAX_WAITING_OF_AN_ORIGIN,
    STRANDED_TEXT,
    WAIT_NS,
    Send,
    Switchboard,
    Whereabouts,
)

ROWS = 3
PARKED_SLOT, OVER_SLOT, DEAD_ROW_SLOT = 100, 101, 102


class Service:
    """A switchboard over a small, unchanging pool: slot n < ROWS is the stream of row n, with epoch 10 + n."""

    def __init__(self) -> None:
        self.refused = 0
        self.parked: list[Command] = []
        self.board = Switchboard(self.whereabouts, self.on_parked, self.on_refused)
        for place in (DESK, *range(ROWS)):
            self.board.join(place)

    def whereabouts(self, slot: int) -> Whereabouts | None:
        if slot == PARKED_SLOT:
            return Whereabouts(10 + slot, None)
        if slot == DEAD_ROW_SLOT:
            return Whereabouts(10 + slot, ROWS)
        return Whereabouts(10 + slot, slot) if slot < ROWS else None

    def on_parked(self, command: Command) -> Reply:
        self.parked.append(command)
        return command.done(5, "parked") if command.verb is Verb.END else command.not_available("parked")

    def on_refused(self, count: int) -> None:
        self.refused += count

    def say(self, place: int, said: Command | Reply, now_ns: int = 0) -> list[Send]:
        record = encode_command(said) if isinstance(said, Command) else encode_reply(said)
        sends = self.board.receive(place, record, now_ns)
        assert sends is not None, "dropped"
        return sends

    def ask(self, slot: int, ticket: int = 7, verb: Verb = Verb.PAUSE, place: int = DESK, **more: Any) -> Send:
        payload = b"{}" if verb is Verb.EVENT else b""
        (send,) = self.say(place, Command(ticket, verb, slot, 10 + slot, uid=1000, pid=42, payload=payload), **more)
        return send


def reply_in(send: Send) -> Reply:
    reply = decode(send.record)
    assert isinstance(reply, Reply)
    return reply


def command_in(send: Send) -> Command:
    command = decode(send.record)
    assert isinstance(command, Command)
    assert send.ticket == command.ticket != 0
    return command


@pytest.mark.parametrize("verb", sorted(set(Verb) - {Verb.TAKEOVER} - SERVICE_VERBS))
def test_a_command_goes_to_the_worker_of_its_slot_and_the_answer_back(verb: Verb) -> None:
    service = Service()
    for slot in range(ROWS):
        sent = service.ask(slot, ticket=70 + slot, verb=verb)
        assert sent.place == slot
        asked = command_in(sent)
        assert (asked.verb, asked.slot, asked.epoch, asked.uid, asked.pid) == (verb, slot, 10 + slot, 1000, 42)
        assert asked.payload == (b"{}" if verb is Verb.EVENT else b"")
        (back,) = service.say(slot, asked.done(9, "well"))
        assert back.place == DESK
        assert reply_in(back) == Reply(70 + slot, Status.OK, 9, "well")
    assert (service.board.waiting, service.refused) == (0, 0)


def test_what_is_for_the_service_is_answered_without_a_worker() -> None:
    service = Service()
    scale = Command(7, Verb.SCALE, 0, 0, argument=3, uid=1000, pid=42)
    (nobody,) = service.say(DESK, scale)
    assert (nobody.place, reply_in(nobody).status) == (DESK, Status.NOT_AVAILABLE)
    asked: list[Command] = []

    def on_service(command: Command) -> Reply:
        asked.append(command)
        return command.done(command.argument, "as you like")

    service.board.on_service = on_service
    (back,) = service.say(DESK, scale)
    assert (back.place, reply_in(back)) == (DESK, Reply(7, Status.OK, 3, "as you like"))
    assert asked == [scale]
    assert (service.board.waiting, service.refused) == (0, 1)


def test_a_worker_asks_another_to_let_a_stream_go() -> None:
    service = Service()
    sent = service.ask(2, ticket=3, verb=Verb.TAKEOVER, place=0)
    assert sent.place == 2
    (back,) = service.say(2, command_in(sent).done())
    assert (back.place, reply_in(back)) == (0, Reply(3, Status.OK))


def test_a_parked_stream_is_answered_for_without_a_worker() -> None:
    service = Service()
    done, not_done = service.ask(PARKED_SLOT, verb=Verb.END), service.ask(PARKED_SLOT, verb=Verb.MASK)
    assert (done.place, reply_in(done)) == (DESK, Reply(7, Status.OK, 5, "parked"))
    assert reply_in(not_done).status is Status.NOT_AVAILABLE
    assert [command.verb for command in service.parked] == [Verb.END, Verb.MASK]
    assert service.refused == 1, "the one that was carried out is not counted"


def test_what_is_gone_is_said_to_be_gone() -> None:
    service = Service()
    recycled = service.say(DESK, Command(7, Verb.PAUSE, 0, 11))
    for send in (service.ask(OVER_SLOT), service.ask(DEAD_ROW_SLOT), *recycled):
        assert reply_in(send).status is Status.GONE
        assert reply_in(send).ticket == 7
    assert (service.board.waiting, service.refused) == (0, 3)


def test_a_worker_that_no_line_leads_to_is_not_said_to_be_gone() -> None:
    service = Service()
    service.board.leave(0)
    service.board.strand(0)
    assert reply_in(service.ask(0)) == Reply(7, Status.NOT_AVAILABLE, 0, STRANDED_TEXT)
    service.board.join(0)
    assert service.ask(0).place == 0, "its row has another worker now"
    assert service.refused == 1


def test_tickets_rise_above_those_of_the_supervisor_before() -> None:
    board = Switchboard(lambda _: Whereabouts(1, 0), lambda command: command.done(), lambda _: None, 1 << 60)
    board.join(0)
    board.join(DESK)
    sends = board.receive(DESK, encode_command(Command(7, Verb.PAUSE, 0, 1)), 0)
    assert sends is not None
    assert command_in(sends[0]).ticket == (1 << 60) + 1


def test_a_worker_that_dies_takes_nobodys_answer_with_it() -> None:
    service = Service()
    service.ask(0, ticket=1)
    service.ask(1, ticket=2)
    service.ask(0, ticket=3, verb=Verb.TAKEOVER, place=1)
    back = service.board.leave(0)
    assert [(send.place, reply_in(send).ticket, reply_in(send).status) for send in back] == [
        (DESK, 1, Status.GONE),
        (1, 3, Status.GONE),
    ]
    assert service.board.waiting == 1
    assert reply_in(service.ask(0)).text == "its worker is gone"
    service.board.join(0)
    assert service.ask(0).place == 0, "its successor in the row is another"


def test_nobody_is_answered_who_has_left() -> None:
    service = Service()
    sent = service.ask(0)
    assert service.board.leave(DESK) == []
    assert service.board.waiting == 0
    service.board.join(DESK)
    assert service.say(0, command_in(sent).done()) == [], "the new desk's tickets are its own"


def test_time_answers_for_a_worker_that_does_not() -> None:
    service = Service()
    sent = service.ask(0, now_ns=5)
    service.ask(1, ticket=8, now_ns=6)
    assert service.board.expire(4 + WAIT_NS) == []
    (back,) = service.board.expire(5 + WAIT_NS)
    assert (back.place, reply_in(back).ticket, reply_in(back).status) == (DESK, 7, Status.REFUSED)
    assert service.say(0, command_in(sent).done()) == [], "too late"
    assert (service.board.waiting, service.refused) == (1, 1)


def test_a_line_without_room_is_a_worker_that_is_busy() -> None:
    service = Service()
    sent = service.ask(0)
    (back,) = service.board.undelivered(sent)
    assert reply_in(back) == Reply(7, Status.REFUSED, 0, "its worker is busy")
    assert service.board.undelivered(back) == [], "of a reply nobody can be told"
    assert service.board.waiting == 0


def test_a_reply_is_believed_from_the_worker_that_was_asked_only() -> None:
    service = Service()
    sent = service.ask(0)
    for stranger in (1, 2):
        assert service.say(stranger, command_in(sent).done()) == []
    assert service.say(0, Reply(12345, Status.OK)) == []
    assert len(service.say(0, command_in(sent).done())) == 1
    assert service.say(0, command_in(sent).done()) == [], "once"


def test_a_worker_that_answers_nothing_uses_up_its_own_room_only() -> None:
    service = Service()
    sent = [service.ask(0, ticket=ticket) for ticket in range(MAX_WAITING_AT_A_WORKER + 5)]
    assert Counter(send.place for send in sent) == {0: MAX_WAITING_AT_A_WORKER, DESK: 5}
    assert reply_in(sent[-1]) == Reply(MAX_WAITING_AT_A_WORKER + 4, Status.REFUSED, 0, "its worker is busy")
    assert service.ask(1).place == 1


def test_an_origin_has_only_so_much_room() -> None:
    board = Switchboard(lambda slot: Whereabouts(10 + slot, slot), lambda command: command.gone(), lambda _: None)
    rows = MAX_WAITING_OF_AN_ORIGIN // MAX_WAITING_AT_A_WORKER
    for place in (DESK, *range(rows + 1)):
        board.join(place)

    def ask(place: int, slot: int, verb: Verb) -> Send:
        sends = board.receive(place, encode_command(Command(1, verb, slot, 10 + slot)), 0)
        assert sends is not None
        return sends[0]

    for row in range(rows):
        assert all(ask(DESK, row, Verb.PAUSE).place == row for _ in range(MAX_WAITING_AT_A_WORKER))
    assert reply_in(ask(DESK, rows, Verb.PAUSE)).text == "too many commands are waiting"
    assert ask(0, rows, Verb.TAKEOVER).place == rows, "another origin has room of its own"


PAUSE = encode_command(Command(1, Verb.PAUSE, 0, 10))
TAKEOVER = encode_command(Command(1, Verb.TAKEOVER, 0, 10))
REPLY = encode_reply(Reply(1, Status.OK))


@pytest.mark.parametrize(
    ("place", "record"),
    [
        (DESK, b"x"),
        (DESK, PAUSE[:-1]),
        (DESK, PAUSE + b"x"),
        (DESK, PAUSE[:2] + b"\xff" + PAUSE[3:]),
        (DESK, TAKEOVER),
        (DESK, REPLY),
        (0, b"x"),
        (0, PAUSE),
        (0, encode_command(Command(1, Verb.SCALE, 0, 0, argument=1))),
        (0, encode_command(Command(1, Verb.EVENT, 0, 10, payload=b"{}"))),
        (0, REPLY[:-1]),
    ],
)
def test_what_a_child_may_not_say_costs_it_its_line(place: int, record: bytes) -> None:
    service = Service()
    assert service.board.receive(place, record, 0) is None


class AnySwitchboard(RuleBasedStateMachine):
    """Whatever the children do, each command is answered once, to its origin, as long as that is there."""

    forwarded = Bundle("forwarded")

    def __init__(self) -> None:
        super().__init__()
        self.service = Service()
        self.now_ns = 0
        self.number = 0
        self.there = {DESK, *range(ROWS)}
        self.unanswered: dict[int, int] = {}  # an origin's ticket (unique here) -> the origin

    def took(self, sends: list[Send]) -> list[Send]:
        """Take the answers out; return what was forwarded."""
        for send in sends:
            assert send.place in self.there
            if not send.ticket:
                assert self.unanswered.pop(reply_in(send).ticket) == send.place
        return [send for send in sends if send.ticket]

    @rule(
        target=forwarded,
        origin=st.sampled_from([DESK, *range(ROWS)]),
        slot=st.integers(0, ROWS) | st.sampled_from([PARKED_SLOT, OVER_SLOT, DEAD_ROW_SLOT]),
    )
    def ask(self, origin: int, slot: int) -> Any:
        if origin not in self.there:
            return multiple()
        self.number += 1
        self.unanswered[self.number] = origin
        verb = Verb.PAUSE if origin == DESK else Verb.TAKEOVER
        sends = self.service.say(origin, Command(self.number, verb, slot, 10 + slot), self.now_ns)
        return multiple(*self.took(sends))

    @rule(send=consumes(forwarded), impostor=st.integers(0, ROWS - 1))
    def reply(self, send: Send, impostor: int) -> None:
        for place in (impostor, send.place):
            if place in self.there:
                assert not self.took(self.service.say(place, command_in(send).done(), self.now_ns))

    @rule(send=consumes(forwarded))
    def no_room(self, send: Send) -> None:
        assert not self.took(self.service.board.undelivered(send))

    @rule(place=st.sampled_from([DESK, *range(ROWS)]))
    def leave(self, place: int) -> None:
        self.there.discard(place)
        self.unanswered = {ticket: origin for ticket, origin in self.unanswered.items() if origin != place}
        assert not self.took(self.service.board.leave(place))

    @rule(place=st.sampled_from([DESK, *range(ROWS)]))
    def join(self, place: int) -> None:
        if place not in self.there:
            self.there.add(place)
            self.service.board.join(place)

    @rule(wait_ns=st.integers(0, 2 * WAIT_NS))
    def wait(self, wait_ns: int) -> None:
        self.now_ns += wait_ns
        assert not self.took(self.service.board.expire(self.now_ns))

    @invariant()
    def the_table_is_who_waits(self) -> None:
        assert self.service.board.waiting == len(self.unanswered)

    def teardown(self) -> None:
        self.wait(WAIT_NS)
        assert not self.unanswered
        board = self.service.board
        assert not board._of_origin
        assert not board._at_worker


TestAnySwitchboard = AnySwitchboard.TestCase
TestAnySwitchboard.settings = settings(max_examples=80, stateful_step_count=40)
