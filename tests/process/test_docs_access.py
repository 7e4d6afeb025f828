"""The examples of docs/access.md do what the page says, as they stand; and its settings are those that there are."""

import re
from pathlib import Path

import pytest

from audiohook.config.fields import SECTIONS
from tests.support.doc_examples import Shell, page, stories

TEXT = page("access.md")
STORIES = stories(TEXT)


@pytest.mark.parametrize("heading", STORIES)
def test_the_page_goes_as_it_says(heading: str, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.play(STORIES[heading])


def test_every_setting_that_says_who_may_call_is_on_the_page() -> None:
    settings = {f"auth.{name}" for name in SECTIONS["auth"]}
    settings |= {f"server.{name}" for name in ("allow", "allow_anonymous", "trusted_proxies", "proxy_protocol")}
    assert settings <= set(re.findall(r"\b(?:auth|server)\.\w+", TEXT))
