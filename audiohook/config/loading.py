"""From a TOML file and `--set` overrides to a `Config`, or to a ConfigError that says what would be right.

Knows nothing of where the file is (`paths.py`) and starts nothing. Each source is checked on its own before any is put
over another, so an error always names the source that it stands in, and an override never hides a broken file.
Invariant: whatever bytes and texts come in, a `Config` comes out or ConfigError is raised
(tests/unit/test_config_loading.py).
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from audiohook.config.complaint import dotted, refused
from audiohook.config.fields import PATH_FIELDS, SECTIONS, Field
from audiohook.config.rules import VALUE_RULES, check_combinations, check_framing, check_url_path
from audiohook.config.schema import Config
from audiohook.errors import ConfigError

OVERRIDE = "--set"
"""What stands for the file's name in an error about an override."""

_ERROR_LINE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)", re.DOTALL)
_ASSIGNMENT = re.compile(r"""(?P<key>(?:"(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_. \t-])+)=(?P<value>.*)""", re.DOTALL)

_Table = dict[str, Any]


def load(path: str | None, overrides: Sequence[str]) -> Config:
    """Read the configuration. `path` None means the embedded defaults, an override is "section.key=value".

    Raises ConfigError.
    """
    sources: list[tuple[str, _Table]] = [] if path is None else [(path, _read(path))]
    sources += [(OVERRIDE, _override(text)) for text in overrides]
    return assemble(sources)


def assemble(sources: Iterable[tuple[str, Mapping[str, object]]]) -> Config:
    """Put parsed sources, each a (file, TOML mapping), one over the other and return the whole. Raises ConfigError."""
    values: dict[str, _Table] = {section: {} for section in SECTIONS}
    origins: dict[str, str] = {}
    for file, mapping in sources:
        for section, table in _checked(file, mapping).items():
            paths = _merged_paths(values[section].get("paths", {}), table.get("paths", {}))
            values[section].update(table)
            if paths:
                values[section]["paths"] = paths
            origins.update({f"{section}.{name}": file for name in table})
    config = msgspec.convert(values, Config)
    check_combinations(config, origins)
    return config


def _merged_paths(below: Mapping[str, _Table], above: Mapping[str, _Table]) -> dict[str, _Table]:
    """Return both sources' context.paths: an override of one key of one path leaves the others as they are."""
    return {path: {**below.get(path, {}), **above.get(path, {})} for path in {**below, **above}}


# Sources


def _read(path: str) -> _Table:
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(path, "", None, f"cannot be read ({reason}); name a readable TOML file") from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, "", None, f"line {line}: not UTF-8; save the file as UTF-8") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(path, "", None, "not TOML that can be read: nested too deeply; no key needs it") from None
    except ValueError as error:
        raise ConfigError(path, "", None, _toml_remedy(str(error), text)) from None


def _toml_remedy(message: str, text: str) -> str:
    match = _ERROR_LINE.fullmatch(message)
    if match is None:  # an int of thousands of digits: no line is told
        return f"not TOML: {message}; no key needs it"
    line = match["line"] or len(text.splitlines())
    return f"line {line}: not TOML: {match['what']}; correct this line"


def _override(text: str) -> _Table:
    """Return the mapping that "section.key=value" stands for."""
    match = _ASSIGNMENT.fullmatch(text)
    parts = _key_parts(match["key"]) if match else []
    if match is None or len(parts) < 2:
        remedy = f"{text!r} is not an override; write section.key=value, such as memory.streams=64"
        raise ConfigError(OVERRIDE, "", text, remedy)
    node: Any = _override_value(dotted(*parts), match["value"])
    for part in reversed(parts):
        node = {part: node}
    mapping: _Table = node
    return mapping


def _key_parts(key: str) -> list[str]:
    """Return the parts of a dotted TOML key, or nothing if it is none."""
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except ValueError:
        return []
    parts = []
    while isinstance(node, dict):
        ((part, node),) = node.items()
        parts.append(part)
    return parts


def _override_value(key: str, text: str) -> object:
    """Return the value as TOML has it. A bare word is a string; what begins like TOML must be TOML."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        document = {}
    if list(document) == ["value"]:
        return document["value"]
    if text.lstrip()[:1] in ('"', "'", "[", "{"):
        raise refused(OVERRIDE, key, text, "not a TOML value; close its quotes and brackets")
    return text.strip(" \t")


# One source


def _checked(file: str, mapping: Mapping[str, object]) -> dict[str, _Table]:
    """Return the mapping with every key known and every value of its type and within its bounds."""
    checked = {}
    for section, table in mapping.items():
        if section not in SECTIONS:
            raise refused(file, dotted(section), table, _unknown_section(section))
        if not isinstance(table, dict):
            raise refused(file, section, table, f"must be a table; write [{section}] and its keys below it")
        checked[section] = {name: _value(file, section, name, value) for name, value in table.items()}
    return checked


def _value(file: str, section: str, name: str, value: object) -> object:
    key = dotted(section, name)
    field = SECTIONS[section].get(name)
    if field is None:
        raise refused(file, key, value, _unknown_key(section, name))
    if key == "context.paths":
        return _paths(file, key, value, field)
    converted = _converted(file, key, value, field)
    if key in VALUE_RULES:
        VALUE_RULES[key](file, key, converted)
    return converted


def _paths(file: str, key: str, value: object, field: Field) -> _Table:
    if not isinstance(value, dict):
        raise refused(file, key, value, _must_be(field))
    checked = {}
    for path, entry in value.items():
        path_key = f"{key}.{dotted(path)}"
        check_url_path(file, path_key, path, entry)
        if not isinstance(entry, dict):
            raise refused(file, path_key, entry, f"must be a table with {' or '.join(PATH_FIELDS)}")
        checked[path] = {name: _path_value(file, path_key, name, item) for name, item in entry.items()}
    return checked


def _path_value(file: str, path_key: str, name: str, value: object) -> object:
    key = f"{path_key}.{dotted(name)}"
    if name not in PATH_FIELDS:
        raise refused(file, key, value, f"no such key of a path; {_nearest(name, PATH_FIELDS)}")
    converted = _converted(file, key, value, PATH_FIELDS[name])
    if name == "framing":
        check_framing(file, key, str(converted))
    return converted


def _converted(file: str, key: str, value: object, field: Field) -> object:
    try:
        return msgspec.convert(value, field.annotation)
    # ValueError: an int too long to print, a string that is not UTF-8 out of a command line.
    except (msgspec.ValidationError, ValueError):
        raise refused(file, key, value, _must_be(field)) from None


def _must_be(field: Field) -> str:
    unit = "" if field.unit == "none" else f" ({field.unit})"
    return f"must be {field.expected}{unit}"


# Unknown names


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the known name that is most like `name`, or all of them where none is like it."""
    names = list(known)
    # 0.5 and not the customary 0.6, so that "rate" finds "sample_rate".
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"


def _elsewhere(name: str) -> list[str]:
    return [f"{section}.{name}" for section, fields in SECTIONS.items() if name in fields]


def _unknown_section(name: str) -> str:
    if _elsewhere(name):
        return f"not a section; write {' or '.join(_elsewhere(name))}"
    return f"no such section; {_nearest(name, SECTIONS)}"


def _unknown_key(section: str, name: str) -> str:
    if _elsewhere(name):
        return f"no such key in [{section}]; write {' or '.join(_elsewhere(name))}"
    return f"no such key in [{section}]; {_nearest(name, SECTIONS[section])}"
