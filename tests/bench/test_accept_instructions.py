"""What a new call may cost, in instructions: a bound that a busy machine does not move, where times say nothing.

The bounds are a fifth above what was counted with CPython 3.11 and NumPy 2. Whoever makes a call dearer knows by how
much; whoever makes it cheaper lowers them.
"""

from collections import Counter

import pytest

from tests.bench.accept_instructions import Cost, costs_of, measure, table
from tests.bench.accept_path import ENDED, KEPT, KINDS, SIZES
from tests.bench.callgrind import installed

MOST = {KEPT: 1_140_000, ENDED: 1_970_000}
"""Instructions a call."""


@pytest.fixture(scope="module")
def found() -> dict[str, Cost]:
    if installed() is None:
        pytest.skip("valgrind is not installed (Debian: apt install valgrind); make bench downloads it")
    measured = measure()
    print(table(measured))
    return {one.kind: one for one in measured}


@pytest.mark.parametrize("kind", sorted(MOST))
def test_a_call_takes_no_more_instructions_than_it_did(found: dict[str, Cost], kind: str) -> None:
    assert 100_000 < found[kind].instructions <= MOST[kind], table(list(found.values()))


def test_what_a_run_has_once_cancels_out() -> None:
    counts = {
        f"{kind} {size}": Counter({"libpython3.so": 5_000_000 + 700 * size, "libc.so.6": 90 * size})
        for kind in KINDS
        for size in SIZES
    }
    assert [(one.kind, one.instructions) for one in costs_of(counts)] == [(KEPT, 790), (ENDED, 790)]
    assert "libpython3 700, libc 90" in table(costs_of(counts))
