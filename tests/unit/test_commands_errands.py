"""What the desk waits for: each errand is answered once, whoever answers, is late, or leaves."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from audiohook.control.commands import Command, Reply, Status, Verb
from audiohook.control.errands import (
    ERRAND_NS,
    MAX_OF_A_CLIENT,
    MAX_STREAMS,
    MAX_STREAMS_OF_A_USER,
    SERVICE,
    Errands,
    Target,
)
from audiohook.control.requests import Order
from audiohook.control.targets import MAX_TARGETS
from audiohook.units import NEVER_NS


def targets(count: int) -> list[Target]:
    return [Target(slot, 10 + slot, f"{slot:08}-id", "a-call") for slot in range(count)]


def begin(
    errands: Errands, client: str, count: int = 1, order: Order | None = None, now_ns: int = 0, uid: int = 1000
) -> list[Command]:
    commands = errands.begin(client, order or Order(Verb.HOLD, call="a-call"), targets(count), uid, 42, now_ns)
    assert isinstance(commands, list)
    return commands


def test_a_command_for_each_stream_with_who_asked() -> None:
    errands = Errands()
    order = Order(Verb.EVENT, stream="3f", argument=7, payload=b"{}")
    first, second = begin(errands, "client", 2, order)
    assert first == Command(first.ticket, Verb.EVENT, 0, 10, 7, 1000, 42, b"{}")
    assert (second.slot, second.epoch) == (1, 11)
    assert first.ticket != second.ticket
    assert errands.due_ns == ERRAND_NS


def test_the_answer_comes_with_the_last_reply_and_names_every_stream() -> None:
    errands = Errands()
    first, second = begin(errands, "client", 2, Order(Verb.HOLD, call="a-call", ticket=5))
    assert errands.take(second.done(7, "well")) is None
    answer = errands.take(first.done())
    assert answer is not None
    assert answer.client == "client"
    assert answer.message == {
        "ok": True,
        "ticket": 5,
        "results": [
            {"stream": "00000000-id", "call": "a-call", "status": "ok", "value": 0, "text": ""},
            {"stream": "00000001-id", "call": "a-call", "status": "ok", "value": 7, "text": "well"},
        ],
    }
    assert errands.take(first.done()) is None
    assert errands.due_ns == NEVER_NS


@pytest.mark.parametrize(
    ("reply", "status", "error"),
    [
        (lambda command: command.refused("busy"), "refused", "stream 00000001: busy"),
        (lambda command: command.not_available("never"), "not_available", "stream 00000001: never"),
        (lambda command: command.gone(), "gone", "stream 00000001: the stream is over"),
        (lambda command: command.refused(""), "refused", "stream 00000001: refused"),
    ],
)
def test_one_that_was_not_done_makes_the_whole_not_ok(reply: Any, status: str, error: str) -> None:
    errands = Errands()
    first, second = begin(errands, "client", 2)
    errands.take(first.done())
    answer = errands.take(reply(second))
    assert answer is not None
    assert (answer.message["ok"], answer.message["slug"], answer.message["error"]) == (False, status, error)
    assert [result["status"] for result in answer.message["results"]] == ["ok", status]


def test_what_is_for_the_service_is_answered_without_streams() -> None:
    errands = Errands()
    for number, (reply, message) in enumerate(
        [
            (lambda command: command.done(4, "there were 2; 2 started"), {"ok": True, "workers": 4}),
            (lambda command: command.refused("too many"), {"ok": False, "slug": "refused", "error": "too many"}),
        ]
    ):
        began = errands.begin("client", Order(Verb.SCALE, argument=4, ticket=number), [SERVICE], 1000, 42, 0)
        assert isinstance(began, list)
        (command,) = began
        assert (command.verb, command.slot, command.epoch, command.argument) == (Verb.SCALE, 0, 0, 4)
        answer = errands.take(reply(command))
        assert answer is not None
        assert {name: answer.message[name] for name in message} == message
        assert answer.message["ticket"] == number
        assert "results" not in answer.message
    errands.begin("client", Order(Verb.SCALE, argument=4), [SERVICE], 1000, 42, 0)
    (late,) = errands.expire(ERRAND_NS)
    assert (late.message["slug"], late.message["ok"]) == ("no_answer", False)


def test_who_does_not_answer_in_time_is_named() -> None:
    errands = Errands()
    first, _ = begin(errands, "client", 2, now_ns=100)
    errands.take(first.done())
    assert errands.expire(100 + ERRAND_NS - 1) == []
    (answer,) = errands.expire(100 + ERRAND_NS)
    assert [result["status"] for result in answer.message["results"]] == ["ok", "no_answer"]
    assert answer.message["error"] == "stream 00000001: no answer in 5 s; it may still be carried out"
    assert errands.expire(1 << 62) == []


def test_many_failures_are_counted_in_the_words_and_listed_in_the_results() -> None:
    errands = Errands()
    begin(errands, "client", MAX_TARGETS)
    (answer,) = errands.expire(ERRAND_NS)
    assert answer.message["error"].endswith(f" and {MAX_TARGETS - 3} more")
    assert len(answer.message["results"]) == MAX_TARGETS


def refused(errands: Errands, client: str, count: int = 1) -> bool:
    said = errands.begin(client, Order(Verb.HOLD, call="x"), targets(count), 1000, 42, 0)
    return isinstance(said, dict) and said["slug"] == "too_many_commands"


def test_a_client_has_only_so_many_under_way_and_others_still_have_room() -> None:
    errands = Errands()
    commands = [command for _ in range(MAX_OF_A_CLIENT) for command in begin(errands, "greedy")]
    assert refused(errands, "greedy")
    begin(errands, "modest")
    errands.take(commands[0].done())
    begin(errands, "greedy")
    assert refused(errands, "greedy")


def test_a_user_with_many_connections_leaves_room_for_others() -> None:
    errands = Errands()
    for number in range(MAX_STREAMS_OF_A_USER // MAX_TARGETS):
        begin(errands, f"connection {number}", MAX_TARGETS)
    assert refused(errands, "one more connection")
    begin(errands, "somebody else", MAX_TARGETS, uid=1001)


def test_all_together_have_only_so_many_streams_to_wait_for() -> None:
    errands = Errands()
    for number in range(MAX_STREAMS // MAX_TARGETS):
        begin(errands, f"client {number}", MAX_TARGETS, uid=number)
    assert refused(errands, "one more")
    errands.forget("client 0")
    begin(errands, "one more", MAX_TARGETS)


@given(st.lists(st.integers(0, 50)))
def test_a_reply_to_nothing_is_nothing(tickets: list[int]) -> None:
    errands = Errands()
    assert [errands.take(Reply(ticket, Status.OK)) for ticket in tickets] == [None] * len(tickets)


class AnyErrands(RuleBasedStateMachine):
    """Whatever happens in whatever order, an errand is answered once, or its client has left."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.errands = Errands()
        self.now_ns = 0
        self.open: dict[int, str] = {}  # the client's own ticket -> client
        self.number = 0

    @rule(target=tickets, client=st.sampled_from("abc"), count=st.integers(1, 4))
    def ask(self, client: str, count: int) -> Any:
        order = Order(Verb.HOLD, call="x", ticket=self.number)
        commands = self.errands.begin(client, order, targets(count), 0, 0, self.now_ns)
        if isinstance(commands, dict):
            assert list(self.open.values()).count(client) == MAX_OF_A_CLIENT
            return multiple()
        self.open[self.number] = client
        self.number += 1
        return multiple(*(command.ticket for command in commands))

    @rule(ticket=consumes(tickets), status=st.sampled_from(Status))
    def reply(self, ticket: int, status: Status) -> None:
        answer = self.errands.take(Reply(ticket, status))
        if answer is not None:
            self.answered(answer.client, answer.message)

    @rule(client=st.sampled_from("abc"))
    def leave(self, client: str) -> None:
        self.errands.forget(client)
        self.open = {ticket: other for ticket, other in self.open.items() if other != client}

    @rule(wait_ns=st.integers(0, 2 * ERRAND_NS))
    def wait(self, wait_ns: int) -> None:
        self.now_ns += wait_ns
        for answer in self.errands.expire(self.now_ns):
            self.answered(answer.client, answer.message)

    def answered(self, client: str, message: dict[str, Any]) -> None:
        assert self.open.pop(message["ticket"]) == client

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        assert (self.errands.due_ns == NEVER_NS) == (not self.open)
        assert self.errands.due_ns == NEVER_NS or self.errands.due_ns <= self.now_ns + ERRAND_NS

    def teardown(self) -> None:
        self.wait(ERRAND_NS)
        assert not self.open
        assert not self.errands._by_ticket


TestAnyErrands = AnyErrands.TestCase
TestAnyErrands.settings = settings(max_examples=60, stateful_step_count=40)
