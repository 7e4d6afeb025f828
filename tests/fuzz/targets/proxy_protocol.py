"""auth/proxy_protocol.py: any bytes come to one answer, the same in every cut, and never to a false address."""

import ipaddress
from collections.abc import Iterable

from audiohook.auth.proxy_protocol import (
    FIXED_BYTES,
    MAX_HEADER_BYTES,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderReader,
    ProxyMalformed,
)
from tests.fuzz.target import Pieces, chance, random_cut

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
V4 = bytes((192, 0, 2, 1, 10, 0, 0, 1)) + b"\x13\xc4\x01\xbb"
V6 = ipaddress.IPv6Address("2001:db8::7").packed + bytes(16) + b"\xff\xff\x01\xbb"
MAPPED = bytes(10) + b"\xff\xff" + V4[:4] + V6[16:]
TLV = b"\x01\x00\x08http/1.1"

TOKENS = (
    SIGNATURE,
    b"\x20",
    b"\x21",
    b"\x11",
    b"\x12",
    b"\x31",
    b"\x00\x0c",
    b"\x00\x24",
    b"\x0f\xf0",
    b"\x0f\xf1",
    TLV,
)


def assemble(pieces: Pieces) -> bytes:
    """Make a header with the right length: pieces are what stands before the length, addresses and TLVs, the rest."""
    if len(pieces) < 3:
        return b"".join(pieces)
    head, *body, rest = pieces
    told = b"".join(body)
    return head + (len(told) & 0xFFFF).to_bytes(2, "big") + told + rest


def seeds() -> Iterable[Pieces]:
    for command in (b"\x20", b"\x21"):
        yield [SIGNATURE + command + b"\x11", V4, REQUEST]
        yield [SIGNATURE + command + b"\x11", V4, TLV, TLV, REQUEST]
        yield [SIGNATURE + command + b"\x21", V6, REQUEST]
        yield [SIGNATURE + command + b"\x21", MAPPED, TLV, REQUEST]
        yield [SIGNATURE + command + b"\x00", b"", REQUEST]
    yield [SIGNATURE + b"\x21\x11", V4, bytes(MAX_HEADER_BYTES - FIXED_BYTES - len(V4)), REQUEST]
    yield [REQUEST]


def check(data: bytes) -> None:
    answer, rest = outcome = _outcome([data] if data else [])
    assert _outcome(random_cut(data, chance(data))) == outcome, "depends on the cut"
    if isinstance(answer, ProxyHeader):
        assert data.startswith(SIGNATURE)
        size = FIXED_BYTES + int.from_bytes(data[14:16], "big")
        assert size <= MAX_HEADER_BYTES
        assert rest == data[size:]
        _check_source(answer, data)
    elif answer is not None:
        assert rest == b""
        assert answer.reason.isascii()
        assert answer.reason.isprintable()


def _outcome(pieces: Pieces) -> tuple[ProxyHeader | ProxyMalformed | None, bytes]:
    reader = ProxyHeaderReader()
    for number, piece in enumerate(pieces):
        answer = reader.receive_data(piece)
        if answer is not None:
            assert reader.receive_data(piece) is None, "it answers twice"
            behind = b"".join(pieces[number + 1 :])
            return answer, reader.trailing() + behind if isinstance(answer, ProxyHeader) else b""
    return reader.receive_eof(), b""


def _check_source(header: ProxyHeader, data: bytes) -> None:
    """The address is the one that stands at its place, and there is none where the header does not speak for a peer."""
    if data[12] != 0x21 or data[13] not in (0x11, 0x21):
        assert header == ProxyHeader()
        return
    assert header.address is not None
    assert header.port is not None
    said = ipaddress.ip_address(data[16:20] if data[13] == 0x11 else data[16:32])
    mapped = said.ipv4_mapped if isinstance(said, ipaddress.IPv6Address) else None
    assert ipaddress.ip_address(header.address) == (mapped or said)
    at = FIXED_BYTES + (8 if data[13] == 0x11 else 32)
    assert header.port == int.from_bytes(data[at : at + 2], "big")
