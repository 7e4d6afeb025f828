"""wire/request.py: is a request a WebSocket upgrade, and a correct one; and the bytes that answer it."""

import h11
import pytest

from audiohook import errors
from audiohook.errors import Refusal
from audiohook.wire.request import Request, accept_bytes, is_upgrade, refusal_bytes, response_bytes, upgrade_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3."""

UPGRADE_HEADERS = (
    ("host", "example.org"),
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", KEY),
    ("sec-websocket-extensions", "permessage-deflate"),
)

# Is it an upgrade, and a correct one?


def test_a_correct_upgrade() -> None:
    assert upgrade_key(Request("GET", "/", UPGRADE_HEADERS)) == KEY


def changed(name: str, *values: str) -> Request:
    """The correct upgrade with header `name` replaced by these."""
    kept = tuple(pair for pair in UPGRADE_HEADERS if pair[0] != name)
    return Request("GET", "/", kept + tuple((name, value) for value in values))


def lacking(name: str) -> Refusal:
    return errors.UPGRADE_MALFORMED.naming(name)


BAD_KEYS = {
    "empty": ("",),
    "two": (KEY, KEY),
    "15 bytes": ("A" * 20,),
    "17 bytes": ("A" * 23 + "=",),
    "18 bytes": ("A" * 24,),
    "padding inside": ("A" * 10 + "==" + "A" * 10 + "==",),
    "not base64": ("-" * 22 + "==",),
    "digits of another script": ("²" * 22 + "==",),
}

BAD_UPGRADES = {
    "no connection": (changed("connection"), lacking("connection")),
    "connection without upgrade": (changed("connection", "keep-alive"), lacking("connection")),
    "connection with a longer word": (changed("connection", "upgrades"), lacking("connection")),
    "no upgrade": (changed("upgrade"), lacking("upgrade")),
    "another protocol": (changed("upgrade", "h2c"), lacking("upgrade")),
    "no version": (changed("sec-websocket-version"), errors.VERSION_UNSUPPORTED),
    "version 8": (changed("sec-websocket-version", "8"), errors.VERSION_UNSUPPORTED),
    "version 13 and 8": (changed("sec-websocket-version", "13", "8"), errors.VERSION_UNSUPPORTED),
    "no key": (changed("sec-websocket-key"), lacking("sec-websocket-key")),
    "post": (Request("POST", "/", UPGRADE_HEADERS), errors.METHOD_NOT_ALLOWED),
    "http 1.0": (Request("GET", "/", UPGRADE_HEADERS, "1.0"), lacking("HTTP/1.1 is needed")),
}


@pytest.mark.parametrize(("asked", "refusal"), BAD_UPGRADES.values(), ids=BAD_UPGRADES.keys())
def test_bad_upgrade(asked: Request, refusal: Refusal) -> None:
    # Equal as a whole: the text names a header and never carries a value.
    assert upgrade_key(asked) == refusal


@pytest.mark.parametrize("keys", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_bad_key(keys: tuple[str, ...]) -> None:
    assert upgrade_key(changed("sec-websocket-key", *keys)) == lacking("sec-websocket-key")


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (changed("connection"), True),
        (changed("upgrade"), True),
        (changed("sec-websocket-key"), True),
        (changed("upgrade", "h2c, WebSocket"), True),
        (Request("GET", "/healthz", (("connection", "upgrade, http2-settings"), ("upgrade", "h2c"))), False),
        (Request("GET", "/healthz", ()), False),
    ],
)
def test_is_upgrade(asked: Request, wanted: bool) -> None:
    assert is_upgrade(asked) is wanted


# The answers


def test_accept() -> None:
    # The example of RFC 6455 section 1.3.
    head, _, rest = accept_bytes(KEY).partition(b"\r\n\r\n")
    assert rest == b""
    status, *headers = head.split(b"\r\n")
    assert status == b"HTTP/1.1 101 Switching Protocols"
    assert sorted(headers) == [
        b"connection: upgrade",
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        b"upgrade: websocket",
    ]


def parsed(answer: bytes) -> tuple[int, dict[bytes, list[bytes]], bytes]:
    """Read an answer with a client that is not ours."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    headers: dict[bytes, list[bytes]] = {}
    for name, value in response.headers:
        headers.setdefault(name, []).append(value)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert isinstance(client.next_event(), h11.ConnectionClosed)
    return response.status_code, headers, body


@pytest.mark.parametrize("refusal", errors.REFUSALS, ids=lambda refusal: refusal.slug)
def test_refusal(refusal: Refusal) -> None:
    status, headers, body = parsed(refusal_bytes(refusal.naming("x-name")))
    assert status == refusal.status
    assert body == refusal.text.encode() + b": x-name\n"
    assert headers[b"content-length"] == [b"%d" % len(body)]
    assert headers[b"connection"][0] == b"close"
    assert headers[b"content-type"][0].startswith(b"text/plain")
    assert headers.get(b"retry-after") == ([b"5"] if status == 503 else None)
    assert headers.get(b"allow") == ([b"GET"] if status == 405 else None)
    assert headers.get(b"sec-websocket-version") == ([b"13"] if status == 426 else None)
    assert headers.get(b"upgrade") == ([b"websocket"] if status == 426 else None)


def test_response() -> None:
    status, headers, body = parsed(response_bytes(200, "ok", (("cache-control", "no-store"),)))
    assert (status, body) == (200, b"ok\n")
    assert headers[b"cache-control"] == [b"no-store"]
    assert parsed(response_bytes(200, "ok\n"))[2] == b"ok\n"
