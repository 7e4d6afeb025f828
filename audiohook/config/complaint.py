"""How a wrong key and a wrong value are named in a `ConfigError`.

Knows nothing of the schema. Holds one trap shut: a value out of a TOML file need not be printable. `0x` with 5,000
digits is an int that `repr` refuses, `a.a.a… = 1` a table deeper than the stack, and ConfigError would raise either
error instead of itself (tests/unit/test_config_loading.py).
"""

import json
import re

from audiohook.errors import ConfigError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dotted(*parts: str) -> str:
    """Return the key as TOML writes it: `context.paths."/a".framing`."""
    return ".".join(
        part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=not part.isprintable()) for part in parts
    )


def refused(file: str, key: str, value: object, remedy: str) -> ConfigError:
    """Return the error to raise. `value` is replaced by a word for it if it cannot be printed."""
    try:
        repr(value)
    except (ValueError, RecursionError):
        value = f"<{type(value).__name__} that is too large to show>"
    return ConfigError(file, key, value, remedy)
