"""What a look at a request's credentials came to: one of seven results and a reason in words.

Both are for counters and the log. The peer is never told which of them it was: every failure gets the same answer at
the same time (`verdict.py`), because each difference would tell a stranger how far a guess has come.

The seven are those of Genesys' own verifier, so that a figure here and a line of its log can be laid side by side.
"""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """The value is the word for counters and the log."""

    VERIFIED = "verified"
    FAILED = "failed"
    """The secret, the key or its organization is another one."""
    UNSIGNED = "unsigned"
    """Neither of the two signature headers."""
    EXPIRED = "expired"
    INVALID = "invalid"
    """Wrong syntax, a wrong type, an unknown parameter, or one of the two headers without the other."""
    PRECONDITION = "precondition"
    """Well-formed, but without something that this service asks for."""
    UNSUPPORTED = "unsupported"
    """Well-formed, and in a form that is not spoken here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason` is one of our own sentences. It never holds anything that the peer sent."""

    result: Result
    reason: str
