"""call.py in the dialect `audiohook2`: who is let in and how not, what goes over the WebSocket, limits, the end."""

import json
from typing import Any

import pytest

from audiohook.auth.verdict import FAILURE_DELAY_NS
from audiohook.call import Call
from audiohook.errors import FORBIDDEN_ADDRESS, NO_SLOT, SHUTDOWN, UNAUTHORIZED
from audiohook.session.audiohook2_client import upgrade_headers
from audiohook.session.events import AccessAsked, AdmissionAsked, Answered, AudioArrived, Ended, NotOpened
from audiohook.units import NS_PER_S
from audiohook.wire.frames import CloseReceived, Message, Pong
from tests.support.audiohook2 import CALLER, SESSION, STEREO, open_parameters
from tests.support.calls import (
    CLOSE,
    CONTINUATION,
    PING,
    START_NS,
    TEXT,
    Adapter,
    call_terms,
    close_frame,
    frame,
    in_every_cut,
    upgrade,
)
from tests.support.calls import HEADERS as CONTEXT_HEADERS

HEADERS = upgrade_headers(CALLER, "a2V5")
LIMIT_BYTES = 65_536


def text_of(kind: str, seq: int, parameters: Any = None, position: str = "PT0S") -> bytes:
    fields = {"version": "2", "type": kind, "id": SESSION, "seq": seq, "serverseq": 0, "position": position}
    return json.dumps({**fields, "parameters": {} if parameters is None else parameters}).encode()


def text(kind: str, seq: int, parameters: Any = None, position: str = "PT0S") -> bytes:
    return frame(text_of(kind, seq, parameters, position), TEXT)


OPEN = text("open", 1, open_parameters())
OPENED = upgrade(HEADERS) + OPEN


def said(messages: list[Message]) -> list[Any]:
    """Return text messages as (type, seq, clientseq), anything else as it is."""
    found: list[Any] = []
    for message in messages:
        if isinstance(message, str):
            fields = json.loads(message)
            found.append((fields["type"], fields["seq"], fields["clientseq"]))
        else:
            found.append(message)
    return found


# Who is let in


def asked(head: bytes) -> AccessAsked:
    call = Call(call_terms(), START_NS)
    call.receive_data(head, START_NS)
    (event,) = call.events()
    assert isinstance(event, AccessAsked)
    return event


def test_the_session_header_alone_decides_the_dialect() -> None:
    assert asked(upgrade(HEADERS)).dialect == "audiohook2"
    assert asked(upgrade((*CONTEXT_HEADERS, *HEADERS))).dialect == "audiohook2"
    assert asked(upgrade(CONTEXT_HEADERS)).dialect == "context"
    without = [header for header in HEADERS if header[0] != "audiohook-session-id"]
    assert in_every_cut(upgrade(without)).answer().status == 401, "nobody that can be known: the other dialect's answer"


@pytest.mark.parametrize("target", ["/", "/any/path", "/bot?connector=7&x=%20"])
def test_any_path_is_served_and_headers_that_nobody_needs_are_ignored(target: str) -> None:
    more = [("audiohook-retry-attempt", "3"), ("sec-websocket-extensions", "permessage-deflate"), ("cookie", "a=b")]
    answer = in_every_cut(upgrade(HEADERS, target=target, more=more)).answer()
    assert (answer.status, answer.accepted) == (101, True)
    assert answer.get("sec-websocket-extensions") is None
    assert answer.get("sec-websocket-protocol") is None


@pytest.mark.parametrize("name", ["audiohook-session-id", "audiohook-organization-id"])
def test_an_id_that_is_none_is_a_400_before_the_101(name: str) -> None:
    headers = [(found, "no-uuid" if found == name else value) for found, value in HEADERS]
    adapter = in_every_cut(upgrade(headers))
    assert (adapter.answer().status, adapter.events) == (400, [Answered("header_malformed")])
    assert b"no-uuid" not in bytes(adapter.sent)


def test_who_is_kept_out_hears_401_when_half_a_second_is_over_and_nothing_else() -> None:
    call = Call(call_terms(), START_NS)
    call.receive_data(upgrade(HEADERS), START_NS)
    call.events()
    now_ns = START_NS + NS_PER_S // 5  # the request was complete then, not when the connection came
    call.keep_out(UNAUTHORIZED, FAILURE_DELAY_NS, now_ns)
    call.receive_data(OPEN, now_ns)
    assert call.deadline_ns == now_ns + NS_PER_S // 2
    call.on_deadline(call.deadline_ns - 1)
    assert (call.data_to_send(), call.events()) == (b"", [])
    call.on_deadline(call.deadline_ns)
    data = call.data_to_send()
    assert data.startswith(b"HTTP/1.1 401 ")
    assert data.endswith(b"\r\n\r\nunauthorized\n")
    assert (call.events(), call.half_closed) == ([Answered("unauthorized")], True)


def test_who_does_not_wait_for_the_401_is_counted_all_the_same() -> None:
    call = Call(call_terms(), START_NS)
    call.receive_data(upgrade(HEADERS), START_NS)
    call.events()
    call.keep_out(UNAUTHORIZED, FAILURE_DELAY_NS, START_NS)
    call.receive_eof(START_NS + 1)
    call.on_deadline(START_NS + NS_PER_S)
    assert (call.events(), call.data_to_send(), call.finished) == ([Answered("unauthorized")], b"", True)


def test_a_foreign_address_hears_403_at_once() -> None:
    call = Call(call_terms(), START_NS)
    call.receive_data(upgrade(HEADERS), START_NS)
    call.events()
    call.keep_out(FORBIDDEN_ADDRESS, 0, START_NS)
    call.on_deadline(START_NS)
    assert call.data_to_send().startswith(b"HTTP/1.1 403 ")


def test_a_malformed_id_is_looked_at_only_when_access_is_given() -> None:
    headers = [(found, "no-uuid" if found == "audiohook-organization-id" else value) for found, value in HEADERS]
    call = Call(call_terms(), START_NS)
    call.receive_data(upgrade(headers), START_NS)
    assert [type(event) for event in call.events()] == [AccessAsked]
    assert call.data_to_send() == b""


def test_draining_is_a_503_before_the_101() -> None:
    adapter = in_every_cut(upgrade(HEADERS), terms=call_terms(draining=True))
    assert (adapter.answer().status, adapter.events) == (503, [Answered("draining")])


# What goes over the WebSocket


def test_a_session_is_the_same_in_every_cut() -> None:
    data = OPENED + frame(bytes(320)) + text("ping", 2, position="PT0.02S") + frame(b"?", PING) + frame(b"\x01\x02")
    data += text("ping", 3, position="PT0.02S") + text("close", 4, {"reason": "end"}, "PT0.02S") + frame(b"", CLOSE)
    adapter = in_every_cut(data)
    assert said(adapter.messages()) == [
        ("opened", 1, 1),
        ("pong", 2, 2),
        Pong(b"?"),
        ("pong", 3, 3),
        ("closed", 4, 4),
        CloseReceived(None, ""),
    ]
    assert [event for event in adapter.events if not isinstance(event, AdmissionAsked)] == [
        AudioArrived(bytes(320)),
        AudioArrived(b"\x01\x02"),
        Ended("peer_closed", None, "end"),
    ]
    assert (adapter.half_closed, adapter.outcome) == (True, "")


def test_a_refusal_behind_the_101_is_a_disconnect_in_the_place_of_opened() -> None:
    adapter = in_every_cut(OPENED, admission=NO_SLOT)
    assert said(adapter.messages()) == [("disconnect", 1, 1)]
    assert (adapter.half_closed, adapter.outcome) == (False, ""), "the peer closes"
    assert adapter.events[-1] == NotOpened("no_slot", NO_SLOT.text)


def test_messages_may_come_in_fragments() -> None:
    open_text = text_of("open", 1, open_parameters())
    data = upgrade(HEADERS) + frame(open_text[:50], TEXT, fin=False) + frame(open_text[50:], CONTINUATION)
    data += frame(b"\x01", fin=False) + frame(b"\x02\x03\x04", CONTINUATION)
    adapter = in_every_cut(data)
    assert said(adapter.messages()) == [("opened", 1, 1)]
    assert adapter.events[1:] == [AudioArrived(b"\x01\x02\x03\x04")]


def test_what_we_say_is_text_and_never_compressed() -> None:
    adapter = in_every_cut(OPENED)
    (message,) = adapter.messages()
    assert isinstance(message, str)
    assert json.loads(message)["parameters"] == {"media": [STEREO]}


# Limits


def test_the_longest_messages_are_taken() -> None:
    parameters = open_parameters(customConfig={"x": ""})
    room = LIMIT_BYTES - len(text_of("open", 1, parameters))
    parameters["customConfig"]["x"] = "c" * room
    adapter = Adapter().receive(upgrade(HEADERS), text("open", 1, parameters), frame(bytes(LIMIT_BYTES)))
    assert room > 60_000
    assert said(adapter.messages()) == [("opened", 1, 1)]
    assert adapter.events[1:] == [AudioArrived(bytes(LIMIT_BYTES))]


@pytest.mark.parametrize("opcode", [TEXT, 0x2])
def test_one_byte_more_is_a_1009(opcode: int) -> None:
    adapter = Adapter().receive(OPENED, frame(bytes(LIMIT_BYTES + 1), opcode))
    assert said(adapter.messages()) == [("opened", 1, 1), CloseReceived(1009, "message too large")]
    assert adapter.events[-1] == Ended("message_too_large", 1009, "message too large")
    assert adapter.advance(2 * NS_PER_S).outcome == "reset", "an answer is not awaited for ever"


def test_text_that_is_not_utf8_is_a_1007() -> None:
    adapter = in_every_cut(OPENED + frame(b'{"a":"\xff"}', TEXT))
    assert said(adapter.messages()) == [("opened", 1, 1), CloseReceived(1007, "text is not UTF-8")]


# Ends


def test_a_close_frame_is_answered_in_kind() -> None:
    for given, code in ((frame(b"", CLOSE), None), (close_frame(1001, "bye"), 1001)):
        adapter = in_every_cut(OPENED + given)
        (last,) = adapter.messages()[1:]
        assert last == CloseReceived(code, "")


def test_a_shutdown_is_a_disconnect_and_the_peer_closes() -> None:
    adapter = in_every_cut(OPENED, lambda adapter: adapter.close(SHUTDOWN))
    assert said(adapter.messages()) == [("opened", 1, 1), ("disconnect", 2, 1)]
    assert adapter.events[-1] == Ended("shutdown", None, "service restart")
    assert (adapter.half_closed, adapter.outcome) == (False, "")
    adapter.receive(text("close", 2, {"reason": "disconnect"}), frame(b"", CLOSE))
    assert said(adapter.messages())[2:] == [("closed", 3, 2), CloseReceived(None, "")]
