"""auth/signature.py: the published vectors, what is taken, and the window of times."""

import hmac
from base64 import b64decode, b64encode

import pytest

from audiohook.auth.components import REQUIRED, Message, message, signature_base
from audiohook.auth.finding import Finding, Result
from audiohook.auth.signature import Signature, SignaturePolicy, compute_mac, read_signature, verify
from audiohook.auth.signing import Stamp, sign
from audiohook.wire.client import upgrade_request
from audiohook.wire.request import Request, RequestReader

SECRET = b"MySuperSecretKeyTellNo-1!2@3#4$5"
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
NONCE = "VGhpc0lzQVVuaXF1ZU5vbmNl"
TARGET = "/api/v1/voicebiometrics/ws"
CREATED = 1641013200

IDS = (
    ("host", "audiohook.example.com"),
    ("audiohook-organization-id", "d7934305-0972-4844-938e-9060eef73d05"),
    ("audiohook-session-id", "30b0e395-84d3-4570-ac13-9a62d8f514c0"),
    ("audiohook-correlation-id", "e160e428-53e2-487c-977d-96989bf5c99d"),
    ("x-api-key", API_KEY),
)

PARAMETERS = f';keyid="{API_KEY}";nonce="{NONCE}";alg="hmac-sha256";created={CREATED};expires=3282026430'
COVERED = " ".join(f'"{name}"' for name in REQUIRED)

V1_INPUT = f"({COVERED}){PARAMETERS}"
V1_MAC = "NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4="
V1_BASE = f"""\
"@request-target": /api/v1/voicebiometrics/ws
"@authority": audiohook.example.com
"audiohook-organization-id": d7934305-0972-4844-938e-9060eef73d05
"audiohook-session-id": 30b0e395-84d3-4570-ac13-9a62d8f514c0
"audiohook-correlation-id": e160e428-53e2-487c-977d-96989bf5c99d
"x-api-key": SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh
"@signature-params": {V1_INPUT}""".encode()

POLICY = SignaturePolicy()
AGELESS = SignaturePolicy(age_s=None)


def base_of(request: Message) -> bytes:
    signature = read_signature(request.fields)
    assert isinstance(signature, Signature)
    base = signature_base(request, request.fields["host"], signature.names, signature.text)
    assert isinstance(base, bytes)
    return base


def finding_of(
    *headers: tuple[str, str], target: str = TARGET, now_s: int = CREATED, policy: SignaturePolicy = POLICY
) -> Finding:
    return verify(message(target, headers), API_KEY, SECRET, policy, now_s)


def result_of(input_text: str, *extra: tuple[str, str], now_s: int = CREATED) -> Result:
    """Sign `input_text` as it stands, right or wrong, and return what the verifier makes of it."""
    return finding_of(*IDS, *extra, *signed(input_text, *extra), now_s=now_s).result


def signed(input_text: str, *extra: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Return signature headers under SECRET for an input in canonical form, made without a line of the code tested."""
    values = {"@request-target": TARGET, "@authority": IDS[0][1], **dict(IDS), **dict(extra)}
    names = [name for name in input_text.partition(")")[0].split('"')[1::2] if not name.startswith(";")]
    lines = [f'"{name}": {values.get(name, "")}' for name in names] + [f'"@signature-params": {input_text}']
    mac = hmac.new(SECRET, "\n".join(lines).encode(), "sha256").digest()
    return ("signature-input", f"sig1={input_text}"), ("signature", f"sig1=:{b64encode(mac).decode()}:")


# The vectors


def test_vector_1_verifies_whole() -> None:
    request = message(TARGET, (*IDS, ("signature-input", f"sig1={V1_INPUT}"), ("signature", f"sig1=:{V1_MAC}:")))
    assert len(V1_BASE) == 593
    assert base_of(request) == V1_BASE
    # It was signed in 2022 and expires in 2074; an injected clock and no age check hold it to all other rules.
    for now_s in (CREATED, 2_000_000_000, 3282026430):
        assert verify(request, API_KEY, SECRET, AGELESS, now_s).result is Result.VERIFIED
    assert verify(request, API_KEY, SECRET, POLICY, CREATED + 331).result is Result.EXPIRED
    assert verify(request, API_KEY, SECRET, AGELESS, 3282026430 + 31).result is Result.EXPIRED


def test_vector_2_has_host_for_authority() -> None:
    covered = COVERED.replace("@authority", "host")
    mac = "zupMJUMfd/kMuvKc5zhRyfJPE3jTROuz1S1hn8SCTpE="
    headers = (*IDS, ("signature-input", f"sig1=({covered}){PARAMETERS}"), ("signature", f"sig1=:{mac}:"))
    request = message(TARGET, headers)
    base = base_of(request)
    assert len(base) == 581
    assert compute_mac(SECRET, base) == b64decode(mac)
    # The MAC is right, yet a signature without @authority is not taken.
    assert verify(request, API_KEY, SECRET, AGELESS, CREATED).result is Result.PRECONDITION


def test_vector_3_of_the_draft() -> None:
    secret = b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
    mac = "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="
    headers = (
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        (
            "signature-input",
            'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
        ),
        ("signature", f"sig-b25=:{mac}:"),
    )
    base = base_of(message("/foo", headers))
    assert base == (
        b'"date": Tue, 20 Apr 2021 02:07:55 GMT\n'
        b'"@authority": example.com\n'
        b'"content-type": application/json\n'
        b'"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    )
    assert compute_mac(secret, base) == b64decode(mac)


def test_our_own_signature_is_the_vector() -> None:
    input_header, mac_header = sign(TARGET, IDS, SECRET, Stamp(NONCE, CREATED, lifetime_s=1641013230))
    assert input_header == ("signature-input", f"sig1={V1_INPUT}")
    assert mac_header == ("signature", f"sig1=:{V1_MAC}:")


# What is taken


def test_any_order_of_components() -> None:
    # The order that is seen in production.
    order = (REQUIRED[0], REQUIRED[3], REQUIRED[2], REQUIRED[4], REQUIRED[5], REQUIRED[1])
    covered = " ".join(f'"{name}"' for name in order)
    assert result_of(f"({covered}){PARAMETERS}") is Result.VERIFIED
    swapped = COVERED.replace('"@authority" ', "") + ' "@authority"'
    right = signed(f"({COVERED}){PARAMETERS}")
    assert finding_of(*IDS, ("signature-input", f"sig1=({swapped}){PARAMETERS}"), right[1]).result is Result.FAILED


def test_any_order_of_parameters_and_any_label() -> None:
    text = f'({COVERED});created={CREATED};nonce="{NONCE}";keyid="{API_KEY}"'
    (_, inputs), (_, macs) = signed(text)
    relabelled = [
        ("signature-input", inputs.replace("sig1=", "*my-sig.2=")),
        ("signature", macs.replace("sig1=", "*my-sig.2=")),
    ]
    assert finding_of(*IDS, *relabelled).result is Result.VERIFIED


def test_more_components_than_required() -> None:
    covered = f'{COVERED} "user-agent" "x-empty"'
    extra = (("user-agent", "Genesys \xe4 1".encode().decode("latin-1")), ("x-empty", ""))
    values = {"@request-target": TARGET, "@authority": IDS[0][1], **dict(IDS), **dict(extra)}
    lines = [f'"{name}": {values[name]}' for name in covered.replace('"', "").split()]
    base = "\n".join([*lines, f'"@signature-params": ({covered}){PARAMETERS}']).encode("latin-1")
    mac = b64encode(hmac.new(SECRET, base, "sha256").digest()).decode()
    headers = (("signature-input", f"sig1=({covered}){PARAMETERS}"), ("signature", f"sig1=:{mac}:"))
    assert finding_of(*IDS, *extra, *headers).result is Result.VERIFIED
    assert finding_of(*IDS, extra[0], *headers).result is Result.PRECONDITION
    assert finding_of(*IDS, ("user-agent", "another"), extra[1], *headers).result is Result.FAILED


def test_repeated_headers_are_joined() -> None:
    headers = (("x-more", "a"), ("x-more", "b"))
    text = f'({COVERED} "x-more"){PARAMETERS}'
    assert finding_of(*IDS, *headers, *signed(text, ("x-more", "a, b"))).result is Result.VERIFIED


def test_the_canonical_form_is_what_is_signed() -> None:
    (_, inputs), mac_header = signed(V1_INPUT)
    loose = inputs.replace('" "', '"   "').replace('("', '(  "').replace('")', '"  )').replace(";", ";  ")
    assert loose != inputs
    assert finding_of(*IDS, ("signature-input", loose), mac_header).result is Result.VERIFIED


def test_the_first_of_several_signatures_counts() -> None:
    # A proxy may add one of its own, with parameters that are not known here.
    (_, inputs), (_, macs) = signed(V1_INPUT)
    other = 'proxy=("@method");tag="x"'
    behind = (("signature-input", f"{inputs}, {other}"), ("signature", f"proxy=:AAAA:, {macs}"))
    before = (("signature-input", f"{other}, {inputs}"), ("signature", f"proxy=:AAAA:, {macs}"))
    assert finding_of(*IDS, *behind).result is Result.VERIFIED
    assert finding_of(*IDS, *before).result is Result.INVALID


@pytest.mark.parametrize(
    ("host", "result"),
    [
        ("audiohook.example.com", Result.VERIFIED),
        ("AudioHook.Example.com", Result.VERIFIED),
        ("audiohook.example.com:443", Result.VERIFIED),
        ("audiohook.example.com:80", Result.FAILED),
        ("audiohook.example.com.", Result.FAILED),
        ("evil.example.com", Result.FAILED),
        ("", Result.PRECONDITION),
    ],
)
def test_host_as_sent_or_normalised(host: str, result: Result) -> None:
    assert finding_of(("host", host), *IDS[1:], *signed(V1_INPUT)).result is result


def test_host_with_a_port_signed_as_sent() -> None:
    # Genesys' own server compares with Host as it stands, so a client that signs it so is right as well.
    for host in ("audiohook.example.com:443", "Audiohook.example.com:8443"):
        request = ("host", host), *IDS[1:]
        mac = compute_mac(SECRET, V1_BASE.replace(b"audiohook.example.com", host.encode()))
        headers = (("signature-input", f"sig1={V1_INPUT}"), ("signature", f"sig1=:{b64encode(mac).decode()}:"))
        assert finding_of(*request, *headers).result is Result.VERIFIED


def test_no_host() -> None:
    assert finding_of(*IDS[1:], *signed(V1_INPUT)).result is Result.PRECONDITION


def test_the_target_has_the_query_and_no_method() -> None:
    target = "/hook/a%20b?bot=7&x=%22"
    headers = (*IDS, *sign(target, IDS, SECRET, Stamp(NONCE, CREATED)))
    assert finding_of(*headers, target=target).result is Result.VERIFIED
    assert finding_of(*headers, target="/hook/a%20b").result is Result.FAILED
    assert finding_of(*headers, target=f"GET {target}").result is Result.FAILED


def test_a_signed_request_off_the_wire() -> None:
    ids = IDS[1:]
    headers = [*ids, *sign("/ws?a=1", IDS, SECRET, Stamp(NONCE, CREATED))]
    data = upgrade_request("/ws?a=1", IDS[0][1], headers, "dGhlIHNhbXBsZSBub25jZQ==")
    # RFC 9112 section 5.2: a fold counts as a blank, and a blank between parameters does not count at all.
    folded = data.replace(b";nonce=", b";\r\n   nonce=")
    assert folded != data
    for head in (data, folded):
        request = RequestReader(max_request_bytes=16384, max_headers=100).receive_data(head)
        assert isinstance(request, Request)
        assert finding_of(*request.headers, target=request.target).result is Result.VERIFIED


# The window


@pytest.mark.parametrize(
    ("age_s", "result"),
    [
        (-31, Result.PRECONDITION),
        (-30, Result.VERIFIED),
        (0, Result.VERIFIED),
        (330, Result.VERIFIED),
        (331, Result.EXPIRED),
    ],
)
def test_created(age_s: int, result: Result) -> None:
    text = f'({COVERED});keyid="{API_KEY}";nonce="{NONCE}";created={CREATED}'
    assert result_of(text, now_s=CREATED + age_s) is result


@pytest.mark.parametrize(
    ("left_s", "result"), [(30, Result.VERIFIED), (0, Result.VERIFIED), (-30, Result.VERIFIED), (-31, Result.EXPIRED)]
)
def test_expires(left_s: int, result: Result) -> None:
    text = f'({COVERED});keyid="{API_KEY}";nonce="{NONCE}";created={CREATED};expires={CREATED + 100 + left_s}'
    assert result_of(text, now_s=CREATED + 100) is result


def test_without_an_age_check_the_other_two_stay() -> None:
    def ageless(text: str, now_s: int) -> Result:
        return finding_of(*IDS, *signed(text), now_s=now_s, policy=AGELESS).result

    timeless = f'({COVERED});keyid="{API_KEY}";nonce="{NONCE}"'
    assert ageless(timeless, CREATED) is Result.VERIFIED
    assert ageless(f"{timeless};created={CREATED}", CREATED - 31) is Result.PRECONDITION
    assert ageless(f"{timeless};expires={CREATED}", CREATED + 31) is Result.EXPIRED
    assert result_of(timeless) is Result.PRECONDITION
