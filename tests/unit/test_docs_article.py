"""docs/article.md: each statement of the article has a verdict and something that shows it, and names only what exists.

That its examples run is tests/loopback/test_docs_article.py; that its figures have a command, tests/bench/.
"""

import re
from pathlib import Path

import msgspec
import pytest

from audiohook.config import Config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split(" | ") for line in TEXT.splitlines() if re.match(r"\| E?\d+\.\d+ \|", line)]
NUMBERS = [row[0].strip() for row in ROWS]
VERDICTS = set(re.findall(r"^\| \*\*([A-Z][\w ]+)\*\* \| [a-z]", TEXT, re.MULTILINE))

SHOWN = re.compile(r"`tests/[\w/]+\.py(?:::\w+)?`|`make \w+`|`\S*python -m tests\.bench\.\w+`")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
DEFAULT = re.compile(r'`(\w+)\.(\w+)` = (\d+|"[^"]*"|\[[^\]]*\])')


@pytest.mark.parametrize("row", ROWS, ids=NUMBERS)
def test_a_row_has_a_verdict_and_what_shows_it(row: list[str]) -> None:
    _, said, here, shown = row
    assert said.strip()
    verdict = re.match(r"\*\*([A-Z][\w ]+)\*\*", here.strip())
    assert verdict
    assert verdict[1] in VERDICTS
    if verdict[1] == "Does":
        assert SHOWN.search(shown), "what is done has something that shows it"
    if verdict[1] == "Otherwise":
        assert len(here) > len("**Otherwise**: ") + 20, "why is said"


def test_every_section_of_the_article_has_its_rows_in_order() -> None:
    assert len(VERDICTS) == 5
    found = [tuple(map(int, number.removeprefix("E").split("."))) for number in NUMBERS]
    sections = [(number.startswith("E"), place[0]) for number, place in zip(NUMBERS, found, strict=True)]
    assert list(dict.fromkeys(sections)) == [(False, n) for n in range(5)] + [(True, n) for n in (1, 2, 3)]
    for section in dict.fromkeys(sections):
        places = [place[1] for place, of in zip(found, sections, strict=True) if of == section]
        assert places == list(range(1, len(places) + 1))


def test_a_test_is_in_the_file_that_is_named() -> None:
    named = TEST.findall(TEXT)
    assert len(named) > 60
    missing = [
        (file, name)
        for file, name in named
        if not re.search(rf"def {name}\b", (ROOT / file).read_text(encoding="utf-8"))
    ]
    assert not missing


def test_values_of_the_configuration_are_its_defaults() -> None:
    defaults = msgspec.to_builtins(Config())
    said = [(section, key, msgspec.json.decode(value)) for section, key, value in DEFAULT.findall(TEXT)]
    assert len(said) > 10
    for section, key, value in said:
        assert defaults[section][key] == value, f"{section}.{key}"


def test_rows_that_are_referred_to_exist() -> None:
    """In the last section and between rows: "see 3.8", "(E2.3)", "(0.4 to 0.6)"."""
    tail = TEXT[TEXT.index("## What is not answered") :]
    named = set(re.findall(r"\bE?\d\.\d+\b", tail)) | set(
        re.findall(r"\b(?:see |Shedding: see |\()(E?\d\.\d+)\b", TEXT)
    )
    assert named
    assert named <= set(NUMBERS)
