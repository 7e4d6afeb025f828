"""What a conformance run's index.json says. Knows neither tool that writes one; both write the same.

The tools cannot be asked: one exits 0 whatever failed, the other lets NON-STRICT pass.
"""

import json
from dataclasses import dataclass
from pathlib import Path

GOOD = frozenset({"OK", "INFORMATIONAL"})
"""INFORMATIONAL: the case looks at what RFC 6455 leaves open."""


@dataclass(frozen=True)
class Verdict:
    """`wrong` has a line for each case that is not as it must be."""

    cases: int
    informational: int
    wrong: tuple[str, ...]


def read_verdict(index: Path, expected_cases: int) -> Verdict:
    """Judge the one agent in `index`; a case too few or too many is wrong as well."""
    (cases,) = json.loads(index.read_text(encoding="utf-8")).values()
    wrong = [
        f"case {name}: behavior {case['behavior']}, close {case['behaviorClose']}"
        for name, case in cases.items()
        if not {case["behavior"], case["behaviorClose"]} <= GOOD
    ]
    if len(cases) != expected_cases:
        wrong.append(f"{len(cases)} cases were run, not {expected_cases}")
    informational = sum(case["behavior"] == "INFORMATIONAL" for case in cases.values())
    return Verdict(len(cases), informational, tuple(wrong))
