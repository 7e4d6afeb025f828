"""What the code, the docs and the configuration say about other files is true: they exist, and so do the tests named.

A comment that names the test which guards a trap is worth nothing once the test has been renamed.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    *sorted(
        path
        for folder in ("audiohook", "tests", "docs", "bin", "conf")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".toml"} and path.name != Path(__file__).name
    ),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile")),
]

FILES = re.compile(r"(?<![\w/.-])((?:tests|docs|audiohook|conf)/[\w/.-]*\w\.(?:py|md|toml|h))")
NAMED_TEST = re.compile(r"(?:guarded by|::)\s*(test_\w+)\b(?!\.py)", re.IGNORECASE)
LINKS = re.compile(r"\]\((?!https?:)([^)#]+)\)")

TEST_NAMES = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_file_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    missing = [name for name in FILES.findall(text) if not (ROOT / name).exists()]
    missing += [name for name in NAMED_TEST.findall(text) if name not in TEST_NAMES]
    if path.suffix == ".md":
        missing += [link for link in LINKS.findall(text) if not (path.parent / link).exists()]
    assert not missing, f"{path.relative_to(ROOT)} names what is not there"


def test_a_missing_file_would_be_found() -> None:
    assert FILES.findall("see tests/unit/test_gone.py, and docs/gone.md.") == [
        "tests/unit/test_gone.py",
        "docs/gone.md",
    ]
    assert NAMED_TEST.findall("Guarded by test_gone") == ["test_gone"]
