"""wire/request.py: any bytes come to one answer, a request or a refusal, and to the same in every cut."""

from collections.abc import Iterable
from functools import lru_cache

from audiohook.errors import REFUSALS, Refusal
from audiohook.session.context import identify
from audiohook.session.events import Identity
from audiohook.wire.client import UpgradeReader
from audiohook.wire.request import (
    Request,
    RequestReader,
    accept_bytes,
    is_upgrade,
    refusal_bytes,
    upgrade_key,
)
from tests.fuzz.target import Pieces, chance, random_cut
from tests.support.calls import KEY, frame, plain, upgrade

MAX_REQUEST_BYTES = 8192
MAX_HEADERS = 24
SLUGS = frozenset(refusal.slug for refusal in REFUSALS)
SECRET = b"5ec4e7-0f-7he-peer"
"""A value that stands in headers of the seeds: no answer may hold it."""

TOKENS = (
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\r",
    b": ",
    b" ",
    b"\t",
    b",",
    b"\x0b",
    b"\x00",
    b"\xa0",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"GET",
    b"HEAD",
    b"upgrade",
    b"websocket",
    b"host: a\r\n",
    b"content-length: 5\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"transfer-encoding: chunked\r\n",
    b"sec-websocket-version: 8\r\n",
    b"sec-websocket-key: " + KEY.encode() + b"\r\n",
    b"x-genesys-direction: both\r\n",
    b"expect: 100-continue\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)

V2_HEADERS = (
    ("audiohook-organization-id", "d7934305-0972-4844-938e-9060eef73d05"),
    ("audiohook-session-id", "30b0e395-84d3-4570-ac13-9a62d8f514c0"),
    ("audiohook-correlation-id", "e160e428-53e2-487c-977d-96989bf5c99d"),
    ("x-api-key", SECRET.decode()),
    ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
)


def seeds() -> Iterable[Pieces]:
    secret = ("x-secret", SECRET.decode())
    for head in (
        upgrade(more=[secret]),
        upgrade(V2_HEADERS, target="/api/v1/audiohook/ws?x=1"),
        upgrade(()),
        plain("GET", "/healthz"),
        plain("HEAD", "/healthz"),
        plain("OPTIONS", "*"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\nhost: a\nx-folded: a\n b\n\n",
    ):
        yield head.splitlines(keepends=True)
    yield [*upgrade().splitlines(keepends=True), frame(b"audio"), frame(b"more")]


def check(data: bytes) -> None:
    answer, rest = outcome = _outcome([data])
    assert _outcome(random_cut(data, chance(data))) == outcome, "depends on the cut"
    if isinstance(answer, Request):
        assert data.endswith(rest)
        _check_request(answer)
    elif answer is not None:
        assert rest == b""
        _check_refusal(answer)


def _outcome(pieces: Pieces) -> tuple[Request | Refusal | None, bytes]:
    """Return the answer, or what the end of file makes of none, and what came behind the head of a request."""
    reader = RequestReader(max_request_bytes=MAX_REQUEST_BYTES, max_headers=MAX_HEADERS)
    answer = None
    for number, piece in enumerate(pieces):
        answer = reader.receive_data(piece)
        if answer is not None:
            assert reader.receive_data(piece) is None, "it answers twice"
            assert reader.receive_eof() is None, "it answers twice"
            behind = b"".join(pieces[number + 1 :])
            return answer, reader.trailing() + behind if isinstance(answer, Request) else b""
    return reader.receive_eof(), b""


def _check_request(request: Request) -> None:
    assert request.method.isascii()
    assert request.http_version in ("1.0", "1.1")
    assert not set(request.target) & set(" \r\n\x00")
    assert len(request.headers) <= MAX_HEADERS
    for name, value in request.headers:
        assert name == name.lower() != ""
        assert not set(value) & set("\r\n\x00")
        assert value == value.strip(" \t")
    identity = identify(request)
    if isinstance(identity, Refusal):
        _check_refusal(identity)
    else:
        assert type(identity) is Identity
    if is_upgrade(request):
        key = upgrade_key(request)
        if isinstance(key, Refusal):
            _check_refusal(key)
        else:
            _check_accepted(key)


@lru_cache
def _check_accepted(key: str) -> None:
    answered = UpgradeReader(key).receive_data(accept_bytes(key))
    assert answered is not None
    assert answered.accepted


@lru_cache
def _check_refusal(refusal: Refusal) -> None:
    assert refusal.slug in SLUGS
    said = refusal_bytes(refusal)
    assert SECRET not in said, "a value is echoed"
    answered = UpgradeReader().receive_data(said)
    assert answered is not None
    assert answered.status == refusal.status
    assert answered.body.count(b"\n") == 1
