"""Listen addresses: "host:port" and "[v6]:port" into host and port.

Knows nothing of sockets; a host name is not looked up here. Two texts that name the same address give equal results:
"" is every IPv4 address, "localhost" is 127.0.0.1, an IPv6 address has one spelling.
"""

import ipaddress
import re
from dataclasses import dataclass

_SYNTAX = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# The last label has a letter: 127.1 and 010.0.0.1 are no names, yet resolvers take them for (other) IPv4 addresses.
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?=[0-9_-]*[A-Za-z]){_LABEL}\.?")
_NAME_CHARACTERS = 253


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host` is an IPv4 or IPv6 address without brackets, or a name that is yet to be resolved."""

    host: str
    port: int
    loopback: bool


def parse_address(text: str) -> Address | None:
    """Return the address, or None if `text` is not one. Port 0 lets the kernel choose."""
    match = _SYNTAX.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        return None
    port = int(match["port"])
    if match["v6"] is not None:
        return _v6_address(match["v6"], port)
    host = match["host"] or "0.0.0.0"  # what bind(2) makes of it
    if host.lower() in ("localhost", "localhost."):
        host = "127.0.0.1"
    try:
        v4 = ipaddress.IPv4Address(host)
    except ValueError:
        named = _NAME.fullmatch(host) is not None and len(host) <= _NAME_CHARACTERS
        return Address(host.lower(), port, loopback=False) if named else None
    return Address(str(v4), port, v4.is_loopback)


def _v6_address(host: str, port: int) -> Address | None:
    try:
        v6 = ipaddress.IPv6Address(host)
    except ValueError:
        return None
    # Python 3.11 does not call ::ffff:127.0.0.1 a loopback address.
    loopback = v6.is_loopback if v6.ipv4_mapped is None else v6.ipv4_mapped.is_loopback
    return Address(str(v6), port, loopback)
