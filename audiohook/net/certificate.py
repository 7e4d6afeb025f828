"""What an X.509 certificate says of itself: serial number, names, from when and until when. Bytes in, values out.

`ssl` decodes a peer's certificate only if it trusts it, and never our own, and what is of interest here is as much the
one that is not trusted, or no longer. So the few fields are read out of the DER. Verifies nothing: whether anybody
trusts it is asked by a real handshake (`tls_probe.py`).

Contract: RFC 5280 section 4.1 (structure, times), 4.2.1.6 (subjectAltName); X.690 for the encoding. Whatever the bytes
are, a Certificate is returned or ValueError raised (tests/unit/test_certificate.py).
"""

import calendar
import hashlib
import ipaddress
import time
from collections.abc import Iterator

import msgspec

DAY_S = 86_400

_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME, _OCTETS = 0x30, 0x02, 0x17, 0x18, 0x04
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")
"""2.5.29.17, as it stands in the DER."""

_MAX_LENGTH_OCTETS = 4
_PIVOT_YEAR = 50
"""RFC 5280 section 4.1.2.5.1: two digits from 50 on are of the last century."""


class Certificate(msgspec.Struct, frozen=True):
    """Times are seconds since 1970, UTC. `fingerprint` is SHA-256 of the DER, `serial` the number, both in hex."""

    serial: str
    fingerprint: str
    not_before_s: int
    not_after_s: int
    names: tuple[str, ...]
    """DNS names and addresses that it is for, in its order."""

    @property
    def name(self) -> str:
        """The first of its names, for people."""
        return self.names[0] if self.names else "nobody in particular"

    def days_left(self, now_s: float) -> int:
        """Return how many whole days are left, below 0 once it has expired."""
        return int((self.not_after_s - now_s) // DAY_S)

    def valid_at(self, now_s: float) -> bool:
        return self.not_before_s <= now_s <= self.not_after_s

    def lifetime_in_words(self, now_s: float) -> str:
        """Return how its time stands: "expires in 43 days, on 2031-05-07"."""
        return lifetime_in_words(self.not_before_s, self.not_after_s, now_s)


def lifetime_in_words(not_before_s: int, not_after_s: int, now_s: float) -> str:
    """Return how the time of a certificate stands, for people."""
    if now_s < not_before_s:
        return f"is not valid before {_date(not_before_s)}"
    if now_s > not_after_s:
        return f"expired on {_date(not_after_s)}"
    days = int((not_after_s - now_s) // DAY_S)
    return f"expires in {days} {'day' if days == 1 else 'days'}, on {_date(not_after_s)}"


def read_certificate(der: bytes) -> Certificate:
    """Return what a certificate says. Raises ValueError for what is none."""
    whole, _ = _one(der, _SEQUENCE)
    body, _ = _one(whole, _SEQUENCE)
    fields = list(_elements(body))
    if fields and fields[0][0] == _VERSION:
        fields = fields[1:]
    # serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
    if len(fields) < 6 or fields[0][0] != _INTEGER or fields[3][0] != _SEQUENCE:
        raise ValueError("not a certificate")
    times = [_time(tag, text) for tag, text in _elements(fields[3][1])]
    if len(times) != 2:
        raise ValueError("not a certificate: its validity has not two times")
    extensions = next((content for tag, content in fields[6:] if tag == _EXTENSIONS), b"")
    return Certificate(
        serial=fields[0][1].hex(),
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_before_s=times[0],
        not_after_s=times[1],
        names=tuple(_names(extensions)),
    )


def _one(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the element that `data` begins with, and what comes behind it."""
    found, content, rest = _split(data)
    if found != tag:
        raise ValueError(f"not a certificate: tag {found:#x} where {tag:#x} belongs")
    return content, rest


def _split(data: bytes) -> tuple[int, bytes, bytes]:
    if len(data) < 2:
        raise ValueError("not a certificate: it ends too early")
    length, start = data[1], 2
    if length & 0x80:
        octets = length & 0x7F
        start += octets
        if not 0 < octets <= _MAX_LENGTH_OCTETS or len(data) < start:
            raise ValueError("not a certificate: a length that DER does not have")
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("not a certificate: it ends too early")
    return data[0], data[start : start + length], data[start + length :]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        tag, content, data = _split(data)
        yield tag, content


def _time(tag: int, text: bytes) -> int:
    shown = text.decode("ascii", "replace")
    if tag == _UTC_TIME:
        # Not %y: its pivot is another one.
        shown = ("19" if shown[:2] >= str(_PIVOT_YEAR) else "20") + shown
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a certificate: a time that is none")
    try:
        return calendar.timegm(time.strptime(shown, "%Y%m%d%H%M%SZ"))
    except OverflowError:
        raise ValueError("not a certificate: a time that is none") from None


def _names(extensions: bytes) -> Iterator[str]:
    if not extensions:
        return
    listed, _ = _one(extensions, _SEQUENCE)
    for tag, extension in _elements(listed):
        if tag != _SEQUENCE or not extension.startswith(_SUBJECT_ALT_NAME):
            continue
        content = next((part for kind, part in _elements(extension) if kind == _OCTETS), b"")
        names, _ = _one(content, _SEQUENCE)
        for kind, name in _elements(names):
            if kind == _DNS_NAME:
                yield name.decode("ascii", "replace")
            elif kind == _IP_ADDRESS and len(name) in (4, 16):
                yield str(ipaddress.ip_address(name))


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
