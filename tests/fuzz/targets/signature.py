"""auth/: a request that is not one of ours, to the last signed byte, is never let in; and nothing raises.

Mutation cannot make a MAC. So whatever it does, a request may pass only if all that has to be signed is as one of the
seeds signed it, or if its key is the one whose organization sends unsigned requests.
"""

from collections.abc import Iterable

from audiohook.auth.api_keys import ApiKey, Keyring
from audiohook.auth.components import REQUIRED, Message, message, normal_authority
from audiohook.auth.finding import Result
from audiohook.auth.signature import SignaturePolicy, read_signature
from audiohook.auth.signing import Stamp, sign
from audiohook.auth.verdict import authenticate, check_shared_secret
from audiohook.wire.request import Request, RequestReader
from tests.fuzz.target import Pieces

NOW_S = 1_700_000_000
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
OTHER_ORGANIZATION = "00000000-0972-4844-938e-9060eef73d05"
KEY, OPEN_KEY, OTHER_KEY = "key+/==", "open-key", "other-key"
SECRET, OTHER_SECRET = b"0123456789abcdef", b"fedcba9876543210"
SHARED = "shared-secret-of-context"
KEYRING = Keyring(
    [
        ApiKey(ORGANIZATION, KEY, SECRET),
        ApiKey(ORGANIZATION, OPEN_KEY, b""),
        ApiKey(OTHER_ORGANIZATION, OTHER_KEY, OTHER_SECRET),
    ],
    [SHARED],
)
POLICY = SignaturePolicy()
TARGET = "/api/v1/audiohook/ws?x=1"

TOKENS = (
    *(f'"{name}"'.encode() for name in REQUIRED),
    *(name.encode() + b": " for name in REQUIRED[2:]),
    b'"@method"',
    b'"@query-params"',
    b'"@signature-params"',
    b'"signature"',
    b'"host"',
    b";created=1700000000",
    b";expires=1",
    b';nonce=""',
    b';alg="none"',
    b";created=999999999999999",
    b";created=-1",
    b";req",
    b";sf",
    b'"',
    b"\\",
    b"(",
    b")",
    b";",
    b"=",
    b", ",
    b"::",
    b"sig2=",
    b"sig1=()",
    b"sig1=::",
    b"?1",
    b"@1",
    b"%",
    b":443",
    b"\r\n",
    b"signature: ",
    b"signature-input: ",
    OPEN_KEY.encode(),
    OTHER_KEY.encode(),
)


def _ids(key: str, organization: str = ORGANIZATION, host: str = "audiohook.example.com") -> list[tuple[str, str]]:
    return [
        ("host", host),
        ("audiohook-organization-id", organization),
        ("audiohook-session-id", "30b0e395-84d3-4570-ac13-9a62d8f514c0"),
        ("audiohook-correlation-id", "e160e428-53e2-487c-977d-96989bf5c99d"),
        ("x-api-key", key),
    ]


def _requests() -> Iterable[list[tuple[str, str]]]:
    stamp = Stamp("n" * 24, NOW_S)
    yield [*_ids(KEY), *sign(TARGET, _ids(KEY), SECRET, stamp)]
    yield [*_ids(KEY), *sign(TARGET, _ids(KEY), SECRET, stamp, tuple(reversed(REQUIRED)), "other")]
    ported = _ids(KEY, host="audiohook.example.com:443")
    yield [*ported, *sign(TARGET, ported, SECRET, Stamp("m" * 22, NOW_S - 100))]
    yield [*_ids(KEY), *sign(TARGET, _ids(KEY), SECRET, Stamp("old" * 9, NOW_S - 1000))]
    yield [*_ids(KEY), *sign(TARGET, _ids(KEY), b"forged", stamp)]
    yield [*_ids(KEY), *sign(TARGET, _ids(KEY), b"", stamp)]
    yield [*_ids("unknown"), *sign(TARGET, _ids("unknown"), SECRET, stamp)]
    yield _ids(OPEN_KEY)
    yield _ids(KEY)
    other = _ids(OTHER_KEY, OTHER_ORGANIZATION)
    yield [*other, *sign(TARGET, other, OTHER_SECRET, stamp)]
    yield [*_ids(KEY), ("x-audiohook-secret", SHARED)]


def seeds() -> Iterable[Pieces]:
    for headers in _requests():
        lines = [f"GET {TARGET} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]
        yield [line.encode() for line in lines]


def _signed(request: Message) -> tuple[str, ...]:
    """Return what every signature covers."""
    ids = (request.fields.get(name, "") for name in REQUIRED[2:])
    return (request.target, normal_authority(request.fields.get("host", "")), *ids)


GOOD = frozenset(_signed(message(TARGET, headers)) for headers in _requests())


def check(data: bytes) -> None:
    request = RequestReader(max_request_bytes=16_384, max_headers=100).receive_data(data)
    if not isinstance(request, Request):
        return
    seen = message(request.target, request.headers)
    verdict = authenticate(request.headers, request.target, KEYRING, POLICY, NOW_S)
    assert verdict.ok is (verdict.result is Result.VERIFIED)
    assert verdict.reason.isascii()
    assert verdict.reason.isprintable()
    if verdict.ok:
        _check_entry(seen, verdict.organization)
    else:
        assert verdict.organization == ""
    shared = check_shared_secret(request.headers, "x-audiohook-secret", KEYRING)
    assert shared.ok is (seen.fields.get("x-audiohook-secret") == SHARED)


def _check_entry(request: Message, organization: str) -> None:
    key = request.fields["x-api-key"]
    assert organization == (OTHER_ORGANIZATION if key == OTHER_KEY else ORGANIZATION)
    assert request.fields["audiohook-organization-id"].lower() == organization
    if key == OPEN_KEY:
        assert "signature" not in request.fields or request.fields["signature"] == ""
        return
    assert _signed(request) in GOOD, "let in with something that nobody signed"
    signature = read_signature(request.fields)
    assert NOW_S - 330 <= signature.created <= NOW_S + 30  # type: ignore[union-attr]
