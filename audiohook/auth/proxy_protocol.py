"""PROXY protocol version 2: whom a balancer speaks for, in front of everything else on a connection.

Pure: bytes in, a value out. Only for connections from trusted addresses, where the header is not optional: who asks
both ways ("a header or none") lets every client pretend to be another. Version 1, the line of text, is not taken.

Invariants, held by tests/unit/test_auth_proxy_protocol.py: nothing raises; the outcome does not depend on the cuts; not
more than `MAX_HEADER_BYTES` are kept; one answer a reader, then it is latched.

Contract: HAProxy's doc/proxy-protocol.txt, section 2.2. Octets 0-11 are the signature, 12 version and command, 13
family and transport, 14-15 the length of what follows: addresses, ports, then TLVs, which are skipped.
"""

import ipaddress
from dataclasses import dataclass

from audiohook.auth.addresses import normal_address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES = 16

MAX_HEADER_BYTES = 4096
"""Addresses take 52 octets; the rest is room for TLVs, a client's certificate among them."""

_VERSION = 2
_LOCAL, _PROXY = 0, 1
_TCP4, _TCP6 = 0x11, 0x21
_LAST_FAMILY, _LAST_TRANSPORT = 3, 2
_IPV4_BYTES, _IPV6_BYTES, _PORT_BYTES = 4, 16, 2


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Whom the proxy speaks for. Both are None where it speaks for itself or cannot say (LOCAL, UNSPEC, UNIX, UDP).

    Then the connection's own address counts, as the contract demands: a balancer's health check comes like that.
    """

    address: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class ProxyMalformed:
    """Drop the connection: nothing behind a broken header can be attributed to anybody. `reason` is for the log."""

    reason: str


class ProxyHeaderReader:
    """Takes in bytes until the header is complete, and answers once."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._trailing = b""
        self._answered = False

    def receive_data(self, data: bytes) -> ProxyHeader | ProxyMalformed | None:
        """Return the header, what is wrong with it, or None while it is incomplete and for ever after the answer."""
        if self._answered or not data:
            return None
        self._head += data
        end = FIXED_BYTES
        flaw = _flaw(self._head)
        if flaw is None and len(self._head) >= FIXED_BYTES:
            end = FIXED_BYTES + int.from_bytes(self._head[14:16], "big")
            if end > MAX_HEADER_BYTES:
                flaw = "the PROXY header is too long"
        if flaw is None and len(self._head) < end:
            return None
        answer = ProxyMalformed(flaw) if flaw is not None else _header(bytes(self._head[:end]))
        if isinstance(answer, ProxyHeader):
            self._trailing = bytes(self._head[end:])
        self._head = bytearray()
        self._answered = True
        return answer

    def receive_eof(self) -> ProxyMalformed | None:
        """Return what is wrong if the connection ends inside the header. One that sent nothing at all is a probe."""
        begun = bool(self._head)
        self._answered = True
        self._head = bytearray()
        return ProxyMalformed("the PROXY header ends too early") if begun else None

    def trailing(self) -> bytes:
        """Return what came behind the header together with it: the first bytes of TLS or of the request."""
        return self._trailing


def _flaw(head: bytearray) -> str | None:
    """Return what is wrong with the fixed part as far as it is there: a stranger is not waited for."""
    seen = bytes(head[: len(SIGNATURE)])
    if not SIGNATURE.startswith(seen):
        return "no PROXY header of version 2"
    if len(head) > 12 and (head[12] >> 4 != _VERSION or head[12] & 0x0F not in (_LOCAL, _PROXY)):
        return "the PROXY header has an unknown version or command"
    if len(head) > 13 and (head[13] >> 4 > _LAST_FAMILY or head[13] & 0x0F > _LAST_TRANSPORT):
        return "the PROXY header has an unknown family or transport"
    return None


def _header(head: bytes) -> ProxyHeader | ProxyMalformed:
    if head[12] & 0x0F == _LOCAL or head[13] not in (_TCP4, _TCP6):
        return ProxyHeader()
    address_bytes = _IPV4_BYTES if head[13] == _TCP4 else _IPV6_BYTES
    # Source and destination address, then source and destination port.
    if len(head) < FIXED_BYTES + 2 * (address_bytes + _PORT_BYTES):
        return ProxyMalformed("the PROXY header is too short for its addresses")
    source = head[FIXED_BYTES : FIXED_BYTES + address_bytes]
    port_at = FIXED_BYTES + 2 * address_bytes
    return ProxyHeader(
        normal_address(str(ipaddress.ip_address(source))),
        int.from_bytes(head[port_at : port_at + _PORT_BYTES], "big"),
    )
