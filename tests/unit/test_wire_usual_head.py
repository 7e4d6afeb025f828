"""wire/usual_head.py takes nothing but what h11 takes, and makes the same of it."""

from unittest.mock import patch

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohook.session import audiohook2_client, context_client
from audiohook.wire import request, usual_head
from audiohook.wire.client import upgrade_request
from audiohook.wire.request import Request, RequestReader
from tests.support.audiohook2 import CALLER

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
START = b"GET /a?b HTTP/1.1\r\nHost: a\r\n"
CONTEXT = context_client.upgrade_headers(
    call_id="0c0ffee0-1111-4222-8333-444455556666",
    session_id="s",
    user_id="u",
    participant_id="p",
    direction="inbound",
)

USUAL = {
    "plain": START + b"\r\n",
    "blanks around": START + b"A: \t b c \t\r\nB:\r\nC: \t \r\n\r\n",
    "every visible octet": START + b"a: " + bytes(range(0x20, 0x7F)) + b"\r\n\r\n",
    "colons": START + b"a::b:c\r\n\r\n",
    "names": b"GET * HTTP/1.1\r\n!#$%&'*+-.^_`|~aZ09: x\r\nHOST:\r\n\r\n",
    "repeated": START + b"a: 1\r\nA: 2\r\n\r\n",
    "context": upgrade_request("/audiohook", "test", CONTEXT, KEY),
    "audiohook2": upgrade_request("/", "test", audiohook2_client.upgrade_headers(CALLER, "SGVsbG8="), KEY),
}

UNUSUAL = {
    "another method": b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "http 1.0": b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\na: b\r\n\r\n",
    "no header": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": START + b"hosT: b\r\n\r\n",
    "a length": START + b"Content-Length: 0\r\n\r\n",
    "a coding": START + b"transfer-encoding: chunked\r\n\r\n",
    "bare line feed": START + b"a: b\n\r\n",
    "bare line feed at the end": START + b"\n",
    "bare carriage return": START + b"a: b\rc\r\n\r\n",
    "folded": START + b"a: b\r\n c\r\n\r\n",
    "above ascii": START + b"a: \xe4\r\n\r\n",
    "control": START + b"a: \x01\r\n\r\n",
    "delete": START + b"a: \x7f\r\n\r\n",
    "blank in a name": START + b"a b: c\r\n\r\n",
    "blank before the colon": START + b"a : c\r\n\r\n",
    "no colon": START + b"abc\r\n\r\n",
    "no name": START + b": c\r\n\r\n",
    "something behind": START + b"\r\nx",
}


def by_h11(head: bytes) -> object:
    """Return what a reader makes of a head that is whole when it does not look whether it is usual."""
    with patch.object(usual_head, "read", lambda head: None):
        return RequestReader(max_request_bytes=4096, max_headers=100).receive_data(head)


@pytest.mark.parametrize("head", USUAL.values(), ids=USUAL.keys())
def test_a_usual_head_is_read_as_h11_reads_it(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = by_h11(head)
    assert isinstance(expected, Request)
    monkeypatch.setattr(h11, "Connection", None)
    assert RequestReader(max_request_bytes=4096, max_headers=100).receive_data(head) == expected


@pytest.mark.parametrize("head", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_is_not_usual_is_left_to_h11(head: bytes) -> None:
    assert usual_head.read(head) is None


def test_limits_come_first() -> None:
    taker = RequestReader(max_request_bytes=4096, max_headers=2)
    assert taker.receive_data(START + b"a: 1\r\nb: 2\r\n\r\n") == request.REQUEST_TOO_LARGE.naming("too many headers")


PIECES = st.sampled_from(
    [
        *(b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"\n", b"\r", b":", b"\t", b"Host", b"host: a\r\n", b"a: b\r\n"),
        *(
            b"content-length: 0\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"expect: 100-continue\r\n",
            b"connection: close",
        ),
        *(b"upgrade: h2c\r\n", b"x", b"\x00", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x85", b"\xa0", b"\xff"),
    ]
) | st.binary(max_size=3)


@given(st.lists(PIECES, max_size=12).map(b"".join), st.booleans())
@example(b"a: \x85b\r\n", True)
@example(b"a:\tb\x1f\r\n", True)
def test_it_never_differs_from_h11(lines: bytes, started: bool) -> None:
    head = (START if started else b"GET / HTTP/1.1\r\n") + lines + b"\r\n\r\n"
    head = head[: head.find(b"\r\n\r\n") + 4]  # whole heads only: the reader sees to that
    usual = usual_head.read(head)
    if usual is not None:
        assert by_h11(head) == Request("GET", *usual)
