"""auth/signature.py against arbitrary and damaged headers: it never raises, and nothing damaged is taken."""

from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.auth.api_keys import ApiKey, Keyring
from audiohook.auth.components import REQUIRED, message, normal_authority
from audiohook.auth.finding import Result
from audiohook.auth.signature import Signature, SignaturePolicy, read_signature
from audiohook.auth.signing import Stamp, sign
from audiohook.auth.verdict import authenticate, check_shared_secret

NOW_S = 1_700_000_000
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SECRET = b"0123456789abcdef"
KEYRING = Keyring([ApiKey(ORGANIZATION, "key+/==", SECRET), ApiKey(ORGANIZATION, "open", b"")], ["s" * 16])
POLICY = SignaturePolicy()
TARGET = "/hook?x=1"

IDS = (
    ("host", "audiohook.example.com"),
    ("audiohook-organization-id", ORGANIZATION),
    ("audiohook-session-id", "30b0e395-84d3-4570-ac13-9a62d8f514c0"),
    ("audiohook-correlation-id", "e160e428-53e2-487c-977d-96989bf5c99d"),
    ("x-api-key", "key+/=="),
)
GOOD = (*IDS, *sign(TARGET, IDS, SECRET, Stamp("n" * 24, NOW_S)))

NAMES = (*REQUIRED[2:], "host", "signature-input", "signature", "x-audiohook-secret", "date")

octets = st.binary(max_size=200).map(lambda data: data.decode("latin-1"))
PIECES = (
    *(f'"{name}"' for name in REQUIRED),
    *("sig1", "keyid", "nonce", "alg", "created", "expires", "tag", "?1", "@1", "999999999999999"),
    *'=();,:"\\1-.*% \t\xff',
)
structured = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
headers = st.lists(st.tuples(st.sampled_from(NAMES), octets | structured), max_size=12)


@settings(max_examples=400)
@given(headers, st.integers(0, 1 << 40), st.sampled_from([POLICY, SignaturePolicy(None, 0)]))
def test_any_headers(pairs: list[tuple[str, str]], now_s: int, policy: SignaturePolicy) -> None:
    verdict = authenticate(pairs, TARGET, KEYRING, policy, now_s)
    assert verdict.ok is (verdict.result is Result.VERIFIED)
    assert verdict.organization == (ORGANIZATION if verdict.ok else "")
    shared = check_shared_secret(pairs, "x-audiohook-secret", KEYRING)
    assert shared.ok is (message("", pairs).fields.get("x-audiohook-secret") == "s" * 16)


@given(structured | octets, structured | octets)
def test_any_signature_headers_of_a_request_that_is_right(inputs: str, mac: str) -> None:
    pairs = (*IDS, ("signature-input", inputs), ("signature", mac))
    assert not authenticate(pairs, TARGET, KEYRING, POLICY, NOW_S).ok


def test_the_undamaged_request() -> None:
    assert authenticate(GOOD, TARGET, KEYRING, POLICY, NOW_S).ok


def meaning(pairs: tuple[tuple[str, str], ...]) -> tuple[Signature, str, list[str | None]]:
    """What a request says, whatever spelling it chose."""
    fields = message(TARGET, pairs).fields
    signature = read_signature(fields)
    assert isinstance(signature, Signature)
    return signature, normal_authority(fields["host"]), [fields.get(name) for name in REQUIRED[2:]]


@settings(max_examples=600)
@given(st.integers(0, len(GOOD) - 1), st.data())
def test_damage_is_found(which: int, data: st.DataObject) -> None:
    name, value = GOOD[which]
    start = data.draw(st.integers(0, len(value)), "start")
    length = data.draw(st.integers(0, 3), "length")
    inserted = data.draw(st.text(st.characters(max_codepoint=255), max_size=3), "inserted")
    damaged = (*GOOD[:which], (name, value[:start] + inserted + value[start + length :]), *GOOD[which + 1 :])
    if authenticate(damaged, TARGET, KEYRING, POLICY, NOW_S).ok:
        # Another spelling of the same: a blank more, unused bits of base64, capitals in the host.
        assert meaning(damaged) == meaning(GOOD)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20))
def test_another_target_is_found(target: str) -> None:
    assert authenticate(GOOD, target, KEYRING, POLICY, NOW_S).ok is (target == TARGET)


@given(
    st.permutations(REQUIRED),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=22, max_size=40),
    st.integers(NOW_S - 330, NOW_S + 30),
    st.integers(330, 1000),
    st.from_regex(r"\A[a-z*][a-z0-9_.*-]{0,8}\Z"),
)
def test_what_is_signed_verifies(order: list[str], nonce: str, created: int, lifetime_s: int, label: str) -> None:
    signature = sign(TARGET, IDS, SECRET, Stamp(nonce, created, lifetime_s), order, label)
    assert authenticate((*signature, *IDS), TARGET, KEYRING, POLICY, NOW_S).ok
