"""Structured fields (RFC 8941) as message signatures use them: dictionaries in, inner lists out.

The work is done by the library http-sf. It keeps the order of members, items and parameters, gives parameters back as
they were sent, serialises them canonically, takes time linear in the field and never recurses, which is all that
draft-ietf-httpbis-message-signatures needs. (A library for the signatures themselves was looked at too:
http-message-signatures follows RFC 9421, where the component "@request-target" has another meaning, and brings
cryptography for a single HMAC.) http-sf reads RFC 9651, that is, dates and display strings too; whoever uses a value
checks its type, and these have types of their own.

Held here: nothing raises for any text, and a refused field leaves no garbage behind.
"""

from collections.abc import Sequence
from typing import Any, cast

import http_sf

MAX_FIELD_BYTES = 2048
"""No signature needs more: Genesys' own has 330 bytes. Parsing may cost 0.8 µs a byte, and every live call of the
worker waits for it: two such fields of commas take 2 ms, a head full of them 13 ms."""

Params = dict[str, Any]
Item = tuple[Any, Params]
Member = tuple[Any, Params]
"""The value of a dictionary's member and its parameters. The value of an inner list is a list of `Item`."""


def parse_dictionary(field: str) -> dict[str, Member] | None:
    """Return the members in the order sent, or None if the field is malformed.

    Of members with one name the last counts (RFC 8941 section 3.2).

    `field` is a header's value as latin-1 text, lines of one name joined.
    """
    if len(field) > MAX_FIELD_BYTES:
        return None
    try:
        return cast(dict[str, Member], http_sf.parse(field.encode("latin-1"), tltype="dictionary"))
    except ValueError as error:
        # The library's frames hold the error that holds the frames: 22 objects a stranger that would wait for a
        # collection. Guarded by test_a_refused_field_leaves_nothing_behind.
        error.__traceback__ = None
        return None


def inner_list(items: Sequence[Item], params: Params) -> str:
    """Return the canonical text of an inner list: single blanks, `;name=value`, the order as given.

    ValueError if a value cannot be serialised, which cannot happen to what was parsed.
    """
    # As the one member of a list: the library's public functions serialise whole fields, and an inner list is none.
    whole: http_sf.InnerListType = (list(items), params)
    return http_sf.ser([whole])


def string(text: str) -> str:
    """Return the canonical text of a string, quoted. ValueError if it is not printable ASCII."""
    return http_sf.ser(text)


def dictionary(label: str, value: str | bytes) -> str:
    """Return a dictionary with one member: an inner list that is already serialised, or a byte sequence."""
    if isinstance(value, bytes):
        return http_sf.ser({label: value})
    return f"{label}={value}"
