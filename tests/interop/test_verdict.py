"""tests/interop/verdict.py: a run with one bad case, or without one of the cases, is no good run."""

import json
from pathlib import Path

import pytest

from tests.interop.verdict import Verdict, read_verdict

CASES = {
    "1.1.1": {"behavior": "OK", "behaviorClose": "OK"},
    "3.2": {"behavior": "OK", "behaviorClose": "OK"},
    "7.1.6": {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"},
}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index.json"


def written(index: Path, cases: dict[str, dict[str, str]]) -> Path:
    index.write_text(json.dumps({"audiohook": cases}), encoding="utf-8")
    return index


def test_a_good_run(index: Path) -> None:
    assert read_verdict(written(index, CASES), 3) == Verdict(3, 1, ())


@pytest.mark.parametrize(
    ("behavior", "close"),
    [("FAILED", "OK"), ("NON-STRICT", "OK"), ("UNIMPLEMENTED", "OK"), ("OK", "WRONG CODE"), ("OK", "UNCLEAN")],
)
def test_one_bad_case(index: Path, behavior: str, close: str) -> None:
    cases = {**CASES, "3.2": {"behavior": behavior, "behaviorClose": close}}
    verdict = read_verdict(written(index, cases), 3)
    assert verdict.wrong == (f"case 3.2: behavior {behavior}, close {close}",)


def test_a_case_that_was_not_run(index: Path) -> None:
    assert read_verdict(written(index, CASES), 4).wrong == ("3 cases were run, not 4",)
