"""What a running daemon has, as the kernel and its own memory say: one reading, taken from outside.

Own memory is RSS without shared memory, so without the pages of rings, each of which is counted when it is first
touched. The timers of a worker's loop cannot be seen from outside; what they hold is in its own memory.
"""

import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from audiohook.memory import layout
from tests.faults.scene import cpu_ns
from tests.support.daemon import Daemon, descriptors

MEBIBYTE = 1 << 20
KIBIBYTE = 1 << 10
IN_USE = ("OPENING", "LIVE", "PAUSED", "HELD", "PARKED")


@dataclass(frozen=True)
class Reading:
    """One moment. By process, workers by their row: `own_mib`, `spare_fds` (beside its connections), `threads`."""

    at_s: float
    own_mib: dict[str, float]
    spare_fds: dict[str, int]
    threads: dict[str, int]
    live: int
    slots_in_use: int
    connections: int
    """Accepted since the start."""
    streams: int
    """Opened since the start."""
    packets: int
    workers_cpu_ns: int


class Gauges:
    """One daemon's. Its processes stay the same ones for as long as nothing crashes; if one does, a reading fails."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._rows = daemon.workers()
        self.pids = {"supervisor": daemon.pid, "desk": daemon.desk()}
        self.pids |= {f"worker {row}": pid for row, pid in self._rows.items()}

    def read(self) -> Reading:
        daemon = self._daemon
        live = daemon.row("live")
        states = daemon.slot_states()
        spare = {name: len(descriptors(pid)) for name, pid in self.pids.items()}
        for row in self._rows:
            spare[f"worker {row}"] -= live[row]
        statuses = {name: _status(pid) for name, pid in self.pids.items()}
        return Reading(
            at_s=time.monotonic(),
            own_mib={name: (one["RssAnon"] + one["RssFile"]) * KIBIBYTE / MEBIBYTE for name, one in statuses.items()},
            spare_fds=spare,
            threads={name: one["Threads"] for name, one in statuses.items()},
            live=sum(live),
            slots_in_use=sum(states[state] for state in IN_USE),
            connections=daemon.counter("accepted"),
            streams=daemon.counter("streams_opened"),
            packets=daemon.counter("packets"),
            workers_cpu_ns=sum(cpu_ns(pid) for pid in self._rows.values()),
        )

    def pss_mib(self) -> float:
        """Return what all processes have together, shared memory aside, with what they share counted once."""
        kib = 0
        for pid in self.pids.values():
            parts = _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())
            kib += parts["Pss_Anon"] + parts["Pss_File"]
        return kib * KIBIBYTE / MEBIBYTE

    def ring_maps(self) -> Counter[str]:
        """Return how many mappings of the arena each process has: a worker two for each stream, beside the whole."""
        return Counter(
            {name: Path(f"/proc/{pid}/maps").read_text().count("audiohook:arena") for name, pid in self.pids.items()}
        )

    def events_written(self) -> int:
        """Return how many events there have ever been, over all event rings."""
        arena = self._daemon.hub.arena
        sizes = arena.geometry
        commits = (layout.event_offset(sizes, row) + layout.EVENT_COMMIT for row in range(sizes.rows + 1))
        return sum(arena.words[commit // layout.WORD_BYTES] for commit in commits)


def _fields(text: str) -> dict[str, int]:
    """Return the numbers of a file of /proc that has one on a line."""
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}


def _status(pid: int) -> dict[str, int]:
    return _fields(Path(f"/proc/{pid}/status").read_text())
