"""A client's command: what is understood, and what is refused in words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.control import protocol
from audiohook.control.commands import MAX_PAYLOAD_BYTES, SERVICE_VERBS, Verb
from audiohook.control.requests import CALL_VERBS, MAX_TICKET, STREAM_VERBS, VERBS, Order, read_order

ENTITY = {"type": "transcript", "data": {"text": "héllo", "n": [1, 2.5, None, True]}}


def order(**request: Any) -> Order:
    read = read_order(request)
    assert isinstance(read, Order), read
    return read


def refused(**request: Any) -> str:
    read = read_order(request)
    assert isinstance(read, dict)
    assert (read["ok"], read["slug"]) == (False, "request_malformed")
    return str(read["error"])


@pytest.mark.parametrize("name", [name for name in STREAM_VERBS if name != "event"])
def test_a_verb_for_a_stream(name: str) -> None:
    assert order(do=name, stream="3F2a") == Order(STREAM_VERBS[name], stream="3f2a")
    assert "start of a stream's id" in refused(do=name)
    assert "other fields" in refused(do=name, call="a-call")
    assert "other fields" in refused(do=name, stream="3f", call="a-call")


@pytest.mark.parametrize("name", CALL_VERBS)
def test_a_verb_for_a_call(name: str) -> None:
    assert order(do=name, call="A-Call É") == Order(CALL_VERBS[name], call="a-call É")
    assert "call id" in refused(do=name)
    assert "other fields" in refused(do=name, stream="3f")


def test_every_verb_but_the_workers_own_can_be_asked_for() -> None:
    assert set(VERBS.values()) == set(Verb) - {Verb.TAKEOVER}


@pytest.mark.parametrize("start", ["", "xyz", "3f ", "3f*", 7, None, ["3f"], "0" * 37, "é"])
def test_what_is_no_start_of_an_id(start: object) -> None:
    assert "start of a stream's id" in refused(do="pause", stream=start)


@pytest.mark.parametrize("call", ["", 7, None, "x" * 65, "é" * 33])
def test_what_is_no_call_id(call: object) -> None:
    assert "call id" in refused(do="hold", call=call)


def test_mask_takes_seconds_and_says_them_in_nanoseconds() -> None:
    assert order(do="mask", stream="3f").argument == 0
    assert order(do="mask", stream="3f", seconds_back=2).argument == 2_000_000_000
    assert order(do="mask", stream="3f", seconds_back=0.02).argument == 20_000_000
    assert order(do="mask", stream="3f", seconds_back=86_400).argument == 86_400 * 10**9
    assert "other fields" in refused(do="unmask", stream="3f", seconds_back=2)
    assert "other fields" in refused(do="mask", stream="3f", second_back=2)


@pytest.mark.parametrize(
    "seconds", [-1, -0.001, 86_401, 1e300, float("nan"), float("inf"), True, "2", None, [2], 10**400]
)
def test_seconds_that_are_none(seconds: object) -> None:
    assert "seconds_back must be" in refused(do="mask", stream="3f", seconds_back=seconds)


def test_an_entity_is_passed_on_as_json_in_utf8() -> None:
    read = order(do="event", stream="3f", entity=ENTITY)
    assert json.loads(read.payload) == ENTITY
    assert "héllo".encode() in read.payload
    assert order(do="event", stream="3f", entity={"type": "x", "data": None}).payload == b'{"type":"x","data":null}'


@pytest.mark.parametrize(
    "entity",
    [
        None,
        [],
        "x",
        {},
        {"type": "x"},
        {"data": 1},
        {"type": "", "data": 1},
        {"type": 1, "data": 1},
        {"type": "x" * 129, "data": 1},
        {"type": "x", "data": 1, "id": 2},
        {"type": "x", "data": "\ud800"},
        {"type": "x", "data": float("nan")},
        {"type": "x", "data": float("inf")},
        {"type": "x", "data": "x" * MAX_PAYLOAD_BYTES},
    ],
)
def test_an_entity_that_cannot_be_sent_on(entity: object) -> None:
    assert "entity" in refused(do="event", stream="3f", entity=entity)


def test_the_longest_entity() -> None:
    around = len('{"type":"x","data":""}')
    longest = order(do="event", stream="3f", entity={"type": "x", "data": "y" * (MAX_PAYLOAD_BYTES - around)})
    assert len(longest.payload) == MAX_PAYLOAD_BYTES
    text = refused(do="event", stream="3f", entity={"type": "x", "data": "y" * (MAX_PAYLOAD_BYTES - around + 1)})
    assert text == f"the entity has {MAX_PAYLOAD_BYTES + 1} bytes, {MAX_PAYLOAD_BYTES} are the most"


def test_a_ticket_is_kept() -> None:
    assert order(do="pause", stream="3f", ticket=0).ticket == 0
    assert order(do="pause", stream="3f", ticket=MAX_TICKET).ticket == MAX_TICKET
    for ticket in (-1, MAX_TICKET + 1, 1.5, True, "7"):
        assert "ticket" in refused(do="pause", stream="3f", ticket=ticket)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["stream", "call", "ticket", "seconds_back", "entity", "type", "data"])


@given(st.sampled_from(sorted(VERBS)), st.dictionaries(FIELDS, JSON, max_size=4))
def test_whatever_is_asked_gets_an_order_or_a_refusal(name: str, fields: dict[str, Any]) -> None:
    read = read_order({**fields, "do": name})
    if isinstance(read, Order):
        assert bool(read.stream) + bool(read.call) == (read.verb not in SERVICE_VERBS)
        assert len(read.payload) <= MAX_PAYLOAD_BYTES
    else:
        assert protocol.encode(read)


@pytest.mark.parametrize(
    "packet", [b'{"a": NaN}', b'{"a": -Infinity}', b"[" * 60_000, b"9" * 5000, b"\xff", b"[1]", b""]
)
def test_what_is_no_json_object_is_none(packet: bytes) -> None:
    assert protocol.decode(packet) is None


def test_reload_is_for_the_service_and_its_outcome_has_a_number() -> None:
    assert order(do="reload", ticket=2) == Order(Verb.RELOAD, ticket=2)
    assert order(do="outcome", attempt=7) == Order(Verb.OUTCOME, argument=7)
    assert "reload takes nothing" in refused(do="reload", workers=2)
    for attempt in (None, 0, 1.0, True, "1", MAX_TICKET + 1):
        assert "attempt must be a whole number" in refused(do="outcome", attempt=attempt)


def test_scale_is_for_the_service() -> None:
    assert order(do="scale", workers=4) == Order(Verb.SCALE, argument=4)
    assert order(do="scale", workers=120, ticket=3) == Order(Verb.SCALE, argument=120, ticket=3)
    assert "other fields" in refused(do="scale", workers=4, stream="3f")
    assert "scale takes workers" in refused(do="scale", worker=4)


@pytest.mark.parametrize("workers", [None, 0, -1, 121, 1 << 70, 2.0, True, "2", [2]])
def test_what_is_no_number_of_workers(workers: object) -> None:
    assert "whole number from 1 to 120" in refused(do="scale", workers=workers)
