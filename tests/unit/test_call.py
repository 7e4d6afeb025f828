"""call.py, up to the 101 and around it: requests, refusals, deadlines, and what the ends of ours do in each phase.

Everything goes through `tests/support/calls.py`, an adapter that does what the Call's docstring asks and nothing else;
what can be cut is cut (whole, byte by byte, at random).
"""

from collections.abc import Callable

import pytest

from audiohook.call import Call
from audiohook.errors import CLOSURES, DRAINING, HEARTBEAT_LOST, NO_SLOT, SEND_STALLED, SHUTDOWN, Closure
from audiohook.session.context import CLOSE_WAIT_NS
from audiohook.session.events import (
    AccessAsked,
    AdmissionAsked,
    Answered,
    AudioArrived,
    Ended,
    Identity,
    Media,
    Noticed,
)
from audiohook.units import NEVER_NS, NS_PER_S
from audiohook.wire.frames import CloseReceived
from tests.support.calls import (
    CALL_ID,
    HEADERS,
    PING,
    RECONNECT_NS,
    REQUEST_NS,
    START_NS,
    TEXT,
    Adapter,
    call_terms,
    close_frame,
    frame,
    in_every_cut,
    plain,
    streaming,
    upgrade,
)

IDENTITY = Identity("context", CALL_ID, "session-1", "user-1", "participant-1", direction="inbound")
ASKED = AdmissionAsked(IDENTITY, Media("opus", 16_000, ("mono",), "message"))


# The upgrade


def test_an_upgrade_asks_for_admission_and_is_accepted() -> None:
    adapter = in_every_cut(upgrade())
    answer = adapter.answer()
    assert (answer.status, answer.accepted) == (101, True)
    assert adapter.events == [ASKED]
    assert (adapter.half_closed, adapter.outcome, adapter.call.streaming) == (False, "", True)


def test_a_path_may_have_terms_of_its_own() -> None:
    for target in ("/narrow", "/narrow?from=trunk"):
        assert Adapter().receive(upgrade(target=target)).events == [
            AdmissionAsked(IDENTITY, Media("opus", 8_000, ("mono",), "fixed:40"))
        ]
    assert Adapter().receive(upgrade(target="/narrower")).events == [ASKED]


def test_frames_that_come_with_the_upgrade_are_delivered() -> None:
    data = upgrade() + frame(b"one") + frame(b"{}", TEXT) + frame(b"two") + frame(b"?", PING)
    adapter = in_every_cut(data)
    assert adapter.events == [ASKED, AudioArrived(b"one"), Noticed("text_ignored"), AudioArrived(b"two")]
    assert len(adapter.messages()) == 1


def test_an_offer_of_compression_is_declined_and_not_accepted_later() -> None:
    offer = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
    compressed = bytearray(frame(b"one"))
    compressed[0] |= 0x40
    adapter = in_every_cut(upgrade(more=[offer]) + bytes(compressed))
    assert adapter.answer().get("sec-websocket-extensions") is None
    assert adapter.events == [ASKED, Ended("protocol_error", 1002, "protocol error")]


def test_a_subprotocol_is_never_chosen() -> None:
    assert (
        in_every_cut(upgrade(more=[("sec-websocket-protocol", "audio")])).answer().get("sec-websocket-protocol") is None
    )


# Refusals


def without(name: str) -> bytes:
    return upgrade([header for header in HEADERS if header[0] != name])


def replaced(name: str, value: str) -> bytes:
    return upgrade([(header, value if header == name else kept) for header, kept in HEADERS])


def changed(line: bytes, into: bytes) -> bytes:
    head = upgrade()
    assert line in head
    return head.replace(line, into)


SECRET = "no-such-uuid-or-key"

REFUSED = [
    *(pytest.param(without(name), 401, "header_missing", name, id=f"no {name}") for name, _ in HEADERS[:4]),
    *(
        pytest.param(replaced(name, f"{SECRET} \x7f"), 400, "header_malformed", name, id=f"bad {name}")
        for name, _ in HEADERS
    ),
    pytest.param(upgrade(more=[HEADERS[1]]), 400, "header_malformed", HEADERS[1][0], id="repeated header"),
    pytest.param(
        changed(b"version: 13", b"version: 8"), 426, "version_unsupported", "version 13", id="WebSocket version"
    ),
    pytest.param(changed(b"sec-websocket-version: 13\r\n", b""), 426, "version_unsupported", "13", id="no version"),
    pytest.param(
        changed(b"dGhlIHNhbXBsZSBub25jZQ==", SECRET.encode()),
        400,
        "upgrade_malformed",
        "sec-websocket-key",
        id="bad key",
    ),
    pytest.param(
        changed(b"connection: upgrade\r\n", b""), 400, "upgrade_malformed", "connection", id="no connection header"
    ),
    pytest.param(changed(b"HTTP/1.1", b"HTTP/1.0"), 400, "upgrade_malformed", "HTTP/1.1", id="HTTP/1.0"),
    pytest.param(changed(b"GET", b"PUT"), 405, "method_not_allowed", "GET", id="method"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01", 400, "request_malformed", "HTTP", id="TLS"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "request_malformed", "HTTP", id="no host"),
    pytest.param(upgrade(more=[("x-pad", SECRET * 300)]), 431, "request_too_large", "", id="oversize head"),
    pytest.param(upgrade(more=[("x-pad", SECRET)] * 60), 431, "request_too_large", "headers", id="too many headers"),
    pytest.param(plain("GET", f"/{SECRET}"), 404, "not_found", "", id="another target"),
    pytest.param(plain("POST", "/healthz"), 405, "method_not_allowed", "GET", id="another method"),
]


@pytest.mark.parametrize(("data", "status", "slug", "names"), REFUSED)
def test_a_refusal_says_which_header_and_never_its_value(data: bytes, status: int, slug: str, names: str) -> None:
    adapter = in_every_cut(data)
    answer = adapter.answer()
    assert (answer.status, adapter.events) == (status, [Answered(slug)])
    assert names in answer.body.decode("ascii")
    assert SECRET.encode() not in bytes(adapter.sent)
    assert answer.body.count(b"\n") == 1
    assert (adapter.half_closed, adapter.outcome) == (True, "")


def test_the_version_that_is_spoken_is_named() -> None:
    answer = in_every_cut(changed(b"version: 13", b"version: 8")).answer()
    assert answer.get("sec-websocket-version") == "13"


def test_no_slot() -> None:
    adapter = in_every_cut(upgrade() + frame(b"too early"), admission=NO_SLOT)
    assert (adapter.answer().status, adapter.answer().get("retry-after")) == (503, "5")
    assert adapter.events == [ASKED, Answered("no_slot")]
    assert adapter.half_closed


def test_draining_refuses_before_it_asks_for_a_slot() -> None:
    adapter = in_every_cut(upgrade(), terms=call_terms(draining=True))
    assert (adapter.answer().status, adapter.answer().get("retry-after")) == (503, "5")
    assert adapter.events == [Answered("draining")]


# The health check


@pytest.mark.parametrize("target", ["/healthz", "/healthz?from=balancer"])
@pytest.mark.parametrize(("draining", "status", "body"), [(False, 200, b"ok\n"), (True, 503, b"draining\n")])
def test_health_check(target: str, draining: bool, status: int, body: bytes) -> None:
    adapter = in_every_cut(plain("GET", target), terms=call_terms(draining=draining))
    answer = adapter.answer()
    assert (answer.status, answer.body, adapter.events) == (status, body, [Answered("health_checks")])


@pytest.mark.parametrize(("target", "status"), [("/healthz", 200), ("/elsewhere", 404)])
def test_head_has_the_same_head_and_no_body(target: str, status: int) -> None:
    whole = bytes(Adapter().receive(plain("GET", target)).sent)
    head = bytes(in_every_cut(plain("HEAD", target)).sent)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert head == whole[: whole.index(b"\r\n\r\n") + 4]


# After an answer


def test_after_an_answer_the_peers_end_is_awaited() -> None:
    adapter = in_every_cut(plain("GET", "/healthz") * 2 + frame(b"x"), Adapter.eof)
    assert adapter.sent.count(b"HTTP/1.1") == 1
    assert (adapter.events, adapter.outcome) == ([Answered("health_checks")], "closed")


def test_after_an_answer_the_peers_end_is_awaited_for_a_bounded_time() -> None:
    adapter = Adapter().receive(plain("GET", "/healthz")).advance(CLOSE_WAIT_NS - 1)
    for _ in range(3):
        adapter.receive(b"more")
        assert adapter.outcome == ""
    assert adapter.advance(1).outcome == "closed", "bytes that go on coming do not put the end off"


# The request's deadline


@pytest.mark.parametrize("head", [b"", b"G", upgrade()[:-1]])
def test_a_request_that_is_not_complete_in_time(head: bytes) -> None:
    adapter = in_every_cut(head, lambda adapter: adapter.advance(REQUEST_NS))
    assert adapter.answer().status == 408
    assert (adapter.events, adapter.half_closed) == ([Answered("request_timeout")], True)
    assert adapter.advance(CLOSE_WAIT_NS).outcome == "closed"


def test_a_trickle_does_not_put_the_deadline_off() -> None:
    adapter = Adapter()
    for byte in upgrade():
        adapter.receive(bytes([byte])).advance(NS_PER_S)
    assert adapter.events == [Answered("request_timeout")]
    assert adapter.outcome == "closed"


def test_a_request_in_the_last_instant_is_in_time() -> None:
    adapter = Adapter().advance(REQUEST_NS - 1).receive(upgrade())
    assert adapter.answer().status == 101
    assert adapter.advance(NS_PER_S).events == [ASKED], "and the request's deadline is gone with it"


# The peer's end before the 101


def test_a_peer_that_says_nothing_and_goes() -> None:
    adapter = Adapter().eof()
    assert (adapter.events, bytes(adapter.sent), adapter.outcome) == ([], b"", "closed")


def test_a_peer_that_goes_in_its_request() -> None:
    adapter = in_every_cut(upgrade()[:-1], Adapter.eof)
    assert (adapter.events, bytes(adapter.sent), adapter.outcome) == ([Answered("request_malformed")], b"", "closed")


# Ends of ours, in each phase


def unanswered() -> Call:
    """Return a Call whose question for admission has not been answered yet."""
    call = Call(call_terms(), START_NS)
    call.receive_data(upgrade(), START_NS)
    assert [type(event) for event in call.events()] == [AccessAsked]
    call.let_in(START_NS)
    assert call.events() == [ASKED]
    return call


def test_shutdown_before_the_request_is_complete() -> None:
    for head in (b"", upgrade()[:50]):
        adapter = in_every_cut(head, lambda adapter: adapter.close(SHUTDOWN))
        assert (adapter.answer().status, adapter.answer().get("retry-after")) == (503, "5")
        assert (adapter.events, adapter.half_closed) == ([Answered("draining")], True)


def test_shutdown_while_admission_is_asked_for() -> None:
    call = unanswered()
    call.receive_data(frame(b"early"), START_NS)
    call.close(SHUTDOWN, START_NS)
    assert call.data_to_send().startswith(b"HTTP/1.1 503 ")
    assert (call.events(), call.half_closed, call.finished) == ([Answered(DRAINING.slug)], True, False)


def test_frames_that_come_while_admission_is_asked_for_are_kept() -> None:
    call = unanswered()
    call.receive_data(frame(b"early")[:3], START_NS)
    call.receive_data(frame(b"early")[3:] + frame(b"next"), START_NS)
    assert call.events() == []
    call.admit(START_NS)
    assert call.events() == [AudioArrived(b"early"), AudioArrived(b"next")]


def test_shutdown_of_a_stream() -> None:
    adapter = in_every_cut(upgrade(), lambda adapter: adapter.close(SHUTDOWN))
    assert adapter.messages() == [CloseReceived(1012, "service restart")]
    assert adapter.events == [ASKED, Ended("shutdown", 1012, "service restart")]
    assert (adapter.half_closed, adapter.outcome, adapter.call.streaming) == (False, "", False)


def test_shutdown_when_everything_has_been_said() -> None:
    adapter = Adapter().receive(plain("GET", "/healthz")).advance(NS_PER_S)
    said = adapter.seen()
    assert adapter.close(SHUTDOWN).seen() == said
    assert adapter.advance(NS_PER_S).outcome == "closed", "and the wait is no longer than it was"


PHASES: dict[str, Callable[[], Adapter]] = {
    "nothing came": Adapter,
    "in the request": lambda: Adapter().receive(upgrade()[:50]),
    "streaming": streaming,
    "closing": lambda: streaming().close(SHUTDOWN),
    "all said": lambda: Adapter().receive(plain("GET", "/healthz")),
    "all said to a stream": lambda: streaming().receive(close_frame(1000)),
}


@pytest.mark.parametrize("why", [SEND_STALLED, HEARTBEAT_LOST])
@pytest.mark.parametrize("phase", PHASES)
def test_an_end_without_a_code_resets_in_every_phase(phase: str, why: Closure) -> None:
    adapter = PHASES[phase]()
    sent, events = bytes(adapter.sent), list(adapter.events)
    adapter.close(why)
    assert (adapter.outcome, bytes(adapter.sent)) == ("reset", sent)
    assert adapter.events == [*events, *([Ended(why.slug, waits_ns=RECONNECT_NS)] if phase == "streaming" else [])]
    assert (adapter.call.finished, adapter.call.deadline_ns) == (True, NEVER_NS)


@pytest.mark.parametrize("why", CLOSURES)
@pytest.mark.parametrize("phase", PHASES)
def test_every_end_of_ours_comes_to_an_end(phase: str, why: Closure) -> None:
    adapter = PHASES[phase]().close(why).advance(CLOSE_WAIT_NS)
    assert adapter.outcome in ("closed", "reset")
    assert sum(isinstance(event, Ended) for event in adapter.events) == (ASKED in adapter.events)


@pytest.mark.parametrize("end", [Adapter.eof, lambda adapter: adapter.close(SEND_STALLED)], ids=["closed", "reset"])
@pytest.mark.parametrize("phase", PHASES)
def test_after_the_end_nothing_happens(phase: str, end: Callable[[Adapter], object]) -> None:
    adapter = PHASES[phase]()
    end(adapter)
    assert adapter.outcome
    call = adapter.call
    flags = call.half_closed, call.reset, call.finished
    for _ in range(2):
        call.receive_data(upgrade() + frame(b"x"), adapter.now_ns)
        call.receive_eof(adapter.now_ns)
        call.on_deadline(adapter.now_ns + REQUEST_NS)
        call.close(SHUTDOWN, adapter.now_ns)
        call.close(SEND_STALLED, adapter.now_ns)
    assert (call.data_to_send(), call.events()) == (b"", [])
    assert (call.half_closed, call.reset, call.finished) == flags
    assert call.deadline_ns == NEVER_NS
