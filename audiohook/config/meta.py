"""How a field of the schema says its unit, its sentence and its bounds."""

import msgspec


def meta(unit: str, sentence: str, ge: float | None = None, le: float | None = None) -> msgspec.Meta:
    """Return a field's metadata. `unit` is "none" for what is not a quantity; `ge` and `le` are inclusive."""
    return msgspec.Meta(ge=ge, le=le, description=sentence, extra={"unit": unit})
