"""Looks at this machine for `audiohookctl capacity`: what there is of processors, memory, descriptors and network.

Changes nothing. What limits a container counts: its processors, its memory. Whatever is not known is None.
"""

import bisect
import resource
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import msgspec
import psutil

import audiohook
from audiohook.cli.capacity_measuring import cpu_ns
from audiohook.cli.capacity_sums import Host
from audiohook.cli.fitting import configured_geometry
from audiohook.config import Config, worker_count
from audiohook.config.fields import SECTIONS
from audiohook.errors import AudiohookError, BootError
from audiohook.memory.arena import check_room
from audiohook.memory.board import count_slots, read_rows
from audiohook.net.descriptors import SPARE_DESCRIPTORS

MOST_ROOM_BYTES = 1 << 46
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def this_host(config: Config) -> Host:
    """Return what this machine has for a daemon of `config`, beside what runs now."""
    workers = worker_count(config)
    return Host(
        cores=min(workers, _quota_cores(CPU_MAX)),
        workers=workers,
        memory_bytes=_room_bytes(),
        slot_bytes=slot_bytes(config),
        most_slots=most_streams(),
        most_descriptors=_most_descriptors(len(config.server.listen)),
        link_bits=_link_bits(),
    )


def slot_bytes(config: Config) -> int:
    """Return what a stream more takes in the arena: ring, descriptors, card."""
    memory = msgspec.structs.replace(config.memory, streams=config.memory.streams + 1)
    more = configured_geometry(msgspec.structs.replace(config, memory=memory), rows=1)
    return more.arena_bytes - configured_geometry(config, rows=1).arena_bytes


def _quota_cores(file: Path) -> float:
    """Return how many cores a control group may use (cpu.max of cgroup v2), infinity where nothing says so."""
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return float("inf")
    return float("inf") if quota == "max" else int(quota) / int(period)


def _room_bytes() -> int:
    """Return the largest arena that a start would not refuse: what the daemon asks, not another reading of /proc."""
    return bisect.bisect_left(range(MOST_ROOM_BYTES), True, key=_refused) - 1


def _refused(wanted_bytes: int) -> bool:
    try:
        check_room(wanted_bytes)
    except BootError:
        return True
    return False


def most_streams() -> int:
    """Return the most that `memory.streams` may be."""
    return int(get_args(SECTIONS["memory"]["streams"].annotation)[1].le)


def _most_descriptors(listeners: int) -> int | None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else max(0, hard - listeners - SPARE_DESCRIPTORS)


def _link_bits() -> int | None:
    """Return the speed of the fastest interface that is up, loopback aside. A virtual one does not always tell."""
    speeds = [one.speed for name, one in psutil.net_if_stats().items() if one.isup and name != "lo"]
    return max(speeds, default=0) * 1_000_000 or None


@dataclass
class Neighbour:
    """A daemon that runs here: what it had to do while we measured."""

    hub: str
    live: int
    workers: list[int]
    cpu_ns: dict[int, int] = field(default_factory=dict)

    def cores_used(self, elapsed_ns: int) -> float:
        """Return how many cores its workers have used since it was found; one that has ended has used nothing."""
        used_ns = 0
        for pid, before_ns in self.cpu_ns.items():
            try:
                used_ns += cpu_ns(pid) - before_ns
            except AudiohookError:
                continue
        return used_ns / max(1, elapsed_ns)


def neighbour(hub_path: str | None) -> Neighbour | None:
    """Return the daemon that answers at the hub, None if none does."""
    try:
        with audiohook.attach(hub_path) as hub:
            live = count_slots(hub.arena).get("LIVE", 0)
            pids = [row["pid"] for row in read_rows(hub.arena) if row["kind"] == "worker" and row["pid"]]
            found = hub.path
    except (AudiohookError, OSError):
        return None
    cpu = {}
    for pid in pids:
        try:
            cpu[pid] = cpu_ns(pid)
        except AudiohookError:
            continue
    return Neighbour(found, live, pids, cpu)
