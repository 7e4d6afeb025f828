"""Reads what a client of the `audiohook2` dialect sends: tolerant, counted, and never an exception.

A message is read field by field, not as a whole. A field that nobody knows is counted; a field that could be left out
and is not what it should be is counted and left out; only what the session cannot do without makes a message unusable.
A server that reads strictly loses a call with every field that Genesys adds.

What JSON can do to a parser is msgspec's to withstand, and the list is short because it parses only what is typed:
nesting ends in RecursionError long before the stack does, numbers outside a field's range and lone surrogates are
DecodeErrors, of equal keys the last counts (tests/unit/test_audiohook2_reading.py has them all).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import NODEFAULT, Raw

from audiohook.session.audiohook2_messages import CLIENT_MESSAGES, ClientMessage, Duration, PeerSeq, Seq

NOT_JSON = "Client Error: Text message not valid JSON"
NOT_WELL_FORMED = "Client Error: Message not a well-formed client message"
BAD_PARAMETERS = "Client Error: Invalid Message: Invalid/missing parameters"
"""Faults, in the words in which the reference server says them: who supports the peer knows these."""

_NO_PARAMETERS = Raw(b"{}")


class Envelope(msgspec.Struct, frozen=True):
    """What a text must have to be a message, of whatever type."""

    version: Literal["2"]
    type: str
    id: str
    seq: Seq
    serverseq: PeerSeq
    position: Duration = ""


class Reading(msgspec.Struct):
    """What came of a text message.

    `envelope` is None if it was no message at all. `message` is None then, and if its type is unknown or its parameters
    are not usable; `fault` says which of these it was, and is empty for an unknown type.
    """

    envelope: Envelope | None = None
    message: ClientMessage | None = None
    fault: str = ""
    unknown_fields: int = 0
    ignored_fields: int = 0


class _Field(NamedTuple):
    name: str
    wire_name: str
    decoder: "msgspec.json.Decoder[Any]"
    struct: type[msgspec.Struct] | None
    """The type, where it is a struct: then it is read field by field too."""
    required: bool


_OBJECT = msgspec.json.Decoder(dict[str, Raw])


def read_message(text: str) -> Reading:
    """Read a text message. Whatever it is, there is a Reading of it."""
    try:
        raw = _OBJECT.decode(text)
    except msgspec.ValidationError:
        return Reading(fault=NOT_WELL_FORMED)  # JSON, but no object
    except (ValueError, RecursionError):
        return Reading(fault=NOT_JSON)
    reading = Reading()
    envelope = _read(Envelope, raw, Reading())
    if envelope is None:
        reading.fault = NOT_WELL_FORMED
        return reading
    reading.envelope = envelope
    kind = CLIENT_MESSAGES.get(envelope.type)
    if kind is not None:
        # Left out, `parameters` are empty: those of most messages are.
        reading.message = _read(kind, {"parameters": _NO_PARAMETERS, **raw}, reading, also_known=1)
        if reading.message is None:
            reading.fault = BAD_PARAMETERS
    return reading


def read_entry(kind: type[msgspec.Struct], entry: Raw) -> Any:
    """Return one entry of a list as a `kind`, read in the same way; None if it cannot be."""
    raw = _object(entry)
    return None if raw is None else _read(kind, raw, Reading())


def _object(raw: Raw) -> dict[str, Raw] | None:
    try:
        return _OBJECT.decode(raw)
    except (ValueError, RecursionError):
        return None


def _read(kind: type[msgspec.Struct], raw: Mapping[str, Raw], reading: Reading, also_known: int = 0) -> Any:
    """Return `raw` as a `kind`, or None if a required field is missing or wrong; add to the counts of `reading`.

    `also_known` is the number of keys that are known and are not fields of the struct (its tag).
    """
    values: dict[str, Any] = {}
    known = also_known
    for field in _fields(kind):
        value = None
        if field.wire_name in raw:
            known += 1
            value = _value(field, raw[field.wire_name], reading)
            reading.ignored_fields += value is None and not field.required
        if value is not None:
            values[field.name] = value
        elif field.required:
            return None
    reading.unknown_fields += len(raw) - known
    return kind(**values)


def _value(field: _Field, raw: Raw, reading: Reading) -> Any:
    if field.struct is not None:
        inner = _object(raw)
        return None if inner is None else _read(field.struct, inner, reading)
    try:
        return field.decoder.decode(raw)
    except (ValueError, RecursionError):
        return None


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            name=field.name,
            wire_name=field.encode_name,
            decoder=msgspec.json.Decoder(field.type),
            struct=field.type if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct) else None,
            required=field.default is NODEFAULT and field.default_factory is NODEFAULT,
        )
        for field in msgspec.structs.fields(kind)
    )
