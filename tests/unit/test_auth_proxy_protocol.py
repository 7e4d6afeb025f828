"""auth/proxy_protocol.py: version 2 headers, whole and in pieces."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.auth.proxy_protocol import (
    FIXED_BYTES,
    MAX_HEADER_BYTES,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderReader,
    ProxyMalformed,
)
from tests.support.cuts import cut_at, cut_places, same_in_every_cut

LOCAL, PROXY = 0x20, 0x21
TCP4, UDP4, TCP6, UNIX, UNSPEC = 0x11, 0x12, 0x21, 0x31, 0x00
V4 = bytes((192, 0, 2, 1, 10, 0, 0, 1)) + (5060).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6_SOURCE = ipaddress.IPv6Address("2001:db8::7")
V6 = V6_SOURCE.packed + bytes(16) + b"\xff\xff\x01\xbb"
TLVS = b"\x01\x00\x08http/1.1" + b"\x04\x00\x03\0\0\0"

REQUEST = b"GET / HTTP/1.1\r\n\r\n"

Outcome = tuple[ProxyHeader | ProxyMalformed | None, bytes]


def header(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


def outcome_of(pieces: list[bytes]) -> Outcome:
    """Feed pieces until the answer; return it with all that came behind it."""
    reader = ProxyHeaderReader()
    for place, piece in enumerate(pieces):
        answer = reader.receive_data(piece)
        if answer is not None:
            rest = b"".join(pieces[place + 1 :])
            return answer, reader.trailing() + rest if isinstance(answer, ProxyHeader) else b""
    return None, b""


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (header(PROXY, TCP4, V4), ProxyHeader("192.0.2.1", 5060)),
        (header(PROXY, TCP4, V4 + TLVS), ProxyHeader("192.0.2.1", 5060)),
        (header(PROXY, TCP6, V6), ProxyHeader("2001:db8::7", 65535)),
        (header(PROXY, TCP6, V6 + TLVS), ProxyHeader("2001:db8::7", 65535)),
        (header(PROXY, TCP6, bytes(10) + b"\xff\xff" + V4[:4] + V6[16:]), ProxyHeader("192.0.2.1", 65535)),
        (header(PROXY, TCP4, V4 + bytes(MAX_HEADER_BYTES - FIXED_BYTES - len(V4))), ProxyHeader("192.0.2.1", 5060)),
        # The proxy's own health check, and what has no address of ours: the connection's own address counts.
        (header(LOCAL, UNSPEC, b""), ProxyHeader()),
        (header(LOCAL, TCP4, V4), ProxyHeader()),
        (header(LOCAL, TCP4, b""), ProxyHeader()),
        (header(PROXY, UNSPEC, b""), ProxyHeader()),
        (header(PROXY, UNSPEC, b"anything"), ProxyHeader()),
        (header(PROXY, UDP4, V4), ProxyHeader()),
        (header(PROXY, UNIX, bytes(216)), ProxyHeader()),
    ],
)
def test_headers(data: bytes, answer: ProxyHeader) -> None:
    assert same_in_every_cut(data + REQUEST, outcome_of) == (answer, REQUEST)
    assert same_in_every_cut(data[:-1], outcome_of) == (None, b"")


@pytest.mark.parametrize(
    "data",
    [
        REQUEST,
        b"PROXY TCP4 192.0.2.1 10.0.0.1 5060 443\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        SIGNATURE[:-1] + b"\0",
        header(0x11, TCP4, V4),
        header(0x31, TCP4, V4),
        header(0x22, TCP4, V4),
        header(PROXY, 0x41, V4),
        header(PROXY, 0x13, V4),
        header(PROXY, TCP4, V4[:-1]),
        header(PROXY, TCP4, b""),
        header(PROXY, TCP6, V6[:-1]),
        header(PROXY, TCP6, V4),
        header(PROXY, TCP4, V4 + bytes(MAX_HEADER_BYTES - FIXED_BYTES - len(V4) + 1)),
        header(PROXY, TCP4, bytes(0xFFFF)),
        header(LOCAL, UNSPEC, bytes(0xFFFF)),
    ],
)
def test_malformed(data: bytes) -> None:
    answer, rest = same_in_every_cut(data, outcome_of) if len(data) < 1000 else outcome_of([data])
    assert isinstance(answer, ProxyMalformed)
    assert rest == b""


def test_what_is_wrong_is_told_at_the_first_octet_that_is() -> None:
    for data, octets in ((REQUEST, 1), (header(0x31, TCP4, V4), 13), (header(PROXY, 0x41, V4), 14)):
        reader = ProxyHeaderReader()
        assert reader.receive_data(data[: octets - 1]) is None
        assert isinstance(reader.receive_data(data[octets - 1 : octets]), ProxyMalformed)
    reader = ProxyHeaderReader()
    assert isinstance(reader.receive_data(header(PROXY, TCP4, bytes(0xFFFF))[:FIXED_BYTES]), ProxyMalformed)


def test_one_answer_and_no_more() -> None:
    reader = ProxyHeaderReader()
    assert reader.receive_data(header(PROXY, TCP4, V4) + b"a") == ProxyHeader("192.0.2.1", 5060)
    assert reader.receive_data(header(PROXY, TCP6, V6)) is None
    assert reader.receive_eof() is None
    assert reader.trailing() == b"a"


def test_the_end_inside_a_header() -> None:
    probe = ProxyHeaderReader()
    assert probe.receive_eof() is None
    assert probe.receive_data(header(LOCAL, UNSPEC, b"")) is None
    reader = ProxyHeaderReader()
    assert reader.receive_data(SIGNATURE) is None
    assert isinstance(reader.receive_eof(), ProxyMalformed)
    assert reader.receive_eof() is None


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda body: SIGNATURE + body), cut_places(100))
def test_any_bytes_in_any_cut(data: bytes, places: list[int]) -> None:
    assert outcome_of(cut_at(data, places)) == outcome_of([data])


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=60), st.binary(max_size=60), cut_places(200))
def test_any_source(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, tlvs: bytes, rest: bytes, places: list[int]
) -> None:
    family = TCP4 if source.version == 4 else TCP6
    body = source.packed + bytes(len(source.packed)) + port.to_bytes(2, "big") + bytes(2) + tlvs
    mapped = getattr(source, "ipv4_mapped", None) or source
    expected = (ProxyHeader(str(mapped), port), rest)
    assert outcome_of(cut_at(header(PROXY, family, body) + rest, places)) == expected
