"""Where a recording goes: a pattern, and a stream's identity, which is the peer's word and may be anything.

PURE: makes names, touches no file. Invariant: whatever the peer said, a value stays within one component of the path,
and no component is empty, begins with a dot or is longer than a file system takes (tests/unit/test_wav_naming.py).
"""

import re
import string
from collections.abc import Mapping

DEFAULT_PATTERN = "{start}-{call}-{direction}-{stream}.wav"
FIELDS = ("start", "date", "call", "direction", "stream", "session", "user", "participant", "organization", "dialect")
SUFFIX = ".wav"
UNKNOWN = "unknown"
VALUE_CHARACTERS = 64
COMPONENT_CHARACTERS = 200
"""Less than the 255 bytes of a file name: a number, `.json` and the name while it is made come on top."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def check_pattern(pattern: str) -> str:
    """Return the pattern; ValueError says in words why it cannot be used."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"the pattern {pattern!r} cannot be read: {error}") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            raise ValueError(f"the pattern has {{{field}}}: it may have {', '.join(f'{{{name}}}' for name in FIELDS)}")
    if not pattern.endswith(SUFFIX):
        raise ValueError(f"the pattern {pattern!r} must end with {SUFFIX}")
    components = pattern.split("/")
    if any(component in ("", "..") or component.startswith(".") or "\0" in component for component in components):
        raise ValueError(f"the pattern {pattern!r} must name a file below the folder: no leading /, no .. and no dots")
    return pattern


def file_name(pattern: str, values: Mapping[str, str], number: int = 1) -> str:
    """Return the path below the folder, with `-number` before its suffix from the second of that name on."""
    filled = pattern.format_map({name: safe(values[name]) for name in FIELDS}).removesuffix(SUFFIX)
    components = [component[:COMPONENT_CHARACTERS] for component in filled.split("/")]
    return "/".join(components) + (f"-{number}" if number > 1 else "") + SUFFIX


def safe(value: str) -> str:
    """Return a value as a part of a file name: letters, digits, `.`, `_` and `-`, never a dot first, never empty."""
    return _UNSAFE.sub("_", value)[:VALUE_CHARACTERS].lstrip(".") or UNKNOWN
