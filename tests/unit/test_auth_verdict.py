"""auth/verdict.py and auth/api_keys.py: who is let in, under which keys, and what the search gives away."""

import hmac

import pytest

from audiohook.auth import api_keys
from audiohook.auth.api_keys import ApiKey, Keyring
from audiohook.auth.finding import Result
from audiohook.auth.signature import SignaturePolicy
from audiohook.auth.signing import Stamp, sign
from audiohook.auth.verdict import FAILURE_DELAY_NS, Verdict, authenticate, check_shared_secret

NOW_S = 1_700_000_000
ONE = "d7934305-0972-4844-938e-9060eef73d05"
TWO = "11111111-2222-4333-8444-555555555555"
OLD, NEW, UNSIGNED = b"old-secret-of-one", b"new-secret-of-one", b""
KEYRING = Keyring(
    [ApiKey(ONE, "old", OLD), ApiKey(ONE, "new", NEW), ApiKey(TWO, "two", UNSIGNED)],
    ["first-shared-secret", "second-shared-secret"],
)


def headers(api_key: str | None, organization: str | None = ONE) -> list[tuple[str, str]]:
    pairs = [
        ("host", "audiohook.example.com"),
        ("audiohook-session-id", "30b0e395-84d3-4570-ac13-9a62d8f514c0"),
        ("audiohook-correlation-id", "e160e428-53e2-487c-977d-96989bf5c99d"),
    ]
    pairs += [] if api_key is None else [("x-api-key", api_key)]
    return pairs + ([] if organization is None else [("audiohook-organization-id", organization)])


def signed(api_key: str, secret: bytes, organization: str = ONE) -> list[tuple[str, str]]:
    pairs = headers(api_key, organization)
    return pairs + list(sign("/ws", pairs, secret, Stamp("n" * 24, NOW_S)))


def verdict_of(pairs: list[tuple[str, str]], keyring: Keyring = KEYRING) -> Verdict:
    return authenticate(pairs, "/ws", keyring, SignaturePolicy(), NOW_S)


def test_several_keys_of_one_organization_are_valid_at_once() -> None:
    for key, secret in (("old", OLD), ("new", NEW)):
        verdict = verdict_of(signed(key, secret))
        assert (verdict.ok, verdict.result, verdict.organization) == (True, Result.VERIFIED, ONE)
    assert verdict_of(signed("old", NEW)).result is Result.FAILED


def test_the_organization_may_be_written_in_capitals() -> None:
    assert verdict_of(signed("old", OLD, ONE.upper())).organization == ONE


def test_a_key_of_another_organization() -> None:
    verdict = verdict_of(signed("old", OLD, TWO))
    assert (verdict.ok, verdict.result, verdict.organization) == (False, Result.FAILED, "")


def test_unsigned_passes_only_with_a_known_key_and_no_secret() -> None:
    verdict = verdict_of(headers("two", TWO))
    assert (verdict.ok, verdict.result, verdict.organization) == (True, Result.VERIFIED, TWO)
    for pairs in (headers("old"), headers("nobody")):
        assert verdict_of(pairs) == Verdict(False, Result.UNSIGNED, "the request is not signed")
    assert verdict_of(headers("two", ONE)).result is Result.FAILED
    assert verdict_of(headers("two", None)).result is Result.FAILED


def test_half_a_signature_is_not_unsigned() -> None:
    for header in signed("two", NEW, TWO)[-2:]:
        assert verdict_of([*headers("two", TWO), header]).result is Result.INVALID


def test_signed_where_no_secret_is_set() -> None:
    # The two ends disagree about the secret; whoever set it up should hear of it. It is no way in either.
    assert verdict_of(signed("two", NEW, TWO)).result is Result.FAILED
    assert verdict_of(signed("two", b"", TWO)).result is Result.FAILED


def test_no_key_and_unknown_keys() -> None:
    assert verdict_of(headers(None)).result is Result.PRECONDITION
    assert verdict_of(headers("")).result is Result.PRECONDITION
    assert verdict_of(signed("nobody", OLD)).result is Result.FAILED
    assert verdict_of([*headers("two", TWO), ("x-api-key", "two")]).result is Result.UNSIGNED
    assert verdict_of(headers("two", TWO), Keyring([])).result is Result.UNSIGNED


def test_a_verdict_repeats_nothing_that_was_sent() -> None:
    marked = [(name, f"{value}MARK") for name, value in signed("old", OLD)]
    assert "MARK" not in repr(verdict_of(marked))


@pytest.mark.parametrize(
    ("pairs", "result"),
    [
        ([("x-secret", "first-shared-secret")], Result.VERIFIED),
        ([("x-secret", "second-shared-secret")], Result.VERIFIED),
        ([("x-secret", "first-shared-secreT")], Result.FAILED),
        ([("x-secret", "first-shared-secret ")], Result.FAILED),
        ([("x-secret", "first-shared-secret"), ("x-secret", "first-shared-secret")], Result.FAILED),
        ([("x-secret", "\xff" * 19)], Result.FAILED),
        ([("x-secret", "")], Result.PRECONDITION),
        ([("x-other", "first-shared-secret")], Result.PRECONDITION),
    ],
)
def test_shared_secret(pairs: list[tuple[str, str]], result: Result) -> None:
    verdict = check_shared_secret(pairs, "x-secret", KEYRING)
    assert (verdict.ok, verdict.result, verdict.organization) == (result is Result.VERIFIED, result, "")


def test_no_shared_secret_is_set() -> None:
    assert not check_shared_secret([("x-secret", "anything")], "x-secret", Keyring([])).ok


def test_every_candidate_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    compare = hmac.compare_digest

    def counted(one: bytes, two: bytes) -> bool:
        lengths.extend((len(one), len(two)))
        return compare(one, two)

    monkeypatch.setattr(api_keys.hmac, "compare_digest", counted)
    for api_key in ("old", "new", "two", "nobody", "", "x" * 5000, "\ud800"):
        assert (KEYRING.find(api_key) is not None) is (api_key in ("old", "new", "two"))
        assert lengths == [32] * 2 * len(KEYRING)
        lengths.clear()
    for secret in ("first-shared-secret", "second-shared-secret", "none"):
        assert KEYRING.admits(secret) is (secret != "none")
        assert lengths == [32] * 2 * KEYRING.shared_secrets
        lengths.clear()


def test_the_repr_of_a_key_is_harmless() -> None:
    text = repr(ApiKey(ONE, "the-key", b"the-secret"))
    assert ONE in text
    assert "the-key" not in text
    assert "the-secret" not in text


def test_the_delay_of_a_failure() -> None:
    assert FAILURE_DELAY_NS == 500_000_000
