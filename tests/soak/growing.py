"""What may not grow while calls come and go, and by how much it may seem to. Knows readings and no daemon."""

from collections.abc import Sequence

from tests.faults.outcome import Outcome
from tests.soak.flat import FEWEST, growth, settled
from tests.soak.gauges import MEBIBYTE, Reading

LEAST_JUDGED_S = 150.0
"""In less time a process has not settled: its memory is shown and not judged."""

OWN_MIB = 1.0
"""How much more own memory a process may have in the last third than in the first: what freed memory leaves behind in
holes comes to less. Beside it the table says how many bytes that would be for each connection that has come."""

PARTS = 0.5
"""Descriptors that a process may have more: of a median of whole numbers, none."""


def judge_flat(outcome: Outcome, readings: Sequence[Reading]) -> None:
    """Find: no process has grown, in own memory, descriptors or threads."""
    if len(readings) < FEWEST:
        outcome.count(False, f"{len(readings)} readings are too few")
        return
    rest = settled(readings)
    came = rest[-1].connections - rest[0].connections
    for name in readings[0].own_mib:
        threads = {one.threads[name] for one in readings}
        outcome.count(len(threads) == 1, f"{name}: threads {sorted(threads)}")
        fds = growth([one.spare_fds[name] for one in readings])
        outcome.count(fds <= PARTS or name == "desk", f"{name}: {fds:+g} descriptors beside its connections")
        mib = growth([one.own_mib[name] for one in readings])
        # Two thirds of the connections lie between the middles of the first and the last third.
        told = f"{name}: {mib:+.2f} MiB of own memory, {mib * MEBIBYTE / max(1, came * 2 / 3):+.0f} bytes for each"
        told += f" of {came} connections (at most {OWN_MIB:g} MiB)"
        judged = readings[-1].at_s - readings[0].at_s >= LEAST_JUDGED_S
        outcome.count(mib <= OWN_MIB or not judged, told if judged else f"{told}: too short a run to judge it")
