"""wire/request.py: one request head, in any cut, to a request or a refusal."""

import gc

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohook import errors
from audiohook.errors import Refusal
from audiohook.wire.request import Request, RequestReader, is_upgrade, refusal_bytes, upgrade_key
from tests.support.cuts import cut_at, cut_places, same_in_every_cut

MAX_REQUEST_BYTES = 512
MAX_HEADERS = 12

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3."""

UPGRADE = (
    b"GET /audiohook?x=1 HTTP/1.1\r\n"
    b"Host: example.org\r\n"
    b"Connection: keep-alive, Upgrade\r\n"
    b"Upgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    b"X-Genesys-Call-Id:  abc \t\r\n"
    b"\r\n"
)

PLAIN = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def reader() -> RequestReader:
    return RequestReader(max_request_bytes=MAX_REQUEST_BYTES, max_headers=MAX_HEADERS)


def answer_of(pieces: list[bytes]) -> tuple[Request | Refusal | None, bytes]:
    """Feed pieces until the answer; return it with all that came behind it, as the next protocol would get it."""
    taker = reader()
    for place, piece in enumerate(pieces):
        answer = taker.receive_data(piece)
        if answer is not None:
            rest = b"".join(pieces[place + 1 :])
            return answer, (taker.trailing() + rest if isinstance(answer, Request) else b"")
    return None, b""


def request_of(data: bytes) -> Request:
    answer, _ = same_in_every_cut(data, answer_of)
    assert isinstance(answer, Request)
    return answer


def refusal_of(data: bytes) -> Refusal:
    answer, _ = same_in_every_cut(data, answer_of)
    assert isinstance(answer, Refusal)
    return answer


def with_headers(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *lines)) + b"\r\n\r\n"


def head_of(size: int) -> bytes:
    """A correct head of exactly `size` bytes."""
    empty = with_headers(b"x: ")
    return with_headers(b"x: " + b"y" * (size - len(empty)))


# What is taken


def test_upgrade_request() -> None:
    request = request_of(UPGRADE)
    assert request.method == "GET"
    assert request.target == "/audiohook?x=1"
    assert request.http_version == "1.1"
    assert request.headers[0] == ("host", "example.org")
    assert request.get("x-genesys-call-id") == "abc"
    assert request.get("x-genesys-session-id") is None
    assert is_upgrade(request)
    assert upgrade_key(request) == KEY


def test_frames_that_came_with_the_request_are_kept() -> None:
    # wsproto's own server handshake drops them.
    frames = bytes(range(256))
    request, trailing = same_in_every_cut(UPGRADE + frames, answer_of)
    assert isinstance(request, Request)
    assert trailing == frames


def test_trailing_is_what_came_in_the_same_piece() -> None:
    taker = reader()
    assert isinstance(taker.receive_data(UPGRADE + b"\x81\x80"), Request)
    assert taker.receive_data(b"later") is None
    assert taker.trailing() == b"\x81\x80"


def test_plain_request_of_http_1_0() -> None:
    # What HAProxy's httpchk sends unless told otherwise.
    request = request_of(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (request.target, request.http_version) == ("/healthz", "1.0")
    assert not is_upgrade(request)


def test_bare_line_feeds_end_lines() -> None:
    assert request_of(b"GET / HTTP/1.1\nHost: a\n\n").get("host") == "a"
    assert request_of(b"GET / HTTP/1.1\r\nHost: a\n\r\n").get("host") == "a"


def test_repeated_headers_are_joined_and_countable() -> None:
    request = request_of(with_headers(b"X-A: 1", b"X-B: 2", b"x-a: 3"))
    assert request.get("x-a") == "1, 3"
    assert (request.count("x-a"), request.count("x-b"), request.count("x-c")) == (2, 1, 0)
    assert request.headers == (("host", "a"), ("x-a", "1"), ("x-b", "2"), ("x-a", "3"))


def test_values_are_latin_1_and_lose_blanks_only() -> None:
    # str.strip() without an argument would also take 0xA0 and 0x1F off the ends.
    assert request_of(with_headers(b"x: \t \xa0\x1fgr\xfc\xdf\x85 \t")).get("x") == "\xa0\x1fgrüß\x85"


def test_an_announced_empty_body_is_none() -> None:
    assert request_of(with_headers(b"content-length: 0")).method == "GET"


def test_pipelined_bytes_do_not_change_a_plain_request() -> None:
    request, _ = same_in_every_cut(PLAIN + b"\x00garbage" * 200, answer_of)
    assert request == request_of(PLAIN)


# What is refused

MALFORMED = {
    "tls greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "empty line first": b"\r\n" + PLAIN,
    "blank first": b" " + PLAIN,
    "above ascii first": b"\xff\xf4\xff\xfd\x06",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "target above ascii": "GET /ü HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "http 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http 0.9": b"GET / HTTP/0.9\r\n\r\n",
    "not http": b"HELO mail.example.org\r\n\r\n",
    "host missing": b"GET / HTTP/1.1\r\n\r\n",
    "host twice": with_headers(b"Host: b"),
    "no colon": with_headers(b"nonsense"),
    "blank in name": with_headers(b"a b: c"),
    "blank before colon": with_headers(b"a : c"),
    "empty name": with_headers(b": c"),
    "name above ascii": with_headers(b"\xe4: c"),
    "nul": with_headers(b"a: b\x00c"),
    "bare carriage return": with_headers(b"a: b\rc"),
    "two carriage returns": with_headers(b"a: b\r"),
    "form feed": with_headers(b"a: b\x0cc"),
    "folded first line": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "lengths that differ": with_headers(b"content-length: 0", b"content-length: 1"),
    "length no number": with_headers(b"content-length: -1"),
    "unknown coding": with_headers(b"transfer-encoding: gzip"),
    "body by length": with_headers(b"content-length: 5") + b"12345",
    "body by chunks": with_headers(b"transfer-encoding: chunked") + b"0\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request(data: bytes) -> None:
    refusal = refusal_of(data)
    assert (refusal.slug, refusal.status) == (errors.REQUEST_MALFORMED.slug, 400)


def test_a_body_of_another_method_is_its_own_refusal() -> None:
    assert refusal_of(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab") == errors.METHOD_NOT_ALLOWED


def test_head_length_is_exact() -> None:
    assert len(head_of(MAX_REQUEST_BYTES)) == MAX_REQUEST_BYTES
    assert isinstance(request_of(head_of(MAX_REQUEST_BYTES)), Request)
    assert refusal_of(head_of(MAX_REQUEST_BYTES + 1)) == errors.REQUEST_TOO_LARGE


def test_what_follows_a_head_does_not_count() -> None:
    assert isinstance(request_of(head_of(MAX_REQUEST_BYTES) + bytes(5000)), Request)


def test_a_head_that_cannot_end_in_time_is_refused_at_the_limit() -> None:
    taker = reader()
    for _ in range(MAX_REQUEST_BYTES - 1):
        assert taker.receive_data(b"a") is None
    assert taker.receive_data(b"a") == errors.REQUEST_TOO_LARGE


def test_too_large_wins_over_malformed_in_every_cut() -> None:
    # h11 by itself judges a whole head that is too long, but not the same head in pieces.
    assert refusal_of(with_headers(b"bad line " * 100)) == errors.REQUEST_TOO_LARGE


def test_header_count_is_exact() -> None:
    lines = [b"a: b"] * (MAX_HEADERS - 1)
    assert len(request_of(with_headers(*lines)).headers) == MAX_HEADERS
    refusal = refusal_of(with_headers(*lines, b"a: b"))
    assert (refusal.slug, refusal.status) == (errors.REQUEST_TOO_LARGE.slug, 431)


@pytest.mark.parametrize("octet", [b"\x00", b"\x0b", b"\x0c", b"\r"])
def test_octets_that_make_h11_slow_never_reach_it(octet: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object, **__: object) -> None:
        raise AssertionError("h11 was asked")

    monkeypatch.setattr(h11, "Connection", reached)
    assert refusal_of(with_headers(b"a:" + b" " * 300 + octet)) == errors.REQUEST_MALFORMED
    with pytest.raises(AssertionError, match="h11 was asked"):
        reader().receive_data(with_headers(b"a:" + b" " * 300 + b"\xff"))


# The end of the connection


def test_eof_before_the_first_byte_is_nobody() -> None:
    assert reader().receive_eof() is None


def test_eof_within_a_head() -> None:
    taker = reader()
    assert taker.receive_data(b"GET / HT") is None
    refusal = taker.receive_eof()
    assert refusal is not None
    assert refusal.slug == errors.REQUEST_MALFORMED.slug
    assert taker.receive_eof() is None
    assert taker.receive_data(b"TP/1.1\r\nHost: a\r\n\r\n") is None


def test_eof_after_the_answer() -> None:
    taker = reader()
    assert taker.receive_data(PLAIN) is not None
    assert taker.receive_eof() is None


def test_no_bytes_are_not_the_end() -> None:
    # To h11 they would be.
    taker = reader()
    assert taker.receive_data(b"") is None
    assert taker.receive_data(PLAIN[:9]) is None
    assert taker.receive_data(b"") is None
    assert isinstance(taker.receive_data(PLAIN[9:]), Request)


@pytest.mark.parametrize("first", [PLAIN, b"\x16", b"a" * MAX_REQUEST_BYTES])
def test_one_answer_a_reader(first: bytes) -> None:
    taker = reader()
    assert taker.receive_data(first) is not None
    assert taker.receive_data(PLAIN) is None
    assert taker.trailing() == b""


def h11_objects() -> int:
    return sum(isinstance(thing, h11.Connection | h11.RemoteProtocolError) for thing in gc.get_objects())


@pytest.mark.parametrize("data", [UPGRADE, with_headers(b"nonsense"), with_headers(b"content-length: x")])
def test_a_refused_request_leaves_nothing_behind(data: bytes) -> None:
    gc.collect()
    gc.disable()
    try:
        before = h11_objects()
        taker = reader()
        for _ in range(20):
            taker = reader()
            taker.receive_data(data)
        assert h11_objects() == before
        assert taker.trailing() == b""
    finally:
        gc.enable()


# Any bytes

HTTP_LIKE = st.lists(
    st.sampled_from(
        [
            *(
                b"GET",
                b" ",
                b"/",
                b"HTTP/1.1",
                b"\r\n",
                b"\n",
                b"\r",
                b"\r\n\r\n",
                b":",
                b"Host: a",
                b"x",
                b"\t",
                b"\x00",
            ),
            *(b"content-length: 1", b"transfer-encoding: chunked", b"upgrade: websocket", b"\xff", PLAIN, UPGRADE),
        ]
    )
    | st.binary(max_size=4),
    max_size=30,
).map(b"".join)


@given(st.binary(max_size=600) | HTTP_LIKE, cut_places(600))
@example(b"a" * (MAX_REQUEST_BYTES - 2) + b"\n\n", [MAX_REQUEST_BYTES - 1])
@example(PLAIN[:-1], [3])
def test_any_bytes_in_any_cut(data: bytes, places: list[int]) -> None:
    answer, trailing = answer_of([data])
    assert answer_of(cut_at(data, places)) == (answer, trailing)
    if isinstance(answer, Request):
        assert data.endswith(trailing)
        assert len(data) - len(trailing) <= MAX_REQUEST_BYTES
        assert len(answer.headers) <= MAX_HEADERS
        assert isinstance(upgrade_key(answer), str | Refusal)
        is_upgrade(answer)
    elif isinstance(answer, Refusal):
        assert answer.slug in {refusal.slug for refusal in errors.REFUSALS}
        assert refusal_bytes(answer).startswith(b"HTTP/1.1 4")
    else:
        assert len(data) < MAX_REQUEST_BYTES


# What is said back


def test_no_value_of_the_peer_comes_back_to_it() -> None:
    secret = b"s3cr3t-value"
    for data in (with_headers(secret), with_headers(b"content-length: " + secret), b"GET " + secret + b"\r\n\r\n"):
        assert secret not in refusal_bytes(refusal_of(data))
