"""conf/audiohookd.toml is the rendered schema, and says the defaults."""

import re
import tomllib
from pathlib import Path

import msgspec

from audiohook.config import Config, load, render
from audiohook.config.fields import SECTIONS
from audiohook.config.rendering import PATHS_EXAMPLE

FILE = Path(__file__).parents[2] / "conf" / "audiohookd.toml"
LIVE = re.compile(r"^#(?=[a-z])", re.MULTILINE)


def loaded(text: str, folder: Path) -> Config:
    path = folder / "rendered.toml"
    path.write_text(text, encoding="utf-8")
    return load(str(path), ["server.workers=1"])


def test_the_file_is_the_rendered_schema() -> None:
    remedy = (
        "write it anew: python -c 'import audiohook.config as c; print(c.render(), end=str())' > conf/audiohookd.toml"
    )
    assert FILE.read_text(encoding="utf-8") == render(), remedy


def test_as_it_is_it_gives_the_defaults(tmp_path: Path) -> None:
    assert loaded(render(), tmp_path) == load(None, ["server.workers=1"])


def test_with_every_line_live_it_gives_the_defaults(tmp_path: Path) -> None:
    live = LIVE.sub("", render())
    assert tomllib.loads(live) == msgspec.to_builtins(Config())
    assert loaded(live, tmp_path) == load(None, ["server.workers=1"])


def test_every_sentence_unit_and_bound_is_in_it() -> None:
    prose = " ".join(line.removeprefix("# ") for line in render().splitlines())
    for section, fields in SECTIONS.items():
        assert f"[{section}]" in prose
        for field in fields.values():
            assert f"{field.sentence} Unit: {field.unit}. Value: {field.expected}." in prose


def test_its_example_loads(tmp_path: Path) -> None:
    assert f"# Example: {PATHS_EXAMPLE}\n" in render()
    config = loaded(f"[context]\n{PATHS_EXAMPLE}\n", tmp_path)
    assert config.context.at("/narrowband") == (8000, "fixed:160")
