"""Opens one session after another and takes the time: from the upgrade request to 101, from `open` to `opened`.

As Genesys sees it: a connection of its own for each, closed properly before the next one. The client's own work, and
its waiting for a processor, are in the figures; how long it and the workers waited for one is taken down beside them.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.genesys import Genesys


@dataclass
class Times:
    """What was measured, in nanoseconds, in the order of the opens.

    `waited` is how long, between `open` and `opened`, this process and that worker which waited longest were ready to
    run and had no processor: the kernel's figure, for a machine that has others to serve.
    """

    connect: list[int] = field(default_factory=list)
    upgrade: list[int] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def quantile_ms(times_ns: list[int], share: float) -> float:
    """Return a time that at least `share` of all do not exceed, in milliseconds."""
    wanted = max(1, -int(-share * len(times_ns) // 1))
    return sorted(times_ns)[wanted - 1] / 1e6


def waited_ns(pid: int) -> int:
    """Return how long a process has stood in the run queue in its life."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])


def measure(address: tuple[str, int], opens: int, workers: list[int]) -> Times:
    """Open and close so many sessions."""
    times = Times()
    ours = os.getpid()
    for _ in range(opens):
        began_ns = time.perf_counter_ns()
        with Genesys(address) as genesys:
            connected_ns = time.perf_counter_ns()
            assert genesys.upgrade().accepted
            accepted_ns = time.perf_counter_ns()
            before = [waited_ns(pid) for pid in (ours, *workers)]
            asked_ns = time.perf_counter_ns()
            genesys.until("opened")
            opened_ns = time.perf_counter_ns()
            own, *others = [waited_ns(pid) - start for pid, start in zip((ours, *workers), before, strict=True)]
            genesys.close()
        times.connect.append(connected_ns - began_ns)
        times.upgrade.append(accepted_ns - connected_ns)
        times.open.append(opened_ns - asked_ns)
        times.waited.append(own + max(others))
        times.faults += genesys.client.faults
    return times
