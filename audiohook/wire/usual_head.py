"""A request head as nearly every client sends it, read without h11, at a sixth of the price.

Pure. What is not of this kind is none of this module's business: `read` returns None, and h11 judges it. So it refuses
nothing, and takes only what h11 takes, with the same outcome (tests/unit/test_wire_usual_head.py holds it to h11).
Usual is: GET, HTTP/1.1, every line ended by CR LF, nothing folded, nothing but visible ASCII and blanks in a value, one
Host, no body announced.

Rejected: to look for the headers that are wanted, each with a pattern of its own. A head that is malformed in another
line would pass.
"""

import re

_HEAD = re.compile(
    rb"GET ([\x21-\x7e]+) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[\t\x20-\x7e]*\r\n)+)\r\n"
)
"""Linear: no two neighbours in it can take the same octet."""

_BODY = frozenset({"content-length", "transfer-encoding"})

Headers = tuple[tuple[str, str], ...]


def read(head: bytes) -> tuple[str, Headers] | None:
    """Return target and headers of a whole head, as `wire.request.Request` has them; None if it is not a usual one."""
    found = _HEAD.fullmatch(head)
    if found is None:
        return None
    target, lines = found.groups()
    headers = []
    hosts = 0
    for line in lines.decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name == "host":
            hosts += 1
        elif name in _BODY:
            return None
        headers.append((name, value.strip(" \t")))
    return (target.decode("ascii"), tuple(headers)) if hosts == 1 else None
