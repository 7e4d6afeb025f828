"""Signs an upgrade request as Genesys' client does: the other half of `signature.py`, for the load client.

Pure: nonce and times are arguments. A stale signature is one with an old `created`, a forged one has another secret;
nothing here knows that they are wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from audiohook.auth.components import REQUIRED, message, normal_authority, signature_base
from audiohook.auth.finding import Finding
from audiohook.auth.signature import ALGORITHM, compute_mac
from audiohook.auth.structured import Params, dictionary, inner_list

LIFETIME_S = 30
"""How long Genesys' client lets a signature live."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is new in each signature. `nonce` needs 22 characters or more, `created` is in seconds since 1970."""

    nonce: str
    created: int
    lifetime_s: int = LIFETIME_S


def sign(
    target: str,
    headers: Sequence[tuple[str, str]],
    secret: bytes,
    stamp: Stamp,
    components: Sequence[str] = REQUIRED,
    label: str = "sig1",
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the two headers that sign a request: `signature-input` and `signature`.

    `headers` are those of the request (lower-case names) and have `host` and `x-api-key`, which becomes the keyid.
    ValueError if a component is not in the request, or if the stamp or the key cannot be serialised: our own mistake.
    """
    request = message(target, headers)
    params: Params = {
        "keyid": request.fields.get("x-api-key", ""),
        "nonce": stamp.nonce,
        "alg": ALGORITHM,
        "created": stamp.created,
        "expires": stamp.created + stamp.lifetime_s,
    }
    text = inner_list([(name, {}) for name in components], params)
    base = signature_base(request, normal_authority(request.fields.get("host", "")), components, text)
    if isinstance(base, Finding):
        raise ValueError(base.reason)
    return ("signature-input", dictionary(label, text)), ("signature", dictionary(label, compute_mac(secret, base)))
