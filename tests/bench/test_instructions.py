"""What a packet may cost, in instructions: a bound that a busy machine does not move, where times say nothing.

The bounds are a fifth above what was counted with CPython 3.11 and NumPy 2. Whoever makes the path longer knows by how
much; whoever makes it shorter lowers them. libopus is reported and not bounded: it is not ours.
"""

from collections import Counter

import pytest

from tests.bench.callgrind import dumped, installed
from tests.bench.instructions import Instructions, instructions_of, measure, table
from tests.bench.packet_path import KINDS, NOTHING, OPUS, PCMU, SIZES

MOST = {OPUS: 62_000, PCMU: 111_000}
"""Instructions of ours a packet."""

DUMP = """\
# callgrind format
desc: Trigger: Client Request: opus 100
events: Ir
ob=(1) /usr/lib/libpython3.so
fn=(1) eval
16 100
+3 20
cob=(2) /usr/lib/libopus.so.0
cfn=(2) decode
calls=1 50
+2 4000
* 7
ob=(2)
fn=(2)
50 3000
cob=(1)
cfn=(1)
calls=2 16
-9 900
+1 1000

totals: 4127
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Instructions]:
    if installed() is None:
        pytest.skip("valgrind is not installed (Debian: apt install valgrind); make bench downloads it")
    measured = measure()
    print(table(measured))
    return {one.kind: one for one in measured}


@pytest.mark.parametrize("kind", sorted(MOST))
def test_a_packet_takes_no_more_instructions_than_it_did(found: dict[str, Instructions], kind: str) -> None:
    one = found[kind]
    print(f"{kind}: {one.ours:,} of ours, {one.libopus:,} of libopus")
    assert 1000 < one.ours <= MOST[kind], table(list(found.values()))


def test_only_opus_is_decoded_by_libopus(found: dict[str, Instructions]) -> None:
    assert set(found) == {OPUS, PCMU}
    assert found[OPUS].libopus > 10_000
    assert found[PCMU].libopus == 0


def test_what_a_function_calls_is_not_its_own() -> None:
    assert dumped(DUMP) == ("opus 100", Counter({"libpython3.so": 127, "libopus.so.0": 4000}))
    assert sum(dumped(DUMP)[1].values()) == int(DUMP.split("totals: ")[1])  # type: ignore[index]


def test_a_dump_that_nobody_asked_for_is_none() -> None:
    assert dumped(DUMP.replace("Client Request: opus 100", "Program termination")) is None


def test_start_and_counting_cancel_out() -> None:
    small, large = SIZES
    counts = {}
    for kind in KINDS:
        for size in SIZES:
            cost = Counter({"libpython3.so": 5_000_000 + 30 * size})  # at the start, and the counting
            if kind != NOTHING:
                cost += Counter({"libpython3.so": 700 * size, "libopus.so.0": 900 * size if kind == OPUS else 0})
            counts[f"{kind} {size}"] = cost
    assert large > small
    ours = {one.kind: (one.ours, one.libopus) for one in instructions_of(counts)}
    assert ours == {OPUS: (700, 900), PCMU: (700, 0)}
