"""Both ends of a command line on real sockets: full lines, dead ends, garbage, and bounded work a turn."""

import logging
import os
import selectors
from collections.abc import Iterator
from typing import Any

import pytest

from audiohook.control.commands import (
    MAX_PAYLOAD_BYTES,
    READ_BYTES,
    Command,
    Reply,
    Status,
    Verb,
    decode,
    encode_command,
    encode_reply,
)
from audiohook.net.loop import Loop
from audiohook.supervisor.command_lines import RECORDS_A_TURN, CommandLines
from audiohook.supervisor.state import DESK
from audiohook.supervisor.switchboard import Switchboard, Whereabouts
from audiohook.units import NS_PER_S
from audiohook.worker import commands
from audiohook.worker.commands import ASK_NS, MAX_ASKED, CommandPort

ROW = 3
PAUSE = Command(1, Verb.PAUSE, 0, 10, uid=1000, pid=42)
LARGEST = Command(1, Verb.EVENT, 0, 10, payload=bytes(MAX_PAYLOAD_BYTES))


class Exchange:
    """The supervisor's lines with a desk and the worker of row 3, whose ends are here."""

    def __init__(self) -> None:
        self.board = Switchboard(lambda _: Whereabouts(10, ROW), lambda command: command.gone(), lambda _: None)
        self.selector = selectors.EpollSelector()
        self.dropped: list[int] = []
        self.lines = CommandLines(self.board, self.selector, self.dropped.append)
        self.ends = {place: self.lines.open(place) for place in (DESK, ROW)}

    def close(self) -> None:
        for place in list(self.ends):
            self.hang_up(place)
        self.turn()
        assert not self.selector.get_map()
        self.selector.close()

    def hang_up(self, place: int) -> None:
        os.close(self.ends.pop(place))

    def turn(self, now_ns: int = 0) -> None:
        """Serve every line until nothing is ready any more."""
        while ready := self.selector.select(0):
            for key, _ in ready:
                self.lines.serve(key.data, now_ns)

    def say(self, place: int, said: Command | Reply | bytes) -> None:
        record = said if isinstance(said, bytes) else encode(said)
        os.write(self.ends[place], record)

    def heard(self, place: int) -> list[Any]:
        """Return all that a child's end has for it."""
        records = []
        while True:
            try:
                record = os.read(self.ends[place], READ_BYTES)
            except BlockingIOError:
                return records
            except ConnectionResetError:
                continue
            if not record:
                return [*records, "the end"]
            records.append(decode(record))


def encode(said: Command | Reply) -> bytes:
    return encode_command(said) if isinstance(said, Command) else encode_reply(said)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = Exchange()
    yield made
    made.close()


def test_there_and_back(exchange: Exchange) -> None:
    exchange.say(DESK, LARGEST)
    exchange.turn()
    (asked,) = exchange.heard(ROW)
    assert (asked.verb, asked.payload) == (Verb.EVENT, LARGEST.payload)
    exchange.say(ROW, asked.done(7))
    exchange.turn()
    assert exchange.heard(DESK) == [Reply(1, Status.OK, 7)]


def test_a_turn_takes_a_few_records_of_a_line_and_no_more(exchange: Exchange) -> None:
    for _ in range(3 * RECORDS_A_TURN):
        exchange.say(DESK, PAUSE)
    ((key, _),) = exchange.selector.select(0)
    exchange.lines.serve(key.data, 0)
    assert exchange.board.waiting == RECORDS_A_TURN
    exchange.turn()
    assert exchange.board.waiting == 3 * RECORDS_A_TURN


def test_a_worker_that_reads_nothing_is_busy_and_the_supervisor_does_not_wait(exchange: Exchange) -> None:
    sent = 20
    for ticket in range(sent):
        exchange.say(DESK, LARGEST.renumbered(ticket))
        exchange.turn()
    busy = exchange.heard(DESK)
    assert busy
    assert {(reply.status, reply.text) for reply in busy} == {(Status.REFUSED, "its worker is busy")}
    taken = exchange.heard(ROW)
    assert len(taken) + len(busy) == sent
    assert exchange.board.waiting == len(taken)


def test_a_desk_that_reads_nothing_loses_answers_and_nobody_else_anything(exchange: Exchange) -> None:
    for _ in range(3000):
        exchange.say(DESK, Command(1, Verb.PAUSE, 0, 11))  # gone: answered at once
        exchange.turn()
    answers = exchange.heard(DESK)
    assert 0 < len(answers) < 3000
    exchange.say(DESK, PAUSE)
    exchange.turn()
    assert len(exchange.heard(ROW)) == 1


def test_what_a_dead_worker_had_said_counts_although_it_left_commands_unread(exchange: Exchange) -> None:
    """The kernel reports the reset before the answer that is still there."""
    for ticket in range(3):
        exchange.say(DESK, PAUSE.renumbered(ticket))
    exchange.turn()
    first = decode(os.read(exchange.ends[ROW], READ_BYTES))
    assert isinstance(first, Command)
    exchange.say(ROW, first.done(7))
    exchange.hang_up(ROW)
    exchange.lines.close(ROW, 0)
    gone = "its worker ended before it answered"
    assert exchange.heard(DESK) == [
        Reply(0, Status.OK, 7),
        Reply(1, Status.GONE, 0, gone),
        Reply(2, Status.GONE, 0, gone),
    ]
    exchange.lines.close(ROW, 0)
    assert not exchange.dropped


def test_a_line_that_ends_is_noticed_without_anybodys_help(exchange: Exchange) -> None:
    exchange.say(DESK, PAUSE)
    exchange.turn()
    exchange.hang_up(ROW)
    exchange.turn()
    exchange.say(DESK, PAUSE)
    exchange.turn()
    assert [reply.text for reply in exchange.heard(DESK)] == [
        "its worker ended before it answered",
        "its worker is gone",
    ]
    exchange.ends[ROW] = exchange.lines.open(ROW)
    exchange.say(DESK, PAUSE)
    exchange.turn()
    assert len(exchange.heard(ROW)) == 1, "its successor"


def test_time_answers(exchange: Exchange) -> None:
    exchange.say(DESK, PAUSE)
    exchange.turn()
    exchange.lines.tick(60 * NS_PER_S)
    assert [reply.status for reply in exchange.heard(DESK)] == [Status.REFUSED]


@pytest.mark.parametrize(
    ("place", "garbage"),
    [
        (DESK, b"x"),
        (DESK, b"x" * (READ_BYTES + 1000)),
        (DESK, encode_reply(Reply(1, Status.OK))),
        (DESK, encode_command(Command(1, Verb.TAKEOVER, 0, 10))),
        (ROW, b"x"),
        (ROW, encode_command(PAUSE)),
    ],
)
def test_garbage_costs_its_sender_the_line_and_nobody_else_anything(
    exchange: Exchange, place: int, garbage: bytes
) -> None:
    exchange.say(place, garbage)
    exchange.turn()
    assert exchange.dropped == [place]
    assert exchange.heard(place) == ["the end"]
    other = ROW if place == DESK else DESK
    exchange.say(other, Command(1, Verb.TAKEOVER, 0, 11) if other == ROW else Command(1, Verb.PAUSE, 0, 11))
    exchange.turn()
    assert [reply.status for reply in exchange.heard(other)] == [Status.GONE]


# The worker's end


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class Worker:
    """A port in a loop of its own; the supervisor's end of its line is here."""

    def __init__(self) -> None:
        exchange = Exchange()
        self.exchange = exchange
        self.clock = Clock()
        self.loop = Loop(lambda now_ns: now_ns, self.clock)
        self.handler: commands.Handler = lambda command: command.not_available("never here")
        self.told: list[tuple[Verb, Status]] = []
        self.port = CommandPort(exchange.ends.pop(ROW), self.loop, lambda one: self.handler(one), self.answered)

    def answered(self, command: Command, reply: Reply) -> None:
        self.told.append((command.verb, reply.status))

    def turn(self) -> None:
        for _ in range(3):
            self.exchange.turn()
            self.loop.turn()
        self.exchange.turn()

    def ask(self, count: int = 1, verb: Verb = Verb.PAUSE) -> list[Reply]:
        for _ in range(count):
            self.exchange.say(DESK, Command(1, verb, 0, 10))
        self.turn()
        heard: list[Reply] = self.exchange.heard(DESK)
        return heard

    def close(self) -> None:
        self.port.close()
        self.exchange.close()
        self.loop.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def test_a_handler_answers_at_once_or_later_or_never_and_once(worker: Worker) -> None:
    assert worker.ask() == [Reply(1, Status.NOT_AVAILABLE, 0, "never here")]
    kept: list[Command] = []
    worker.handler = kept.append  # type: ignore[assignment]
    assert worker.ask() == []
    for value in (7, 8):
        worker.port.answer(kept[0].done(value))
    worker.turn()
    assert worker.exchange.heard(DESK) == [Reply(1, Status.OK, 7)]
    worker.port.answer(Reply(999, Status.OK))
    worker.turn()
    assert worker.exchange.heard(DESK) == []
    assert worker.told == [(Verb.PAUSE, Status.NOT_AVAILABLE), (Verb.PAUSE, Status.OK)]


def test_a_handler_that_raises_costs_its_command_and_nothing_else(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(command: Command) -> Reply:
        raise ZeroDivisionError

    worker.handler = broken
    with caplog.at_level(logging.ERROR):
        assert worker.ask() == [Reply(1, Status.REFUSED, 0, "internal error")]
    assert "internal error: a command" in caplog.text
    worker.handler = lambda command: command.done()
    assert worker.ask() == [Reply(1, Status.OK)]


def test_a_turn_serves_a_few_commands_and_no_more(worker: Worker) -> None:
    served: list[Command] = []
    worker.handler = served.append  # type: ignore[assignment]
    for _ in range(3 * commands.RECORDS_A_TURN):
        worker.exchange.say(DESK, PAUSE)
    worker.exchange.turn()
    for turn in range(1, 4):
        worker.loop.turn()
        assert len(served) == turn * commands.RECORDS_A_TURN


def test_commands_that_are_kept_for_ever_do_not_fill_the_memory(worker: Worker) -> None:
    worker.handler = lambda command: None
    for number in range(commands.MAX_UNANSWERED + 50):
        worker.port._obey(PAUSE.renumbered(number))
    assert len(worker.port._unanswered) == commands.MAX_UNANSWERED
    assert 49 not in worker.port._unanswered
    assert 50 in worker.port._unanswered


def test_a_request_is_answered_once_by_whoever_comes_first(worker: Worker) -> None:
    worker.handler = lambda command: command.done(command.slot)
    replies: list[Reply] = []
    worker.port.ask(Verb.TAKEOVER, 5, 10, replies.append)  # the owner of every slot is this very worker
    worker.turn()
    assert [(reply.status, reply.value) for reply in replies] == [(Status.OK, 5)]
    worker.port.ask(Verb.TAKEOVER, 5, 11, replies.append)
    worker.turn()
    assert replies[1].status is Status.GONE
    worker.clock.now_ns += 2 * ASK_NS
    worker.turn()
    assert len(replies) == 2


def test_a_request_that_nobody_answers_is_answered_by_the_clock(worker: Worker) -> None:
    replies: list[Reply] = []
    worker.port.ask(Verb.TAKEOVER, 5, 10, replies.append)
    worker.clock.now_ns = ASK_NS - 1
    worker.loop.turn()
    assert replies == []
    worker.clock.now_ns = ASK_NS
    worker.loop.turn()
    assert [(reply.status, reply.text) for reply in replies] == [
        (Status.REFUSED, "the supervisor did not answer in time")
    ]


def test_too_many_requests_are_refused_at_once(worker: Worker) -> None:
    replies: list[Reply] = []
    for _ in range(MAX_ASKED + 1):
        worker.port.ask(Verb.TAKEOVER, 5, 10, replies.append)
    assert [reply.text for reply in replies] == ["the command line is busy or closed"]


def test_the_end_of_the_line_answers_every_request(worker: Worker) -> None:
    replies: list[Reply] = []
    for _ in range(3):
        worker.port.ask(Verb.TAKEOVER, 5, 10, replies.append)
    worker.exchange.lines.drop(ROW)
    worker.loop.turn()
    assert worker.port.closed
    worker.port.ask(Verb.TAKEOVER, 5, 10, replies.append)
    worker.port.answer(Reply(1, Status.OK))
    assert [reply.status for reply in replies] == [Status.REFUSED] * 4
    assert len(worker.loop.selector.get_map()) == 1, "what stands for the newcomers"


def test_what_comes_of_a_request_may_raise_and_the_loop_goes_on(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(reply: Reply) -> None:
        raise ZeroDivisionError

    worker.handler = lambda command: command.done()
    worker.port.ask(Verb.TAKEOVER, 5, 10, broken)
    with caplog.at_level(logging.ERROR):
        worker.turn()
    assert "the answer to a request" in caplog.text
    assert worker.ask() == [Reply(1, Status.OK)]
