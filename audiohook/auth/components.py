"""Covered components: which parts of a request a signature covers, and the bytes that are signed.

Pure and without a secret: it turns names into lines. Used by both halves, the one that verifies and the one that signs.

Contract: draft-ietf-httpbis-message-signatures-11 sections 2 and 2.3, of which Genesys uses ordinary header fields,
`@request-target` (path and query as on the request line, without the method) and `@authority`. The order of components
is the signer's; nothing here has an opinion on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from audiohook.auth.finding import Finding, Result
from audiohook.auth.structured import Item, string

AUTHORITY = "@authority"
REQUEST_TARGET = "@request-target"

REQUIRED = (
    REQUEST_TARGET,
    AUTHORITY,
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
"""What an AudioHook signature has to cover; more is welcome."""

_UNRESOLVED = frozenset(("@method", "@scheme", "@path", "@query", "@target-uri", "@status"))
"""Names that the draft knows and that nobody sends: behind a proxy most of them cannot be known here."""

_FLAGS_OF_FIELDS = ("sf", "bs", "req")
_FLAGS_OF_DERIVED = ("req",)

_DEFAULT_PORT = ":443"


@dataclass(frozen=True, slots=True)
class Message:
    """A request as signatures see it.

    `fields` maps lower-case names to values as latin-1 text, trimmed, without folds, lines of one name joined by ", ";
    `target` is the second word of the request line.
    """

    target: str
    fields: Mapping[str, str]

    def authorities(self) -> tuple[str, ...]:
        """Return what the signer may have taken for the authority: the Host field as sent, and normalised.

        Genesys' client normalises what it signs, Genesys' server compares with Host as sent. Both are taken, since a
        proxy may add the port to Host; they name the same authority, so nothing is given away.
        """
        host = self.fields.get("host", "")
        return tuple(dict.fromkeys((host, normal_authority(host)))) if host else ()


def message(target: str, headers: Iterable[tuple[str, str]]) -> Message:
    """Return the message for a request's target and header pairs (names lower-case, values trimmed)."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name, []).append(value)
    return Message(target, {name: ", ".join(values) for name, values in fields.items()})


def normal_authority(host: str) -> str:
    """Return Host in lower case and without the default port of wss (RFC 9110 section 4.2.3).

    Port 80 stays: Genesys calls 443 only, and no client puts the default port of its scheme into Host.
    """
    return host.lower().removesuffix(_DEFAULT_PORT)


def component_names(items: Sequence[Item]) -> list[str] | Finding:
    """Return the names of the covered components in the signer's order, or why they cannot be taken."""
    names = []
    for value, params in items:
        if not isinstance(value, str):
            return Finding(Result.INVALID, "a covered component is not a string")
        flaw = _flaw(value, params)
        if flaw is not None:
            return flaw
        names.append(value)
    if len(set(names)) < len(names):
        # The draft forbids it, and lines that can be repeated at will make the signed bytes longer than the request.
        return Finding(Result.INVALID, "a component is covered twice")
    return names


def _flaw(name: str, params: Mapping[str, object]) -> Finding | None:
    derived = name.startswith("@")
    if derived and name not in (REQUEST_TARGET, AUTHORITY, "@query-params") and name not in _UNRESOLVED:
        # Among them @signature-params, which is a line of its own and must not be listed.
        return Finding(Result.INVALID, "an unknown derived component is covered")
    if name in ("@query-params", "signature"):
        return Finding(Result.UNSUPPORTED, "a component is covered that is not spoken here")
    flags = _FLAGS_OF_DERIVED if derived else _FLAGS_OF_FIELDS
    if any(params.get(flag) is True for flag in flags):
        return Finding(Result.UNSUPPORTED, "a component has a parameter that is not spoken here")
    if params:
        return Finding(Result.INVALID, "a component has an unknown parameter")
    return None


def signature_base(message: Message, authority: str, names: Sequence[str], input_text: str) -> bytes | Finding:
    """Return the bytes that are signed, or the finding if the message has no such component.

    `input_text` is the canonical inner list with its parameters. One line a component, no newline behind the last.
    """
    lines = []
    for name in names:
        value = _value(message, authority, name)
        if value is None:
            return Finding(Result.PRECONDITION, "a covered component is not in the request")
        lines.append(f"{string(name)}: {value}")
    lines.append(f'"@signature-params": {input_text}')
    # latin-1 gives back the octets that were sent; what is not a field's value is ASCII.
    return "\n".join(lines).encode("latin-1")


def _value(message: Message, authority: str, name: str) -> str | None:
    if name == REQUEST_TARGET:
        return message.target
    if name == AUTHORITY:
        return authority
    return message.fields.get(name)
