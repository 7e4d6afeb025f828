"""call.py behind the 101: frames, closes, life and ends, in every cut; and any bytes in any cut."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohook.errors import CLOSURES, SHUTDOWN, Closure
from audiohook.session.context import CLOSE_WAIT_NS
from audiohook.session.events import AdmissionAsked, Answered, AudioArrived, Ended, Event, Noticed
from audiohook.units import NS_PER_S
from audiohook.wire.frames import CloseReceived, Ping, Pong
from tests.support.calls import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEGRADED_NS,
    FIRST_AUDIO_NS,
    HEADERS,
    HEARTBEAT_NS,
    MAX_MESSAGE_BYTES,
    PING,
    PONG,
    RECONNECT_NS,
    REQUEST_NS,
    TEXT,
    Adapter,
    close_frame,
    frame,
    in_every_cut,
    plain,
    streaming,
    upgrade,
)
from tests.support.cuts import cut_at, cut_places


def behind_the_101(adapter: Adapter) -> list[Event]:
    assert isinstance(adapter.events[0], AdmissionAsked)
    return adapter.events[1:]


# Messages


def test_audio_in_order_whatever_its_fragments() -> None:
    data = frame(b"one") + frame(b"tw", fin=False) + frame(b"", PONG) + frame(b"o", CONTINUATION) + frame(b"")
    adapter = in_every_cut(upgrade() + data)
    assert behind_the_101(adapter) == [AudioArrived(b"one"), AudioArrived(b"two"), AudioArrived(b"")]


def test_text_is_counted_and_ignored_whatever_is_in_it() -> None:
    texts = ('{"type": "hello"}', "[]", "not JSON {", "", "grüß 𝄞")
    data = b"".join(frame(text.encode(), TEXT) for text in texts) + frame(b"audio")
    assert behind_the_101(in_every_cut(upgrade() + data)) == [Noticed("text_ignored")] * 5 + [AudioArrived(b"audio")]


def test_a_ping_is_answered_with_its_own_payload() -> None:
    payloads = [b"", b"a", bytes(range(125))]
    adapter = in_every_cut(upgrade() + b"".join(frame(payload, PING) for payload in payloads))
    assert adapter.messages() == [Pong(payload) for payload in payloads]
    assert behind_the_101(adapter) == []


def test_the_largest_message_passes() -> None:
    assert behind_the_101(Adapter().receive(upgrade(), frame(bytes(MAX_MESSAGE_BYTES)))) == [
        AudioArrived(bytes(MAX_MESSAGE_BYTES))
    ]


# The peer's mistakes

TOO_LARGE = frame(bytes(MAX_MESSAGE_BYTES + 1))

MISTAKES = [
    pytest.param(TOO_LARGE, 1009, "message_too_large", id="oversize"),
    pytest.param(TOO_LARGE[:8], 1009, "message_too_large", id="oversize by its header alone"),
    pytest.param(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + b"mask", 1009, "message_too_large", id="2^62 bytes"),
    pytest.param(
        frame(bytes(MAX_MESSAGE_BYTES), fin=False) + frame(b"x", CONTINUATION),
        1009,
        "message_too_large",
        id="oversize in fragments",
    ),
    pytest.param(frame(b"\xff\xfe", TEXT), 1007, "invalid_payload", id="text that is not UTF-8"),
    pytest.param(frame(b"\xe2\x82", TEXT), 1007, "invalid_payload", id="text that ends in a character"),
    pytest.param(b"\x82\x03abc", 1002, "protocol_error", id="unmasked"),
    pytest.param(frame(b"", 0x3), 1002, "protocol_error", id="reserved opcode"),
    pytest.param(frame(b"x", CONTINUATION), 1002, "protocol_error", id="continuation of nothing"),
    pytest.param(frame(b"a", fin=False) + frame(b"b"), 1002, "protocol_error", id="message in a message"),
    pytest.param(frame(b"a", PING, fin=False), 1002, "protocol_error", id="fragmented ping"),
    pytest.param(frame(bytes(126), PING), 1002, "protocol_error", id="long ping"),
    pytest.param(close_frame(1005), 1002, "protocol_error", id="close code that must not be sent"),
    pytest.param(frame(b"\x03", CLOSE), 1002, "protocol_error", id="half a close code"),
]


@pytest.mark.parametrize(("data", "code", "slug"), MISTAKES)
def test_a_mistake_is_answered_with_its_code(data: bytes, code: int, slug: str) -> None:
    adapter = in_every_cut(upgrade() + frame(b"before") + data + frame(b"behind") + close_frame(1000))
    audio, ended = behind_the_101(adapter)
    assert audio == AudioArrived(b"before")
    assert isinstance(ended, Ended)
    assert (ended.reason, ended.code) == (slug, code)
    assert adapter.messages() == [CloseReceived(code, ended.text)]
    assert adapter.outcome == ""
    assert adapter.advance(CLOSE_WAIT_NS).outcome == "reset"


@pytest.mark.parametrize(("data", "code", "slug"), MISTAKES)
def test_a_peer_that_goes_after_its_mistake(data: bytes, code: int, slug: str) -> None:
    adapter = in_every_cut(upgrade() + data, Adapter.eof)
    assert adapter.outcome == "closed"
    assert [event.reason for event in adapter.events if isinstance(event, Ended)] == [slug]


# The closing handshake, from both sides


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (close_frame(1000, "bye"), 1000, "bye"),
        (close_frame(1001), 1001, ""),
        (close_frame(4999, "ü" * 61), 4999, "ü" * 61),
        (frame(b"", CLOSE), None, ""),
    ],
)
def test_the_peer_closes(data: bytes, code: int | None, reason: str) -> None:
    adapter = in_every_cut(upgrade() + frame(b"last") + data + frame(b"behind"))
    assert behind_the_101(adapter) == [
        AudioArrived(b"last"),
        Ended("peer_closed", code, reason, RECONNECT_NS if code == 1001 else 0),
    ]
    assert adapter.messages() == [CloseReceived(code, "")]
    assert (adapter.half_closed, adapter.outcome, adapter.call.streaming) == (True, "", False)
    assert in_every_cut(upgrade() + data, Adapter.eof).outcome == "closed"
    assert adapter.advance(CLOSE_WAIT_NS).outcome == "closed"


def test_we_close_and_the_peer_answers() -> None:
    def then(adapter: Adapter) -> None:
        adapter.close(SHUTDOWN).advance(NS_PER_S)
        late = frame(b"late") + frame(b"late", TEXT) + frame(b"late", PING) + close_frame(1012)
        adapter.receive(*(late[place : place + 1] for place in range(len(late))))

    adapter = in_every_cut(upgrade() + frame(b"one"), then)
    assert behind_the_101(adapter) == [AudioArrived(b"one"), Ended("shutdown", 1012, "service restart")]
    assert adapter.messages() == [CloseReceived(1012, "service restart")], "no pong, no second close"
    assert (adapter.half_closed, adapter.outcome) == (True, ""), "at once, and not when the wait is over"
    assert adapter.eof().outcome == "closed"


def test_the_peers_answer_in_any_cut_behind_audio_that_nobody_gets() -> None:
    late = frame(b"late") + frame(b"late", fin=False) + close_frame(1000)
    outcomes = set()
    for cut in ([late], [late[:5], late[5:]], [late[i : i + 1] for i in range(len(late))]):
        adapter = streaming().close(SHUTDOWN).receive(*cut)
        outcomes.add((tuple(behind_the_101(adapter)), bytes(adapter.sent), adapter.half_closed, adapter.outcome))
    assert len(outcomes) == 1
    assert outcomes.pop()[0] == (Ended("shutdown", 1012, "service restart"),)


def test_we_close_and_the_peer_goes() -> None:
    adapter = streaming().close(SHUTDOWN).eof()
    assert (behind_the_101(adapter), adapter.outcome) == ([Ended("shutdown", 1012, "service restart")], "closed")


def test_we_close_and_the_peer_goes_on() -> None:
    adapter = streaming().close(SHUTDOWN)
    for _ in range(4):
        assert adapter.receive(frame(b"audio")).advance(CLOSE_WAIT_NS // 4 - 1).outcome == ""
    adapter.advance(4)
    assert (behind_the_101(adapter), adapter.outcome) == ([Ended("shutdown", 1012, "service restart")], "reset")


def test_we_close_only_once() -> None:
    adapter = streaming().close(SHUTDOWN)
    said = adapter.seen()
    for why in CLOSURES:
        if why.code is not None:
            adapter.advance(1).close(why)
    assert adapter.seen() == said
    assert adapter.advance(CLOSE_WAIT_NS - len(CLOSURES)).outcome == ""
    assert adapter.advance(len(CLOSURES)).outcome == "reset", "counted from the first"


# The peer's end of file at every point

CONVERSATION = (
    upgrade()
    + frame(b"one")
    + frame(b"text", TEXT)
    + frame(b"tw", fin=False)
    + frame(b"o", CONTINUATION)
    + frame(b"ping", PING)
    + close_frame(1000, "bye")
    + frame(b"behind")
)


def test_end_of_file_at_every_point() -> None:
    closed_at = len(CONVERSATION) - len(frame(b"behind"))
    for length in range(len(CONVERSATION) + 1):
        data = CONVERSATION[:length]
        adapter = Adapter().receive(data).eof()
        assert adapter.outcome == "closed"
        assert adapter.call.data_to_send() == b""
        ends = [event for event in adapter.events if isinstance(event, Ended | Answered)]
        if length < len(upgrade()):
            assert ends == ([Answered("request_malformed")] if data else [])
        elif length < closed_at:
            assert ends == [Ended("peer_vanished", waits_ns=RECONNECT_NS)]
        else:
            assert ends == [Ended("peer_closed", 1000, "bye")]
        assert not ends or ends[0] is adapter.events[-1]


# Life


def test_a_silent_peer_is_asked_and_then_reset() -> None:
    adapter = streaming().advance(HEARTBEAT_NS - 1)
    assert adapter.messages() == []
    assert adapter.advance(1).messages() == [Ping(b"")]
    sent = bytes(adapter.sent)
    assert adapter.advance(HEARTBEAT_NS - 1).outcome == ""
    assert adapter.advance(1).outcome == "reset"
    assert (bytes(adapter.sent), behind_the_101(adapter)) == (sent, [Ended("heartbeat_lost", waits_ns=RECONNECT_NS)])


@pytest.mark.parametrize(
    "sign",
    [frame(b"", PONG), frame(b"unasked", PONG), frame(b"?", PING), frame(b"audio"), frame(b"{}", TEXT)],
    ids=["pong", "unasked pong", "ping", "audio", "text"],
)
def test_every_frame_is_a_sign_of_life(sign: bytes) -> None:
    adapter = streaming()
    for _ in range(20):
        for byte in sign:
            adapter.receive(bytes([byte])).advance(3 * NS_PER_S // len(sign))
    assert adapter.outcome == ""
    assert not any(isinstance(event, Ended) for event in adapter.events)
    assert adapter.messages().count(Ping(b"")) >= 14


def test_half_a_frame_is_no_sign_of_life() -> None:
    adapter = streaming().receive(frame(b"never complete")[:-1])
    assert adapter.advance(HEARTBEAT_NS).receive(frame(b"never complete")[-1:]).advance(HEARTBEAT_NS).outcome == ""
    assert adapter.receive(frame(b"x")[:3]).advance(HEARTBEAT_NS).outcome == "reset"


def test_a_process_that_stood_still_does_not_judge_at_once() -> None:
    adapter = streaming().advance(HEARTBEAT_NS).sleep(60 * NS_PER_S).wake()
    assert adapter.outcome == ""
    assert adapter.receive(frame(b"", PONG)).advance(HEARTBEAT_NS).outcome == ""


def test_no_audio_degraded_and_recovered_pass_through() -> None:
    def lively(adapter: Adapter, for_ns: int) -> None:
        for _ in range(for_ns // NS_PER_S):
            adapter.receive(frame(b"", PONG)).advance(NS_PER_S)

    adapter = streaming()
    lively(adapter, FIRST_AUDIO_NS)
    for payload in (b"one", b"two"):
        adapter.receive(frame(payload))
        lively(adapter, 2 * DEGRADED_NS)
    assert behind_the_101(adapter) == [
        Noticed("no_audio"),
        AudioArrived(b"one"),
        Noticed("degraded"),
        Noticed("recovered"),
        AudioArrived(b"two"),
        Noticed("degraded"),
    ]


def test_a_timer_that_is_early_changes_nothing() -> None:
    for adapter in (Adapter(), streaming(), streaming().close(SHUTDOWN), Adapter().receive(plain("GET", "/healthz"))):
        said, deadline_ns = adapter.seen(), adapter.call.deadline_ns
        assert adapter.wake().seen() == said
        assert adapter.call.deadline_ns == deadline_ns


@pytest.mark.parametrize("end", [close_frame(1000), frame(b"\xff", TEXT)], ids=["close", "mistake"])
def test_a_ping_in_the_same_read_as_the_end_is_answered(end: bytes) -> None:
    adapter = in_every_cut(upgrade() + frame(b"?", PING) + end)
    asked, ended = adapter.messages()
    assert asked == Pong(b"?")
    assert isinstance(ended, CloseReceived)


# Anything at all

PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([upgrade(), upgrade(HEADERS[1:]), plain("GET", "/healthz"), close_frame(1000, "bye"), b"\r\n\r\n"]),
    st.builds(frame, st.binary(max_size=130), st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG]), st.booleans()),
    st.builds(frame, st.binary(max_size=4), st.integers(0, 15), st.booleans()),
)
STREAMS = st.lists(PIECES, max_size=8).map(b"".join) | st.lists(PIECES, max_size=8).map(
    lambda pieces: upgrade() + b"".join(pieces)
)


@given(STREAMS, cut_places(1500), st.booleans())
@example(upgrade() + frame(b"?", PING) + close_frame(1000), [400], False)
def test_any_bytes_in_any_cut(data: bytes, places: list[int], eof: bool) -> None:
    def run(pieces: list[bytes]) -> Adapter:
        adapter = Adapter().receive(*pieces)
        return adapter.eof() if eof else adapter

    assert run(cut_at(data, places)).seen() == run([data]).seen()


STEPS = st.lists(
    st.one_of(
        PIECES.map(lambda data: ("receive", data)),
        st.integers(0, 12 * NS_PER_S).map(lambda for_ns: ("advance", for_ns)),
        st.integers(0, 90 * NS_PER_S).map(lambda for_ns: ("sleep", for_ns)),
        st.sampled_from(CLOSURES).map(lambda why: ("close", why)),
        st.just(("wake", None)),
        st.just(("eof", None)),
    ),
    max_size=12,
)


@given(st.booleans(), STEPS)
def test_whatever_happens_a_call_comes_to_one_end(begun: bool, steps: list[tuple[str, object]]) -> None:
    adapter = streaming() if begun else Adapter()
    for step, given_value in steps:
        match given_value:
            case None:
                getattr(adapter, step)()
            case bytes() | int() | Closure():
                getattr(adapter, step)(given_value)
    adapter.advance(REQUEST_NS + 3 * HEARTBEAT_NS + CLOSE_WAIT_NS)
    assert adapter.outcome in ("closed", "reset"), "deadlines alone bring every Call to its end"
    asked = sum(isinstance(event, AdmissionAsked) for event in adapter.events)
    ends = [event for event in adapter.events if isinstance(event, Ended)]
    assert len(ends) == asked <= 1
    if ends:
        assert adapter.events[-1] is ends[0]
