"""URLs that can be called, and what is said of those that cannot."""

import pytest

from audiohook.load.errors import LoadError
from audiohook.load.target import Target, parse_url


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ws://127.0.0.1:8443/a/b", Target("127.0.0.1", 8443, "127.0.0.1:8443", "/a/b")),
        ("ws://127.0.0.1:8443", Target("127.0.0.1", 8443, "127.0.0.1:8443", "/")),
        ("ws://[::1]:9/x?y=1&z", Target("::1", 9, "[::1]:9", "/x?y=1&z")),
        ("WS://Host.Example", Target("host.example", 80, "host.example", "/")),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target) -> None:
    assert parse_url(url) == target


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host/", "wanted ws://host:port/path"),
        ("host:8443", "wanted ws://host:port/path"),
        ("", "wanted ws://host:port/path"),
        ("ws:///path", "wanted ws://host:port/path"),
        ("ws://host:99999/", "not a URL"),
        ("ws://host:port/", "not a URL"),
        ("ws://[::1/", "not a URL"),
        ("ws://me@host/", "no user name"),
        ("ws://host/#part", "no fragment"),
        ("ws://host/a\r\nx-evil: 1", "visible ASCII"),
        ("ws://host/ä", "visible ASCII"),
        ("ws://host/a b", "visible ASCII"),
    ],
)
def test_what_cannot_be_called_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("wss://host.example/a", Target("host.example", 443, "host.example", "/a", tls=True)),
        ("wss://host.example:8443", Target("host.example", 8443, "host.example:8443", "/", tls=True)),
        ("ws://host.example/a", Target("host.example", 80, "host.example", "/a")),
    ],
)
def test_calls_may_go_through_tls(url: str, target: Target) -> None:
    assert parse_url(url) == target
