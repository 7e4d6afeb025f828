"""Who is calling, by address: CIDR lists, and the caller behind trusted proxies.

Pure: addresses are texts, as sockets, headers and PROXY protocol give them; no name is ever looked up. An IPv4 address
inside IPv6 (::ffff:192.0.2.1, what a dual-stack socket reports) is the IPv4 address, in lists and in requests alike.

The caller behind proxies is the rightmost address in X-Forwarded-For that is not a trusted proxy's: each proxy adds at
the right whom it saw, so everything to the left of the first stranger is what the stranger wrote.
"""

import ipaddress
import re
from collections.abc import Iterable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

MAX_HOPS = 32
"""Trusted proxies in a row, far more than anybody has: what a peer can make us parse is bounded."""

_WITH_PORT = re.compile(r"\[(?P<v6>[^\[\]]*)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")
"""Some balancers put the port behind the address, which RFC 7239 section 6 knows and X-Forwarded-For never promised."""


class AddressList:
    """A list of networks."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Take "192.0.2.0/24", "2001:db8::/32" or single addresses.

        ValueError, with the entry and what is wrong, for anything else, bits behind the prefix included: "10.0.0.1/8"
        may be meant as either.
        """
        self._networks = tuple(_network(entry) for entry in entries)

    def __len__(self) -> int:
        """Return the number of entries. Whether an empty list means nobody or everybody is the caller's to say."""
        return len(self._networks)

    @property
    def unbounded(self) -> bool:
        """Whether one of the entries is everybody (a prefix of no bits), which as a protection is none."""
        return any(network.prefixlen == 0 for network in self._networks)

    def __contains__(self, address: str) -> bool:
        """Return whether the address is in one of the networks; False for what is no address."""
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def caller_address(connected: str, forwarded_for: str | None, trusted: AddressList) -> str | None:
    """Return the caller's address in its normal form, or None if it cannot be told: treat that as a stranger.

    `connected` is whom the socket (or PROXY protocol) names, `forwarded_for` the X-Forwarded-For header, lines joined
    by a comma; it is ignored unless `connected` is trusted. A trusted proxy that sends none speaks for itself.
    """
    caller = normal_address(connected)
    if caller is None or forwarded_for is None or caller not in trusted:
        return caller
    hops = [hop.strip(" \t") for hop in forwarded_for.rsplit(",", MAX_HOPS)[-MAX_HOPS:]]
    for hop in reversed([hop for hop in hops if hop]):
        caller = _hop_address(hop)
        if caller is None or caller not in trusted:
            return caller
    # Trusted through and through. More hops than are read: the caller stands somewhere further left, unread.
    return caller if forwarded_for.count(",") < MAX_HOPS else None


def normal_address(text: str) -> str | None:
    """Return the one spelling of an address, IPv4 taken out of IPv6; None for what is no address."""
    parsed = _parsed(text)
    return None if parsed is None else str(parsed)


def _hop_address(hop: str) -> str | None:
    match = _WITH_PORT.fullmatch(hop)
    return normal_address((match["v6"] or match["v4"] or "") if match else hop)


def _parsed(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # Without the zone, which is any text at all ("fe80::1%..."): it would come back out in a log line.
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def _network(entry: str) -> _Network:
    network = ipaddress.ip_network(entry)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        address = network.network_address.ipv4_mapped
        return ipaddress.IPv4Network(f"{address}/{network.prefixlen - _MAPPED.prefixlen}")
    return network
