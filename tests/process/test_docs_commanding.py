"""The examples of docs/commanding.md do what the page says, as they stand."""

import os
import re
from pathlib import Path

import pytest

from tests.support.doc_examples import Command, Shell, page, stories

TEXT = page("commanding.md")
STORIES = stories(TEXT)
OPERATORS = [name for name, told in STORIES.items() if any(isinstance(one, Command) and one.group for one in told)]


@pytest.mark.parametrize("heading", [name for name in STORIES if name not in OPERATORS])
def test_the_page_goes_as_it_says(heading: str, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.play(STORIES[heading])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("heading", OPERATORS)
def test_who_may_do_what_is_as_it_says(heading: str, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.play(STORIES[heading])


def test_every_command_of_the_tool_is_on_the_page_with_an_example(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        _, shown = shell.run("audiohookctl --help")
    names = re.findall(r"^ {4}(\w+)", shown, re.MULTILINE)
    assert {"status", "mask", "scale"} < set(names)
    for name in ("doctor", "capacity"):  # they command nobody; docs/operating.md and docs/scaling.md have them
        names.remove(name)
    given = " ".join(one.text for told in STORIES.values() for one in told if isinstance(one, Command))
    assert [name for name in names if f"audiohookctl {name} " not in f"{given} "] == []
    assert [name for name in names if not re.search(rf"^\|.*`{name}\b", TEXT, re.MULTILINE)] == []
