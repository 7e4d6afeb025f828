"""HTTP/1.1 up to the end of one request head: an upgrade, a plain request, or a refusal; and the answers as bytes.

Pure: bytes in, values out. Knows no socket, no clock (the deadline for a request is the Call's), no dialect and no
path: which header means what above RFC 9110 and RFC 6455 is decided in `session/`.

Invariants, held by tests/unit/test_wire_request.py and test_wire_upgrade.py:

- nothing that a peer sends raises; what is wrong becomes a `Refusal`;
- the outcome does not depend on how TCP cut the bytes: h11 is only ever given a whole head, and the limits are checked
  before it sees one, or before a usual head goes without it (`usual_head.py`);
- the work is linear in the head's length, and the head is at most `max_request_bytes`;
- one answer a reader: after it the reader is latched and holds nothing but the bytes that came behind the head.

Contract: RFC 9112 (syntax), RFC 9110 (fields), RFC 6455 section 4.2 (the server's half of the opening handshake).
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha1
from http import HTTPStatus

import h11
import msgspec

from audiohook.errors import (
    METHOD_NOT_ALLOWED,
    REQUEST_MALFORMED,
    REQUEST_TOO_LARGE,
    UPGRADE_MALFORMED,
    VERSION_UNSUPPORTED,
    Refusal,
)
from audiohook.wire import usual_head

RETRY_AFTER_SECONDS = 5
"""What a 503 asks for: long enough not to be a second wave, short enough for a caller who is already speaking."""

_HEAD_END = re.compile(rb"\n\r?\n")
"""Where h11 sees a head end; a bare line feed counts (RFC 9112 section 2.2 allows that)."""

_LONGEST_HEAD_END = len(b"\n\r\n")

_FORBIDDEN = (b"\x00", b"\x0b", b"\x0c")
"""Octets that no head may have (RFC 9110 section 5.5), nor a carriage return without a line feed (RFC 9112 section
2.2). h11 refuses them as well, but at a price: its pattern for a header line goes back quadratically over a run of
spaces that ends in one of them. A head of 16 KB kept a worker, and all its calls, busy for 1.3 s. Without these octets
h11's patterns are linear. Guarded by test_octets_that_make_h11_slow_never_reach_it."""

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
"""Sixteen octets in base64 (RFC 6455 section 4.1): the only shape that they can have."""

_ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Headers = tuple[tuple[str, str], ...]


class Request(msgspec.Struct, frozen=True, dict=True):
    """The head of a request.

    `headers` keeps order and repetitions; names are lower-case, values decoded as latin-1 without surrounding blanks.
    `http_version` is "1.0" or "1.1": a load balancer may well ask for its health page in 1.0, an upgrade needs 1.1.
    """

    method: str
    target: str
    headers: Headers
    http_version: str = "1.1"

    def get(self, name: str) -> str | None:
        """Return the value of header `name` (lower-case), or None.

        Values of a repeated header are joined by ", " (RFC 9110 section 5.3). Where a repetition is a mistake and not a
        list, ask `count` first.
        """
        values = self._values.get(name)
        return ", ".join(values) if values else None

    def count(self, name: str) -> int:
        """Return how often header `name` (lower-case) was sent."""
        return len(self._values.get(name, ()))

    @cached_property
    def _values(self) -> dict[str, list[str]]:
        """Each header's values by its name. A request is asked for some eighteen: to walk the headers for each cost
        as much as a fifth of parsing them."""
        values: dict[str, list[str]] = {}
        for name, value in self.headers:
            values.setdefault(name, []).append(value)
        return values


class RequestReader:
    """Takes in bytes until one request head is complete, and answers once."""

    def __init__(self, *, max_request_bytes: int, max_headers: int) -> None:
        """Limits: the length of the head with its closing blank line, and the number of header lines."""
        self._max_request_bytes = max_request_bytes
        self._max_headers = max_headers
        self._head = bytearray()
        self._trailing = b""
        self._answered = False

    def receive_data(self, data: bytes) -> Request | Refusal | None:
        """Return the request, what to refuse it with, or None while the head is incomplete and for ever after.

        Bytes that arrive after a `Request` was returned belong to whoever speaks next: hand them there, here they are
        dropped.
        """
        if self._answered or not data:
            return None
        searched = max(0, len(self._head) - _LONGEST_HEAD_END + 1)
        self._head += data
        if not 0x20 < self._head[0] < 0x7F:
            # The first byte of a TLS greeting, mostly. Waiting for a blank line would only end at the deadline.
            return self._answer(REQUEST_MALFORMED)
        end = _HEAD_END.search(self._head, searched)
        if end is None:
            too_large = len(self._head) >= self._max_request_bytes
            return self._answer(REQUEST_TOO_LARGE) if too_large else None
        if end.end() > self._max_request_bytes:
            return self._answer(REQUEST_TOO_LARGE)
        head = bytes(self._head[: end.end()])
        trailing = bytes(self._head[end.end() :])
        answer = self._answer(_parsed(head, self._max_headers))
        if isinstance(answer, Request):
            self._trailing = trailing
        return answer

    def receive_eof(self) -> Refusal | None:
        """Return the refusal for a request that breaks off; None if nothing was begun or all is answered."""
        if self._answered:
            return None
        begun = bool(self._head)
        self._answer(REQUEST_MALFORMED)
        return REQUEST_MALFORMED.naming("it ends too early") if begun else None

    def trailing(self) -> bytes:
        """Return what came behind the head together with it: the first frames of a client that did not wait.

        For a request that is no upgrade these bytes are to be ignored: the answer closes the connection.
        wsproto's own server handshake drops them, which is why it is not used.
        """
        return self._trailing

    def _answer(self, answer: Request | Refusal) -> Request | Refusal:
        self._answered = True
        self._head = bytearray()
        return answer


def _parsed(head: bytes, max_headers: int) -> Request | Refusal:
    """Parse a whole head: everything from its first byte to the blank line."""
    if head.count(b"\n") - 2 > max_headers:
        return REQUEST_TOO_LARGE.naming("too many headers")
    usual = usual_head.read(head)
    if usual is not None:
        target, headers = usual
        return Request("GET", target, headers)
    if head.count(b"\r") != head.count(b"\r\n") or any(octet in head for octet in _FORBIDDEN):
        return REQUEST_MALFORMED
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        # The error's traceback holds a frame of h11 that holds the error: a cycle of 3.3 KB for each stranger, which
        # would wait for a collection. Guarded by test_a_refused_request_leaves_nothing_behind.
        error.__traceback__ = None
        return REQUEST_MALFORMED
    if not isinstance(event, h11.Request) or event.http_version not in (b"1.1", b"1.0"):
        return REQUEST_MALFORMED
    request = Request(
        method=event.method.decode("ascii"),
        target=event.target.decode("ascii"),
        headers=decoded_headers(event.headers.raw_items()),
        http_version=event.http_version.decode("ascii"),
    )
    return _without_body(request)


def _without_body(request: Request) -> Request | Refusal:
    """Nothing here reads a body, so a request that announces one is refused before a byte of it is read."""
    announced = request.get("transfer-encoding") is not None or int(request.get("content-length") or "0") > 0
    if not announced:
        return request
    if request.method != "GET":
        return METHOD_NOT_ALLOWED
    return REQUEST_MALFORMED.naming("a request body is not served here")


def decoded_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return h11's header pairs as text: octets above ASCII are opaque, latin-1 keeps them (RFC 9110 section 5.5).

    Names may be as they were sent: what `Headers.raw_items` gives at once, h11's own sequence makes one by one.
    """
    # strip(" \t") and not strip(): the latter also eats octets such as 0xA0 and 0x1F, which are part of a value.
    return tuple([(name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")) for name, value in headers])


def is_upgrade(request: Request) -> bool:
    """Say whether the request wants a WebSocket, however badly it asks.

    `Upgrade: h2c` is not one (a server that does not speak it ignores it, RFC 9110 section 7.8); a
    Sec-WebSocket-Key without Upgrade is (some proxies strip the hop-by-hop headers, and deserve to be told).
    """
    return "websocket" in _tokens(request, "upgrade") or request.count("sec-websocket-key") > 0


def upgrade_key(request: Request) -> str | Refusal:
    """Return the Sec-WebSocket-Key of a correct opening handshake (RFC 6455 section 4.2.1), or the refusal.

    Offered extensions and subprotocols are ignored: none is ever negotiated, so permessage-deflate is declined.
    """
    if request.method != "GET":
        return METHOD_NOT_ALLOWED
    if request.http_version != "1.1":
        return UPGRADE_MALFORMED.naming("HTTP/1.1 is needed")
    for name, token in (("connection", "upgrade"), ("upgrade", "websocket")):
        if token not in _tokens(request, name):
            return UPGRADE_MALFORMED.naming(name)
    if request.get("sec-websocket-version") != "13":
        return VERSION_UNSUPPORTED
    key = request.get("sec-websocket-key")
    if key is None or not _KEY.fullmatch(key):
        return UPGRADE_MALFORMED.naming("sec-websocket-key")
    return key


def _tokens(request: Request, name: str) -> list[str]:
    """Return the lower-cased members of a comma-separated header (RFC 9110 section 5.6.1)."""
    return [token.strip(" \t").lower() for token in (request.get(name) or "").split(",")]


def accept_token(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers `key` (RFC 6455 section 4.2.2)."""
    return b64encode(sha1((key + _ACCEPT_GUID).encode("ascii"), usedforsecurity=False).digest()).decode("ascii")


def accept_bytes(key: str) -> bytes:
    """Return the whole 101 for `key`: no extension, no subprotocol."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "upgrade: websocket\r\n"
        "connection: upgrade\r\n"
        f"sec-websocket-accept: {accept_token(key)}\r\n\r\n"
    ).encode("ascii")


def response_bytes(status: int, body: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a complete plain-text answer after which the connection closes.

    `body` and `headers` are ours and ASCII; a body that does not end with a newline gets one.
    """
    text = body if body.endswith("\n") else body + "\n"
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: text/plain; charset=us-ascii",
        f"content-length: {len(text)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode("ascii")


_REFUSAL_HEADERS: dict[int, Headers] = {
    405: (("allow", "GET"),),
    # RFC 9110 section 15.5.22 demands Upgrade in a 426, section 7.8 then Connection; RFC 6455 section 4.4 the version.
    426: (("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")),
    503: (("retry-after", str(RETRY_AFTER_SECONDS)),),
}


def refusal_bytes(refusal: Refusal) -> bytes:
    """Return the complete answer to a request that is refused, with the headers that its status calls for."""
    return response_bytes(refusal.status, refusal.text, _REFUSAL_HEADERS.get(refusal.status, ()))
