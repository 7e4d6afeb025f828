"""net/certificate.py: what stands in a certificate, and that nothing but a ValueError comes of what is none."""

import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.net.certificate import DAY_S, Certificate, lifetime_in_words, read_certificate


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    length = len(content)
    head = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return bytes([tag]) + head + content


def utc(text: str) -> bytes:
    return element(0x17, text.encode())


def certificate(*validity: bytes, names: bytes | None = None, version: bool = True) -> bytes:
    extensions = b""
    if names is not None:
        alt = element(0x30, bytes.fromhex("0603551d11"), element(0x04, element(0x30, names)))
        other = element(0x30, bytes.fromhex("0603551d13"), element(0x01, b"\xff"), element(0x04, element(0x30)))
        extensions = element(0xA3, element(0x30, other, alt))
    body = element(
        0x30,
        element(0xA0, element(0x02, b"\x02")) if version else b"",
        element(0x02, b"\x0a\xff"),
        element(0x30),
        element(0x30),
        element(0x30, *validity),
        element(0x30),
        element(0x30),
        extensions,
    )
    return element(0x30, body, element(0x30), element(0x03, b"\x00"))


TWO_TIMES = (utc("250101000000Z"), utc("260201120000Z"))


def test_what_is_read_out_of_a_certificate() -> None:
    names = element(0x82, b"a.example") + element(0x87, bytes([192, 0, 2, 7])) + element(0x81, b"me@example")
    found = read_certificate(certificate(*TWO_TIMES, names=names))
    assert found.serial == "0aff"
    assert found.not_before_s == calendar.timegm((2025, 1, 1, 0, 0, 0))
    assert found.not_after_s == calendar.timegm((2026, 2, 1, 12, 0, 0))
    assert found.names == ("a.example", "192.0.2.7")
    assert found.name == "a.example"
    assert len(found.fingerprint) == 64


def test_a_certificate_of_version_1_without_names() -> None:
    found = read_certificate(certificate(*TWO_TIMES, version=False))
    assert (found.serial, found.names, found.name) == ("0aff", (), "nobody in particular")


@pytest.mark.parametrize(
    ("time", "year"),
    [
        (utc("491231235959Z"), 2049),
        (utc("500101000000Z"), 1950),
        (element(0x18, b"20500101000000Z"), 2050),
        (element(0x18, b"99991231235959Z"), 9999),
    ],
)
def test_years_of_two_and_four_digits(time: bytes, year: int) -> None:
    found = read_certificate(certificate(TWO_TIMES[0], time))
    assert calendar.timegm((year, 1, 1, 0, 0, 0)) <= found.not_after_s <= calendar.timegm((year, 12, 31, 23, 59, 59))


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x85\x00\x00\x00\x00\x01",
        b"\x02\x01\x00",
        element(0x30, element(0x30)),
        certificate(TWO_TIMES[0]),
        certificate(TWO_TIMES[0], utc("261301000000Z")),
        certificate(TWO_TIMES[0], utc("2601")),
        certificate(TWO_TIMES[0], element(0x0C, b"260201120000Z")),
    ],
)
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(der)


WHOLE = certificate(*TWO_TIMES, names=element(0x82, b"a.example"))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.integers(0, len(WHOLE)))
def test_a_broken_one_is_read_or_refused(place: int, byte: int, end: int) -> None:
    broken = bytearray(WHOLE)
    broken[place] = byte
    for der in (bytes(broken), bytes(broken[:end])):
        try:
            assert isinstance(read_certificate(der), Certificate)
        except ValueError:
            pass


@given(st.binary(max_size=64))
def test_anything_is_read_or_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(der)


FROM_S, UNTIL_S = 0, 100 * DAY_S


@pytest.mark.parametrize(
    ("now_s", "words", "days", "valid"),
    [
        (-1, "is not valid before 1970-01-01", 100, False),
        (0, "expires in 100 days, on 1970-04-11", 100, True),
        (99 * DAY_S, "expires in 1 day, on 1970-04-11", 1, True),
        (99 * DAY_S + 1, "expires in 0 days, on 1970-04-11", 0, True),
        (100 * DAY_S, "expires in 0 days, on 1970-04-11", 0, True),
        (100 * DAY_S + 1, "expired on 1970-04-11", -1, False),
    ],
)
def test_how_its_time_stands(now_s: int, words: str, days: int, valid: bool) -> None:
    found = Certificate("01", "f", FROM_S, UNTIL_S, ())
    assert found.lifetime_in_words(now_s) == lifetime_in_words(FROM_S, UNTIL_S, now_s) == words
    assert (found.days_left(now_s), found.valid_at(now_s)) == (days, valid)
