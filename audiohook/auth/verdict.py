"""May this peer place a call? One function a dialect, over keys, signatures and shared secrets.

Pure. Whatever fails, the peer is told one thing: 401 without a detail, `FAILURE_DELAY_NS` after its request. The `Call`
holds that deadline; here are the constant and the verdict. Result and reason are for counters and the log.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from audiohook.auth.api_keys import Keyring
from audiohook.auth.components import message
from audiohook.auth.finding import Finding, Result
from audiohook.auth.signature import SignaturePolicy, verify
from audiohook.units import NS_PER_MS

FAILURE_DELAY_NS = 500 * NS_PER_MS
"""From the whole request to the 401, whichever check failed and however long it took. Genesys' own server: the same."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`organization` is whose key it was, a UUID in lower case; empty unless `ok`, and for a shared secret."""

    ok: bool
    result: Result
    reason: str
    organization: str = ""


def authenticate(
    headers: Iterable[tuple[str, str]], target: str, keyring: Keyring, policy: SignaturePolicy, wall_clock_s: int
) -> Verdict:
    """Judge an `audiohook2` upgrade request by its API key, its signature and the organization that it names.

    `headers` and `target` as in `wire.request.Request`. An unsigned request passes only if its key is known and has an
    empty secret. Never raises for what a peer sent.
    """
    request = message(target, headers)
    api_key = request.fields.get("x-api-key", "")
    if not api_key:
        return _refused(Finding(Result.PRECONDITION, "the request has no API key"))
    key = keyring.find(api_key)
    finding = verify(request, api_key, None if key is None else key.secret, policy, wall_clock_s)
    unsigned_is_right = finding.result is Result.UNSIGNED and key is not None and not key.secret
    if key is None or not (finding.result is Result.VERIFIED or unsigned_is_right):
        return _refused(finding)
    if request.fields.get("audiohook-organization-id", "").lower() != key.organization:
        return _refused(Finding(Result.FAILED, "the API key belongs to another organization"))
    reason = "unsigned, and no secret is set for its API key" if unsigned_is_right else finding.reason
    return Verdict(True, Result.VERIFIED, reason, key.organization)


def check_shared_secret(headers: Iterable[tuple[str, str]], name: str, keyring: Keyring) -> Verdict:
    """Judge a `context` upgrade request by the header `name` (lower-case), which has to hold a shared secret."""
    secret = message("", headers).fields.get(name, "")
    if not secret:
        return _refused(Finding(Result.PRECONDITION, "the request has no shared secret"))
    if not keyring.admits(secret):
        return _refused(Finding(Result.FAILED, "the shared secret is unknown"))
    return Verdict(True, Result.VERIFIED, "the shared secret is known")


def _refused(finding: Finding) -> Verdict:
    return Verdict(False, finding.result, finding.reason)
