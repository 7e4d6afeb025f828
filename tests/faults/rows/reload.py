"""Reloads in place, one after the other, while calls keep coming beside the live ones: nobody notices, nothing grows.

The live calls stay with the first generation; those that come take 0.4 s each, so never more than one other drains.
What processes have is read behind each reload, as soon as every generation in between is gone. The first reading is
that behind the first reload: only from then on is the supervisor one that was executed again.

Memory is each process' own. Not Pss: what a file's pages count there depends on who else maps them just now, also of
other people's processes.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.live import LiveCalls
from tests.faults.newcomers import LONGEST_WAIT_S
from tests.faults.outcome import Outcome
from tests.faults.row import Row
from tests.faults.scene import WORKERS, daemon_for, judge_calls
from tests.process.footprint import MEBIBYTE, own_bytes
from tests.process.reloads import Coming, generations, held, reload, reload_events
from tests.soak.gauges import Gauges, Reading
from tests.support.daemon import Daemon

RELOADS_A_SECOND = 2
FEWEST = 2
SLOTS = 512
"""For calls that come: each is read back behind the reload in which it ended, and until then keeps its slot."""

RING = "memory.ring_seconds=8"
"""Thirty seconds for each of so many would be gigabytes."""

OWN_MIB = 0.5
"""How much own memory may differ: two processes with the same history differ by a third of it."""

SUPERVISOR, DESK, NEWEST, FIRST = (
    "the supervisor",
    "the desk",
    "a worker of the newest generation",
    "a worker with calls",
)


@dataclass(frozen=True)
class Standing:
    """What there is behind a reload; of workers, the one that has most. Descriptors beside connections."""

    took_s: float
    own_mib: dict[str, float]
    spare_fds: dict[str, int]
    held: list[str]


def run(calls: int, seconds: float) -> Outcome:
    outcome = Outcome(calls)
    count = max(FEWEST, round(RELOADS_A_SECOND * seconds))
    with daemon_for(calls + SLOTS, RING) as daemon, LiveCalls(daemon.wait_ready(), calls) as live:
        live.wait_live()
        kept = {row for row, own in enumerate(daemon.row("live")) if own}
        with Coming(daemon) as coming:
            standings = [reloaded(daemon, number, kept, coming) for number in range(1, count + 1)]
        coming.read_back(daemon)
        told = live.finish()
        judge_calls(outcome, told)
        judge_coming(outcome, coming)
        judge_flat(outcome, standings)
        outcome.recovered_s = max(one.took_s for one in standings)
        events = Counter(event["event"] for event in reload_events(daemon))
        outcome.count(events == {"reloaded": count}, f"{count} reloads were told as {dict(events)}")
        opened = daemon.counter("streams_opened")
        outcome.count(
            opened == calls + coming.came, f"{opened} streams were opened, for {calls} and {coming.came} calls"
        )
        outcome.count(daemon.stop() == 0, "the daemon stops as told")
    return outcome


def reloaded(daemon: Daemon, number: int, kept: set[int], coming: Coming) -> Standing:
    """Reload, wait until nobody is there but this generation and the rows that are kept, and read what there is."""
    began_s = time.monotonic()
    reload(daemon, number)
    daemon.wait(lambda: alone(daemon, number, kept), f"generation {number}, rows {kept}, and no other process")
    took_s = time.monotonic() - began_s
    coming.read_back(daemon)
    gauges, of_row = Gauges(daemon), generations(daemon)
    kinds = {"supervisor": SUPERVISOR, "desk": DESK}
    kinds |= {f"worker {row}": NEWEST if generation else FIRST for row, generation in of_row.items()}
    own_mib: dict[str, float] = {}
    spare_fds: dict[str, int] = {}
    fds = daemon.wait(lambda: steady(daemon, gauges), "a moment in which no call comes or goes").spare_fds
    for name, kind in kinds.items():
        own_mib[kind] = max(own_mib.get(kind, 0.0), own_bytes(gauges.pids[name]) / MEBIBYTE)
        spare_fds[kind] = max(spare_fds.get(kind, 0), fds[name])
    return Standing(took_s, own_mib, spare_fds, held(daemon))


def steady(daemon: Daemon, gauges: Gauges) -> Reading | None:
    """Return a reading, or None if a call has come or gone meanwhile: descriptors and calls would be of two moments."""
    before = daemon.counter("accepted"), daemon.row("live")
    reading = gauges.read()
    return reading if before == (daemon.counter("accepted"), daemon.row("live")) else None


def alone(daemon: Daemon, number: int, kept: set[int]) -> bool:
    """Return whether there are this generation, the rows with live calls, a desk that is ready, and no other process.

    The newest workers must be children of who was started: that is how the supervisor is seen to be the same process.
    """
    pids, of_row = daemon.workers(), generations(daemon)
    newest = [pid for row, pid in pids.items() if of_row.get(row) == number]
    others = {row for row, generation in of_row.items() if generation != number}
    if others != kept or len(newest) != WORKERS or len(daemon.logged("desk ready")) != number + 1:
        return False
    everybody = len(pids) + len((SUPERVISOR, DESK))
    return all(parent(pid) == daemon.pid for pid in newest) and len(daemon.processes()) == everybody


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def judge_coming(outcome: Outcome, coming: Coming) -> None:
    """Find: all that came were accepted, ended as they ended it, and can be read sample by sample."""
    outcome.refused.update(coming.refused)
    outcome.count(not coming.refused, f"{coming.refused.total()} of {coming.came} calls that came were refused")
    told = "; ".join(coming.faults[:3])
    outcome.count(coming.came and not coming.faults, f"{len(coming.faults)} of them lost something: {told}")
    longest_s = max(coming.waits_s, default=0.0)
    outcome.timed(longest_s <= LONGEST_WAIT_S, f"the longest wait of a new connection was {longest_s * 1e3:.0f} ms")


def judge_flat(outcome: Outcome, standings: Sequence[Standing]) -> None:
    """Find: behind no reload a process has more than behind the first."""
    first, *later = standings
    for kind in (SUPERVISOR, DESK, NEWEST, FIRST):
        mib = max(one.own_mib[kind] for one in later) - first.own_mib[kind]
        told = f"{kind}: {mib:+.2f} MiB of own memory over {len(later)} reloads (at most {OWN_MIB:g})"
        outcome.count(mib <= OWN_MIB, told)
    for kind in (NEWEST, FIRST):
        most = max(one.spare_fds[kind] for one in later)
        outcome.count(most <= first.spare_fds[kind], f"{kind}: {most} descriptors beside its connections")
    held_anew = {len(one.held) for one in later if one.held != first.held}
    outcome.count(
        not held_anew, f"{SUPERVISOR}: {len(first.held)} descriptors{f', then {held_anew}' if held_anew else ''}"
    )


ROW = Row("reload", "10 reloads in place while 20 calls come a second", run, limit_s=150)
