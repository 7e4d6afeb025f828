"""The URL that calls are aimed at: `ws://host:port/path`, or `wss://`, taken apart and checked. Knows no sockets."""

from urllib.parse import urlsplit

import msgspec

from audiohook.load.errors import LoadError

DEFAULT_PORTS = {"ws": 80, "wss": 443}
"""RFC 6455 section 3: the port of a URL that names none."""


class Target(msgspec.Struct, frozen=True):
    """Where the calls go. `host` is without brackets, `authority` is for the Host header, `path` has the query.

    `tls` is whether TLS is spoken, `ca_file` whose certificates are trusted there (None: those of the system).
    """

    host: str
    port: int
    authority: str
    path: str
    tls: bool = False
    ca_file: str | None = None


def parse_url(url: str, ca_file: str | None = None) -> Target:
    """Return the target of `url`, or raise LoadError with what would be right."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise LoadError(f"{url!r} is not a URL: {error}; wanted ws://host:port/path") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise LoadError(f"{url!r} cannot be called: wanted ws://host:port/path")
    if parts.username is not None or parts.fragment:
        raise LoadError("a ws URL has no user name and no fragment (RFC 6455 section 3): wanted ws://host:port/path")
    if any(not "!" <= character <= "~" for character in url):
        raise LoadError("a URL has visible ASCII characters only: wanted ws://host:port/path")
    host = parts.hostname
    shown = f"[{host}]" if ":" in host else host
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = shown if port is None else f"{shown}:{port}"
    return Target(host, port or DEFAULT_PORTS[parts.scheme], authority, path, parts.scheme == "wss", ca_file)
