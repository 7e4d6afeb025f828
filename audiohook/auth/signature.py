"""Verifies an HTTP message signature as Genesys Cloud makes it: HMAC-SHA256 over chosen parts of the upgrade request.

Pure: header values and a wall clock in, a `Finding` out; never raises for anything that a peer sent. Knows neither
where secrets are kept nor what a failure is answered with.

Theory of operation. The checks stand in two halves. Everything in the first half depends only on what the peer wrote,
so it may end early without telling anything new: syntax, times, components, nonce, keyid. The second half begins where
our secret comes in, and from there on the work is the same for every request: one MAC for each way to read the
authority, under a stand-in where there is no secret, compared in constant time, judged at the end.

- Any label; of several signatures the first is used and the others are not looked at: a proxy may add its own.
- The last line of what is signed is not the header's text but its canonical form, parameters in the order sent.
- The length of the signature is compared before its content. (Genesys' own server dies of one with another length.)
- The time window is lenient, since others have seen clocks drift by minutes: `SignaturePolicy`.
- There is no nonce cache: a signature is bound to one session id, and lives for minutes.

Contract: draft-ietf-httpbis-message-signatures-11 (the line format of RFC 9421) over RFC 8941, with the rules of
Genesys' AudioHook client. The test vectors are in tests/unit/test_auth_signature.py.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from audiohook.auth.components import REQUIRED, Message, component_names, signature_base
from audiohook.auth.finding import Finding, Result
from audiohook.auth.structured import Item, Params, inner_list, parse_dictionary

ALGORITHM = "hmac-sha256"
MAC_BYTES = 32

SHORTEST_NONCE = 22
"""Characters: 16 octets in base64 without padding."""

_STAND_IN = bytes(MAC_BYTES)
"""Key of the MAC where there is no secret. Whether it matches is never asked, so it need not be a secret itself."""

_PARAMETER_TYPES: Mapping[str, type] = {"keyid": str, "nonce": str, "alg": str, "created": int, "expires": int}


@dataclass(frozen=True, slots=True)
class SignaturePolicy:
    """The window of times, in whole seconds: not older than `age_s`, with `skew_s` for clocks that disagree.

    `age_s` None switches the check of the age off; the other two stay.
    """

    age_s: int | None = 300
    skew_s: int = 30


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as sent. `text` is the canonical inner list with its parameters."""

    names: list[str]
    keyid: str | None
    nonce: str | None
    alg: str | None
    created: int | None
    expires: int | None
    text: str
    mac: bytes


def compute_mac(secret: bytes, base: bytes) -> bytes:
    """Return the HMAC-SHA256 of a signature base. `secret` is what the base64 text of the secret stands for."""
    return hmac.digest(secret, base, "sha256")


def read_signature(fields: Mapping[str, str]) -> Signature | Finding:
    """Return the first signature of a request, or why there is none."""
    inputs = parse_dictionary(fields.get("signature-input", ""))
    macs = parse_dictionary(fields.get("signature", ""))
    if inputs is None or macs is None:
        return Finding(Result.INVALID, "a signature header is malformed or too long")
    if not inputs and not macs:
        return Finding(Result.UNSIGNED, "the request is not signed")
    if not inputs or not macs:
        return Finding(Result.INVALID, "one signature header without the other")
    label, (items, params) = next(iter(inputs.items()))
    mac, _ = macs.get(label, (None, {}))
    if not isinstance(mac, bytes):
        return Finding(Result.INVALID, "no signature has the label of the first signature input")
    if not isinstance(items, list):
        return Finding(Result.INVALID, "the signature input is not an inner list")
    return _checked(items, params, mac)


def _checked(items: list[Item], params: Params, mac: bytes) -> Signature | Finding:
    for name, value in params.items():
        # type() and not isinstance(): a parameter without a value is True, which is an int.
        if type(value) is not _PARAMETER_TYPES.get(name) or (type(value) is int and value < 0):
            return Finding(Result.INVALID, "a signature parameter is unknown or of a wrong type")
    names = component_names(items)
    if isinstance(names, Finding):
        return names
    known = {name: params.get(name) for name in _PARAMETER_TYPES}
    return Signature(names=names, text=inner_list(items, params), mac=mac, **known)


def verify(message: Message, api_key: str, secret: bytes | None, policy: SignaturePolicy, wall_clock_s: int) -> Finding:
    """Judge the signature of a request.

    `api_key` is what the request says of itself, `secret` what belongs to it: None for an unknown key. An empty secret
    verifies no signature either: it means that requests come unsigned, and a signature under it proves nothing.
    `wall_clock_s` is in whole seconds since 1970.
    """
    signature = read_signature(message.fields)
    if isinstance(signature, Finding):
        return signature
    flaw = _flaw_of_time(signature, policy, wall_clock_s) or _flaw_of_form(signature, api_key)
    if flaw is not None:
        return flaw
    authorities = message.authorities()
    if not authorities:
        return Finding(Result.PRECONDITION, "the request has no host")
    bases = []
    for authority in authorities:
        base = signature_base(message, authority, signature.names, signature.text)
        if isinstance(base, Finding):
            return base
        bases.append(base)
    return _judged(bases, signature.mac, secret)


def _flaw_of_time(signature: Signature, policy: SignaturePolicy, wall_clock_s: int) -> Finding | None:
    created, expires = signature.created, signature.expires
    if created is not None and created > wall_clock_s + policy.skew_s:
        return Finding(Result.PRECONDITION, "the signature was created in the future; compare the clocks")
    if expires is not None and expires < wall_clock_s - policy.skew_s:
        return Finding(Result.EXPIRED, "the signature has expired; compare the clocks")
    if policy.age_s is None:
        return None
    if created is None:
        return Finding(Result.PRECONDITION, "the signature does not say when it was created")
    if created < wall_clock_s - policy.age_s - policy.skew_s:
        return Finding(Result.EXPIRED, "the signature is too old; compare the clocks")
    return None


def _flaw_of_form(signature: Signature, api_key: str) -> Finding | None:
    if not set(REQUIRED).issubset(signature.names):
        return Finding(Result.PRECONDITION, "the signature does not cover all that it has to")
    if signature.nonce is None or len(signature.nonce) < SHORTEST_NONCE:
        return Finding(Result.PRECONDITION, "the signature has no nonce, or a short one")
    if signature.keyid != api_key:
        return Finding(Result.PRECONDITION, "the signature's keyid is not the API key")
    if signature.alg not in (None, ALGORITHM):
        return Finding(Result.UNSUPPORTED, "the signature's algorithm is not hmac-sha256")
    return None


def _judged(bases: list[bytes], mac: bytes, secret: bytes | None) -> Finding:
    matches = False
    for base in bases:
        expected = compute_mac(secret or _STAND_IN, base)
        matches |= len(mac) == MAC_BYTES and hmac.compare_digest(mac, expected)
    if secret is None:
        return Finding(Result.FAILED, "the API key is unknown")
    if not secret:
        return Finding(Result.FAILED, "the request is signed, but no secret is set for its API key")
    if not matches:
        return Finding(Result.FAILED, "the signature does not match: another secret, host or target than the signer's")
    return Finding(Result.VERIFIED, "the signature matches")
