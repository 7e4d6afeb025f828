"""The URL that a run is aimed at: `ws://host:port/path`, taken apart and checked. Knows no sockets."""

from urllib.parse import urlsplit

import msgspec

from audiohook.load.errors import LoadError

DEFAULT_PORT = 80
"""RFC 6455 section 3: the port of a `ws` URL that names none."""


class Target(msgspec.Struct, frozen=True):
    """Where the calls go. `host` is without brackets, `authority` is for the Host header, `path` has the query."""

    host: str
    port: int
    authority: str
    path: str


def parse_url(url: str) -> Target:
    """Return the target of `url`, or raise LoadError with what would be right."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise LoadError(f"{url!r} is not a URL: {error}; wanted ws://host:port/path") from None
    if parts.scheme == "wss":
        raise LoadError(
            "wss:// cannot be spoken yet: aim at the plain port behind the proxy that ends TLS (ws://host:port/path)"
        )
    if parts.scheme != "ws" or not parts.hostname:
        raise LoadError(f"{url!r} cannot be called: wanted ws://host:port/path")
    if parts.username is not None or parts.fragment:
        raise LoadError("a ws URL has no user name and no fragment (RFC 6455 section 3): wanted ws://host:port/path")
    if any(not "!" <= character <= "~" for character in url):
        raise LoadError("a URL has visible ASCII characters only: wanted ws://host:port/path")
    host = parts.hostname
    shown = f"[{host}]" if ":" in host else host
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or DEFAULT_PORT, shown if port is None else f"{shown}:{port}", path)
