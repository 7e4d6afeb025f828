"""The commented text of conf/audiohookd.toml, made from the schema.

Every default is shown commented out ("#key = value"; prose is "# "), so that an installed file pins nothing that the
operator did not decide. tests/unit/test_config_rendering.py loads the text as it is and with every default live.
"""

import json
import textwrap

from audiohook.config.fields import PATH_FIELDS, SECTIONS, Field, number

_COLUMNS = 100

_HEAD = """\
Configuration of audiohookd: `audiohookd --config FILE`, else /etc/audiohook/audiohookd.toml, else the defaults.
Every key is shown with its default; take the # away to set it. `--set section.key=value` overrides this file.
`audiohookd --check` says what is wrong with it. Unknown keys are refused.
"""

PATHS_EXAMPLE = 'paths."/narrowband" = { sample_rate = 8000, framing = "fixed:160" }'


def render() -> str:
    """Return the complete file, with a final newline. Loading it gives the defaults."""
    lines = [f"# {line}" for line in _HEAD.splitlines()]
    for section, fields in SECTIONS.items():
        lines += ["", f"[{section}]"]
        for field in fields.values():
            lines += ["", *_prose(field.sentence), *_prose(_bounds(field))]
            if (section, field.name) == ("context", "paths"):
                lines += _path_fields()
            lines.append(f"#{field.name} = {_toml(field.default)}")
    return "\n".join(lines) + "\n"


def _prose(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _bounds(field: Field) -> str:
    return f"Unit: {field.unit}. Value: {field.expected}."


def _path_fields() -> list[str]:
    lines = []
    for field in PATH_FIELDS.values():
        lines += _prose(f"{field.name}: {field.sentence} {_bounds(field)}")
    return [*lines, f"# Example: {PATHS_EXAMPLE}"]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(value)
    # Strings, lists of strings and the empty table are written alike in JSON and TOML.
    return json.dumps(value)
