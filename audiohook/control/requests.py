"""A client's command as it comes over hub.sock, checked: what it asks, of which stream or call, and with what.

PURE: an object out of `protocol.decode` in, an `Order` or a refusal out; whose streams they are and whether the client
may is `targets.py`'s and the desk's. The verbs and their fields are listed in `protocol.py`. Strict: a field that does
not belong to the verb is refused, since a misspelt `seconds_back` would mask less than was meant.
"""

import json
import re
from typing import Any

import msgspec

from audiohook.config.schema import WORKER_ROWS
from audiohook.control import protocol
from audiohook.control.commands import MAX_PAYLOAD_BYTES, Verb
from audiohook.units import seconds_ns

STREAM_VERBS = {
    "pause": Verb.PAUSE,
    "resume": Verb.RESUME,
    "disconnect": Verb.DISCONNECT,
    "mask": Verb.MASK,
    "unmask": Verb.UNMASK,
    "event": Verb.EVENT,
}
CALL_VERBS = {"hold": Verb.HOLD, "unhold": Verb.UNHOLD, "end": Verb.END}
SERVICE = {"scale": Verb.SCALE, "reload": Verb.RELOAD, "outcome": Verb.OUTCOME}
VERBS = STREAM_VERBS | CALL_VERBS | SERVICE

_SERVICE_FIELDS = {Verb.SCALE: "workers", Verb.RELOAD: "", Verb.OUTCOME: "attempt"}

MOST_SECONDS_BACK = 86_400
MOST_WORKERS = WORKER_ROWS
MAX_TICKET = (1 << 53) - 1
"""What every JSON implementation can say exactly (RFC 8259 section 6)."""

_STREAM_ID_START = re.compile("[0-9a-f-]{1,36}")
_CALL_ID_BYTES = 64
_TYPE_CHARACTERS = 128


class Order(msgspec.Struct, frozen=True):
    """A checked request. `stream` (the start of an id) or `call` is set, neither for the service as a whole.

    `ticket` is the client's, to be echoed; `argument` and `payload` are those of the record (`commands.py`).
    """

    verb: Verb
    stream: str = ""
    call: str = ""
    argument: int = 0
    payload: bytes = b""
    ticket: int | None = None


def read_order(request: dict[str, Any]) -> Order | dict[str, Any]:
    """Return what a request whose `do` is one of VERBS orders, or the refusal to answer it with. Never raises."""
    name = request["do"]
    verb = VERBS[name]
    target = "stream" if name in STREAM_VERBS else "call" if name in CALL_VERBS else _SERVICE_FIELDS[verb]
    extra = {Verb.MASK: "seconds_back", Verb.EVENT: "entity"}.get(verb, "")
    fields = [field for field in (target, extra) if field]
    if set(request) - {"do", "ticket", *fields}:
        takes = " and ".join(fields) or "nothing"
        return _malformed(f"{name} takes {takes}, and has other fields here")
    ticket = request.get("ticket")
    if ticket is not None and not (_is_whole(ticket) and 0 <= ticket <= MAX_TICKET):
        return _malformed(f"ticket must be a whole number from 0 to {MAX_TICKET}")
    if name in SERVICE:
        return _of_the_service(Order(verb, ticket=ticket), request)
    named = request.get(target)
    if not isinstance(named, str) or not _is_name(target, named):
        return _malformed(f"{target} must be {_NAMES[target]}")
    order = Order(verb, ticket=ticket)
    order = msgspec.structs.replace(order, **{target: lower_ascii(named)})
    if verb is Verb.MASK:
        return _with_seconds_back(order, request.get("seconds_back", 0))
    return _with_entity(order, request.get("entity")) if verb is Verb.EVENT else order


def lower_ascii(text: str) -> str:
    """Return `text` with its ASCII letters in lower case, as the scan of the cards compares bytes."""
    return text.encode("utf-8", "replace").lower().decode()


def _of_the_service(order: Order, request: dict[str, Any]) -> Order | dict[str, Any]:
    field = _SERVICE_FIELDS[order.verb]
    if not field:
        return order
    number: Any = request.get(field)
    most = MOST_WORKERS if order.verb is Verb.SCALE else MAX_TICKET
    if not _is_whole(number) or not 1 <= number <= most:
        return _malformed(f"{field} must be a whole number from 1 to {most}")
    return msgspec.structs.replace(order, argument=number)


def _with_seconds_back(order: Order, seconds: Any) -> Order | dict[str, Any]:
    if not isinstance(seconds, float) and not _is_whole(seconds):
        return _malformed("seconds_back must be a number")
    if not 0 <= seconds <= MOST_SECONDS_BACK:  # NaN neither
        return _malformed(f"seconds_back must be from 0 to {MOST_SECONDS_BACK}")
    return msgspec.structs.replace(order, argument=seconds_ns(seconds))


def _with_entity(order: Order, entity: Any) -> Order | dict[str, Any]:
    if not isinstance(entity, dict) or set(entity) != {"type", "data"}:
        return _malformed("entity must be an object with type and data, and nothing else")
    kind = entity["type"]
    if not isinstance(kind, str) or not 1 <= len(kind) <= _TYPE_CHARACTERS:
        return _malformed(f"the entity's type must be a string of 1 to {_TYPE_CHARACTERS} characters")
    try:
        text = json.dumps(entity, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):  # half a surrogate pair, a number beyond all doubles, too deep
        return _malformed("the entity is not JSON that can be sent on")
    if len(text) > MAX_PAYLOAD_BYTES:
        return _malformed(f"the entity has {len(text)} bytes, {MAX_PAYLOAD_BYTES} are the most")
    return msgspec.structs.replace(order, payload=text)


_NAMES = {"stream": "the start of a stream's id", "call": f"a call id of 1 to {_CALL_ID_BYTES} bytes"}


def _is_name(target: str, text: str) -> bool:
    if target == "stream":
        return _STREAM_ID_START.fullmatch(text.lower()) is not None
    return 1 <= len(text.encode("utf-8", "replace")) <= _CALL_ID_BYTES


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _malformed(text: str) -> dict[str, Any]:
    return protocol.refusal("request_malformed", text)
