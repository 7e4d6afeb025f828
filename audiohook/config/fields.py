"""What the schema says about each key, in a form that loading, rendering and tests share.

Knows the schema's classes and nothing of files. `expected` is derived from the same type and bounds that the value is
checked against, so that a remedy cannot promise what the check refuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin

import msgspec

from audiohook.config.schema import Config, ContextPath


@dataclass(frozen=True, slots=True)
class Field:
    """One key. `annotation` is what msgspec checks, `expected` says it in words ("a whole number from 1 to 9")."""

    name: str
    annotation: object
    default: object
    unit: str
    sentence: str
    expected: str


def number(value: float) -> str:
    """Return `value` as TOML writes it, without a fraction where there is none."""
    return str(int(value)) if value == int(value) else repr(value)


def _expected(bare: object, meta: msgspec.Meta) -> str:
    """Return in words which values a type with these bounds allows."""
    arms = [arm for arm in get_args(bare) if arm is not NoneType]
    if NoneType in get_args(bare):
        return _expected(arms[0], meta)
    if get_origin(bare) is Literal:
        shown = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in arms]
        return f"{', '.join(shown[:-1])} or {shown[-1]}"
    if bare is int or bare is float:
        assert meta.ge is not None
        assert meta.le is not None
        return f"a {'whole ' if bare is int else ''}number from {number(meta.ge)} to {number(meta.le)}"
    if get_origin(bare) is list:
        count = "" if meta.max_length is None else f"{meta.min_length or 0} to {meta.max_length} "
        return f'a list of {count}strings, ["...", "..."]'
    words: dict[object, str] = {bool: "true or false", str: "a string", dict: "a table of tables"}
    return words[get_origin(bare) or bare]


def _fields(struct: type[msgspec.Struct]) -> dict[str, Field]:
    described = {}
    for info in msgspec.structs.fields(struct):
        assert get_origin(info.type) is Annotated
        bare, meta = get_args(info.type)
        default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
        described[info.name] = Field(
            name=info.name,
            annotation=info.type,
            default=default,
            unit=meta.extra["unit"],
            sentence=meta.description,
            expected=_expected(bare, meta),
        )
    return described


SECTIONS: Mapping[str, Mapping[str, Field]] = {info.name: _fields(info.type) for info in msgspec.structs.fields(Config)}
"""Section -> key -> field, in the schema's order."""

PATH_FIELDS: Mapping[str, Field] = _fields(ContextPath)
"""The keys of one entry of context.paths."""
