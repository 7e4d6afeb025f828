"""session/context.py: who may enter, by the headers of the upgrade request."""

import pytest

from audiohook.errors import HEADER_MALFORMED, HEADER_MISSING, Refusal
from audiohook.session.context import identify
from audiohook.session.events import Identity
from audiohook.wire.request import Request
from tests.support.calls import HEADERS


def request(*headers: tuple[str, str]) -> Request:
    return Request(method="GET", target="/", headers=headers)


def without(name: str) -> tuple[tuple[str, str], ...]:
    return tuple(header for header in HEADERS if header[0] != name)


def replaced(name: str, *values: str) -> Request:
    return request(*without(name), *((name, value) for value in values))


REQUIRED = ("x-genesys-call-id", "x-genesys-session-id", "x-genesys-user-id", "x-genesys-participant-id")


def test_who_calls() -> None:
    assert identify(request(*HEADERS)) == Identity(
        dialect="context",
        call_id="0c0ffee0-1111-4222-8333-444455556666",
        session_id="session-1",
        user_id="user-1",
        participant_id="participant-1",
        direction="inbound",
    )


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_header_is_named(name: str) -> None:
    assert identify(request(*without(name))) == HEADER_MISSING.naming(name)
    assert identify(replaced(name, "")) == HEADER_MISSING.naming(name)
    assert HEADER_MISSING.status == 401


def test_the_first_missing_header_is_named_when_all_are() -> None:
    assert identify(request()) == HEADER_MISSING.naming("x-genesys-call-id")


@pytest.mark.parametrize("value", ["0C0FFEE0-1111-4222-8333-44445555666A", "0c0fFEE0-1111-F222-0333-44445555666a"])
def test_a_call_id_of_any_version_and_case_is_stored_in_lower_case(value: str) -> None:
    identity = identify(replaced("x-genesys-call-id", value))
    assert isinstance(identity, Identity)
    assert identity.call_id == value.lower()


BAD_CALL_IDS = (
    "0c0ffee0111142228333444455556666",
    "{0c0ffee0-1111-4222-8333-444455556666}",
    "0c0ffee0-1111-4222-8333-44445555666",
    "0c0ffee0-1111-4222-8333-4444555566667",
    "0c0ffee0-1111-4222-8333-44445555666g",
    "0c0ffee0-1111-4222-8333-44445555666６",
    " 0c0ffee0-1111-4222-8333-444455556666",
    "0c0ffee0-1111-4222-8333-444455556666\n",
    "+15551234567",
)
BAD_TEXTS = ("a b", "tab\there", "x" * 129, "grüße", "\x7f", "nul\x00", " ", "line\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-genesys-call-id", value) for value in BAD_CALL_IDS),
        *((name, value) for name in REQUIRED[1:] for value in BAD_TEXTS),
    ],
)
def test_a_malformed_header_is_named_and_never_echoed(name: str, value: str) -> None:
    refusal = identify(replaced(name, value))
    assert isinstance(refusal, Refusal)
    assert (refusal.slug, refusal.status) == (HEADER_MALFORMED.slug, 400)
    assert name in refusal.text
    assert not value.strip() or value not in refusal.text
    assert refusal.text.isascii()
    assert "\n" not in refusal.text


@pytest.mark.parametrize("name", REQUIRED[1:])
@pytest.mark.parametrize("value", ["!", "~" * 128, 'a;b,c="d"/\\', "0"])
def test_visible_ascii_of_1_to_128_characters_is_taken_as_it_is(name: str, value: str) -> None:
    identity = identify(replaced(name, value))
    assert isinstance(identity, Identity)
    assert value in (identity.session_id, identity.user_id, identity.participant_id)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("second", ["other", "", None])
def test_a_repeated_header_is_malformed_even_if_the_values_agree(name: str, second: str | None) -> None:
    value = dict(HEADERS)[name]
    refusal = identify(replaced(name, value, value if second is None else second))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, name in refusal.text) == (400, True)


@pytest.mark.parametrize(
    ("values", "stored"), [((), "unknown"), (("inbound",), "inbound"), (("outbound",), "outbound")]
)
def test_direction(values: tuple[str, ...], stored: str) -> None:
    identity = identify(replaced("x-genesys-direction", *values))
    assert isinstance(identity, Identity)
    assert identity.direction == stored


@pytest.mark.parametrize(
    "values", [("",), ("Inbound",), ("both",), ("unknown",), ("inbound", "inbound"), ("in bound",)]
)
def test_a_wrong_direction_is_refused(values: tuple[str, ...]) -> None:
    refusal = identify(replaced("x-genesys-direction", *values))
    assert refusal == HEADER_MALFORMED.naming("x-genesys-direction must be inbound or outbound, once")
