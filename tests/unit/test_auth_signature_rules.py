"""auth/signature.py: each rule, broken alone, and the result that it gives."""

import gc
from base64 import b64decode, b64encode

import pytest

from audiohook.auth import signature as verifying
from audiohook.auth.components import REQUIRED, message
from audiohook.auth.finding import Result
from audiohook.auth.signature import compute_mac, verify
from audiohook.auth.signing import Stamp, sign
from audiohook.auth.structured import MAX_FIELD_BYTES, parse_dictionary
from tests.unit.test_auth_signature import (
    API_KEY,
    COVERED,
    CREATED,
    IDS,
    NONCE,
    PARAMETERS,
    POLICY,
    SECRET,
    TARGET,
    V1_BASE,
    V1_INPUT,
    V1_MAC,
    finding_of,
    result_of,
    signed,
)

NO_ALG = PARAMETERS.replace(';alg="hmac-sha256"', "")
NO_TIMES = f';keyid="{API_KEY}";nonce="{NONCE}"'

REFUSED = [
    (COVERED, PARAMETERS.replace(NONCE, NONCE[:21]), Result.PRECONDITION),
    (COVERED, PARAMETERS.replace(NONCE, NONCE[:22]), Result.VERIFIED),
    (COVERED, PARAMETERS.replace(f';nonce="{NONCE}"', ""), Result.PRECONDITION),
    (COVERED, PARAMETERS.replace(API_KEY, API_KEY[:-1] + "i"), Result.PRECONDITION),
    (COVERED, PARAMETERS.replace(f';keyid="{API_KEY}"', ""), Result.PRECONDITION),
    (COVERED, PARAMETERS.replace("hmac-sha256", "hs2019"), Result.UNSUPPORTED),
    (COVERED, NO_ALG, Result.VERIFIED),
    (COVERED, NO_ALG + ";alg", Result.INVALID),
    (COVERED, NO_ALG + ";alg=hmac-sha256", Result.INVALID),
    (COVERED, PARAMETERS + ';tag="x"', Result.INVALID),
    (COVERED, PARAMETERS.replace(NONCE, "").replace('nonce=""', f"nonce=:{NONCE}:"), Result.INVALID),
    (COVERED, NO_TIMES + ";created", Result.INVALID),
    (COVERED, NO_TIMES + f";created={CREATED}.0", Result.INVALID),
    (COVERED, NO_TIMES + f';created="{CREATED}"', Result.INVALID),
    (COVERED, NO_TIMES + f";created=@{CREATED}", Result.INVALID),
    (COVERED, NO_TIMES + ";created=-1", Result.INVALID),
    (COVERED, NO_TIMES + ";created=0", Result.EXPIRED),
    (COVERED, NO_TIMES + f";created={CREATED};expires=-1", Result.INVALID),
    (COVERED, "", Result.PRECONDITION),
    ("", PARAMETERS, Result.PRECONDITION),
    *((COVERED.replace(f'"{name}"', '"host"'), PARAMETERS, Result.PRECONDITION) for name in REQUIRED),
    (COVERED + ' "x-not-there"', PARAMETERS, Result.PRECONDITION),
    (COVERED.upper(), PARAMETERS, Result.INVALID),
    (COVERED.replace("x-api-key", "X-API-KEY"), PARAMETERS, Result.PRECONDITION),
    (COVERED + ' "@authority"', PARAMETERS, Result.INVALID),
    (COVERED + ' "x-api-key"', PARAMETERS, Result.INVALID),
    (COVERED + ' "@signature-params"', PARAMETERS, Result.INVALID),
    (COVERED + ' "@other"', PARAMETERS, Result.INVALID),
    (COVERED + ' "@"', PARAMETERS, Result.INVALID),
    (COVERED + ' "@method"', PARAMETERS, Result.PRECONDITION),
    (COVERED + ' "@status"', PARAMETERS, Result.PRECONDITION),
    (COVERED + ' "@query-params";name="a"', PARAMETERS, Result.UNSUPPORTED),
    (COVERED + ' "signature"', PARAMETERS, Result.UNSUPPORTED),
    (COVERED + ' "date";sf', PARAMETERS, Result.UNSUPPORTED),
    (COVERED + ' "date";bs', PARAMETERS, Result.UNSUPPORTED),
    (COVERED + ' "date";req', PARAMETERS, Result.UNSUPPORTED),
    (COVERED + ' "date";sf=?0', PARAMETERS, Result.INVALID),
    (COVERED + ' "date";key="a"', PARAMETERS, Result.INVALID),
    (COVERED.replace('"@authority"', '"@authority";req'), PARAMETERS, Result.UNSUPPORTED),
    (COVERED.replace('"@authority"', '"@authority";sf'), PARAMETERS, Result.INVALID),
    (COVERED + " token", PARAMETERS, Result.INVALID),
    (COVERED + " 1", PARAMETERS, Result.INVALID),
    (COVERED + " :AAAA:", PARAMETERS, Result.INVALID),
]


@pytest.mark.parametrize(("covered", "parameters", "result"), REFUSED)
def test_each_rule_on_a_signature_with_the_right_secret(covered: str, parameters: str, result: Result) -> None:
    assert result_of(f"({covered}){parameters}") is result


GOOD_MAC = f"sig1=:{V1_MAC}:"


@pytest.mark.parametrize(
    ("inputs", "mac", "result"),
    [
        (None, None, Result.UNSIGNED),
        ("", " ", Result.UNSIGNED),
        (f"sig1={V1_INPUT}", None, Result.INVALID),
        (None, GOOD_MAC, Result.INVALID),
        (f"sig1={V1_INPUT}", f"sig2=:{V1_MAC}:", Result.INVALID),
        (f"sig1={V1_INPUT}", f'sig1="{V1_MAC}"', Result.INVALID),
        (f"sig1={V1_INPUT}", "sig1", Result.INVALID),
        (f"sig1={V1_INPUT}", f"sig1=(:{V1_MAC}:)", Result.INVALID),
        (f"sig1={V1_INPUT}", f"sig1=:{V1_MAC}", Result.INVALID),
        (f"sig1={V1_INPUT}", "sig1=:%%%%:", Result.INVALID),
        (f"sig1={V1_INPUT}", f"sig1=:{V1_MAC.rstrip('=')}:", Result.VERIFIED),
        (f"sig1={V1_INPUT},", GOOD_MAC, Result.INVALID),
        (f"sig1={V1_INPUT[:-1]}\xe9", GOOD_MAC, Result.INVALID),
        ("sig1", GOOD_MAC, Result.INVALID),
        ('sig1="x"', GOOD_MAC, Result.INVALID),
        (f"sig1={'(' * 3000}", GOOD_MAC, Result.INVALID),
        (f"sig1={V1_INPUT};created={'9' * 3000}", GOOD_MAC, Result.INVALID),
        (f"sig1={V1_INPUT}" + " " * MAX_FIELD_BYTES, GOOD_MAC, Result.INVALID),
        # The lengths that Genesys' own server dies of.
        (f"sig1={V1_INPUT}", "sig1=::", Result.FAILED),
        (f"sig1={V1_INPUT}", "sig1=:AAAA:", Result.FAILED),
        (f"sig1={V1_INPUT}", f"sig1=:{b64encode(b64decode(V1_MAC) + b'x').decode()}:", Result.FAILED),
        (f"sig1={V1_INPUT}", f"sig1=:{b64encode(bytes(32)).decode()}:", Result.FAILED),
    ],
)
def test_the_two_headers(inputs: str | None, mac: str | None, result: Result) -> None:
    headers = [(name, value) for name, value in (("signature-input", inputs), ("signature", mac)) if value is not None]
    assert finding_of(*IDS, *headers).result is result


@pytest.mark.parametrize("name", REQUIRED[2:])
def test_each_covered_header_is_bound(name: str) -> None:
    changed = [(found, value[:-1] + "_" if found == name else value) for found, value in IDS]
    api_key = dict(changed)["x-api-key"]
    finding = verify(message(TARGET, [*changed, *signed(V1_INPUT)]), api_key, SECRET, POLICY, CREATED)
    assert finding.result is (Result.PRECONDITION if name == "x-api-key" else Result.FAILED)


def test_unknown_and_empty_secrets_verify_nothing() -> None:
    cases = ((None, bytes(32), "unknown"), (b"", b"", "no secret is set"), (b"", bytes(32), "no secret is set"))
    for secret, stand_in, words in cases:
        mac = b64encode(compute_mac(stand_in, V1_BASE)).decode()
        request = message(TARGET, (*IDS, ("signature-input", f"sig1={V1_INPUT}"), ("signature", f"sig1=:{mac}:")))
        finding = verify(request, API_KEY, secret, POLICY, CREATED)
        assert finding.result is Result.FAILED
        assert words in finding.reason


def test_an_unknown_key_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[int] = []
    compute = verifying.compute_mac

    def counted(secret: bytes, base: bytes) -> bytes:
        worked.append(len(base))
        return compute(secret, base)

    monkeypatch.setattr(verifying, "compute_mac", counted)
    request = message(TARGET, (*IDS, *signed(V1_INPUT)))
    forged = message(TARGET, (*IDS, ("signature-input", f"sig1={V1_INPUT}"), ("signature", "sig1=:AAAA:")))
    results = []
    for case, secret in ((request, SECRET), (request, None), (request, b""), (request, b"other"), (forged, SECRET)):
        results.append(verify(case, API_KEY, secret, POLICY, CREATED).result)
        assert worked == [len(V1_BASE)]
        worked.clear()
    assert results == [Result.VERIFIED, *[Result.FAILED] * 4]


def test_signing_what_cannot_be_signed() -> None:
    with pytest.raises(ValueError, match="not in the request"):
        sign(TARGET, IDS, SECRET, Stamp(NONCE, CREATED), components=("date",))
    with pytest.raises(ValueError):
        sign(TARGET, IDS, SECRET, Stamp("n\n", CREATED))


def test_a_refused_field_leaves_nothing_behind() -> None:
    # The library's errors are cycles: 22 objects each, which only a collection would free.
    parse_dictionary("sig1=(")
    gc.collect()
    gc.disable()
    try:
        for field in ("sig1=(", 'sig1="', "sig1=:A", "?", "sig1=:" + "A" * 5 + ":", "sig1=%", "\u20ac"):
            for _ in range(10):
                assert parse_dictionary(field) is None
        assert gc.collect() == 0
    finally:
        gc.enable()
