"""Ten thousand connections that say nothing: `.venv/bin/python -m tests.bench.idle`.

One worker holds them, this process is their far end, on one machine: twice as many sockets as that, and descriptors in
each. First before their upgrade, with the deadline for the request put off; then as streams with a ring of one second.
Taken are the worker's memory for each, the processor's time of all of the daemon while nothing happens, and how soon
one more call is answered. Where the machine has no room for so many, the table says what stands in the way.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import msgspec

from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.arena import check_room
from tests.bench.memory import Taken, taken
from tests.bench.readers_load import quiet_daemon
from tests.faults.scene import cpu_ns
from tests.support.daemon import Daemon
from tests.support.peer import Peer

CONNECTIONS = 10_000
AT_ONCE = 200
NEWCOMERS = 20
IDLE_S = 3.0
SPARE_DESCRIPTORS = 200
MAPPINGS_A_STREAM = 2
ROOM_FOR_REQUESTS = "http.request_seconds=600", "admission.waiting_per_worker=1048576"


class Idle(msgspec.Struct, frozen=True):
    """So many connections of one worker, and what they take while they say nothing."""

    kind: str
    connections: int
    bytes_each: float
    tables_each: float
    slot_bytes: int
    """What each has of the arena, allocated when the daemon starts."""
    connect_seconds: float
    core: float
    """Share of a core, of all of the daemon's processes together, while nothing happens."""
    answer_ms: float
    """From a new call's connect until its 101, median."""
    answer_worst_ms: float


def room(connections: int, *, streams: bool) -> str:
    """Return what stands in the way of so many connections here, "" if nothing does."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if connections + SPARE_DESCRIPTORS > descriptors:
        return f"RLIMIT_NOFILE is {descriptors:,} for a process"
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if connections + NEWCOMERS > (last - first) // 2:  # ports of connections that have just ended are not free
        return f"net.ipv4.ip_local_port_range has {last - first + 1:,} ports"
    if not streams:
        return ""
    mappings = int(Path("/proc/sys/vm/max_map_count").read_text())
    if MAPPINGS_A_STREAM * connections + 1000 > mappings:
        return f"vm.max_map_count is {mappings:,} for a process, and a stream takes {MAPPINGS_A_STREAM}"
    if connections + NEWCOMERS > 16_384:
        return "memory.streams is 16,384 at most"
    try:
        # No file system's limit stands in the way: a memfd is on none that /dev/shm's size would bound.
        check_room(_geometry(connections).arena_bytes)
    except BootError as error:
        return str(error)
    return ""


def _geometry(connections: int) -> layout.Geometry:
    return layout.geometry(connections + NEWCOMERS, 4, 1, 1024)


def measure(kind: str, connections: int, idle_s: float = IDLE_S) -> Idle:
    """Hold so many connections of a `kind`: "before the upgrade" or "streams"."""
    streams = kind == "streams"
    slots = connections + NEWCOMERS if streams else NEWCOMERS
    with ExitStack() as stack:
        daemon = stack.enter_context(quiet_daemon(slots, "memory.ring_seconds=1", *ROOM_FOR_REQUESTS))
        (worker,) = daemon.workers().values()
        before = taken(worker)
        began = time.monotonic()
        with held(daemon, connections, upgraded=streams):
            connect_seconds = time.monotonic() - began
            wait_live(daemon, connections)
            after = taken(worker)
            core = _idle_core(daemon, idle_s)
            answers = sorted(_answered(daemon) for _ in range(NEWCOMERS))
    each = _each(before, after, connections)
    slot_bytes = (_geometry(connections).arena_bytes // (connections + NEWCOMERS)) if streams else 0
    return Idle(kind, connections, *each, slot_bytes, connect_seconds, core, median(answers), answers[-1])


def _each(before: Taken, after: Taken, connections: int) -> tuple[float, float]:
    own, tables = after.anonymous - before.anonymous, after.tables - before.tables
    return own * 1024 / connections, tables * 1024 / connections


@contextmanager
def held(daemon: Daemon, connections: int, *, upgraded: bool) -> Iterator[list[Peer]]:
    """Connect so many, some at once; those that are `upgraded` are streams when this begins."""
    with ExitStack() as stack:
        peers: list[Peer] = []
        while len(peers) < connections:
            some = min(AT_ONCE, connections - len(peers))
            batch = [stack.enter_context(Peer(daemon.address)) for _ in range(some)]
            if upgraded:
                for peer in batch:
                    peer.send(peer.request)
                assert all(peer.read_answer().accepted for peer in batch)
            peers += batch
            wait_live(daemon, len(peers))
        yield peers


def wait_live(daemon: Daemon, connections: int) -> None:
    daemon.wait(lambda: daemon.live() >= connections, f"{connections} connections")


def _idle_core(daemon: Daemon, seconds: float) -> float:
    pids = daemon.processes()
    began, before = time.monotonic(), sum(map(cpu_ns, pids))
    time.sleep(seconds)
    return (sum(map(cpu_ns, pids)) - before) / 1e9 / (time.monotonic() - began)


def _answered(daemon: Daemon) -> float:
    """Return after how many milliseconds one more call has its 101. It ends at once, and is waited for."""
    live = daemon.live()
    began = time.monotonic_ns()
    with Peer(daemon.address) as peer:
        assert peer.upgrade().accepted
        answered_ms = (time.monotonic_ns() - began) / 1e6
        peer.close()
    daemon.wait(lambda: daemon.live() == live, "the end of the newcomer")
    return answered_ms


def lines_of(one: Idle) -> Iterator[str]:
    yield f"{one.connections:,} {one.kind}"
    slot = f", {one.tables_each:,.0f} to map its slot, {one.slot_bytes:,} of the arena" if one.slot_bytes else ""
    yield f"  bytes each         {one.bytes_each:,.0f}{slot}"
    yield f"  all of them in     {one.connect_seconds:.1f} s, one after the other, {AT_ONCE} at once"
    yield f"  while idle         {100 * one.core:.1f} % of a core, all processes of the daemon"
    yield f"  one more call      answered in {one.answer_ms:.1f} ms, at most {one.answer_worst_ms:.1f} of {NEWCOMERS}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    began = time.monotonic()
    found: list[Idle] = []
    missing: dict[str, str] = {}
    for kind in ("before the upgrade", "streams"):
        why = room(given.connections, streams=kind == "streams")
        if why:
            missing[kind] = why
            print(f"{given.connections:,} {kind}: no room on this machine: {why}", flush=True)
            continue
        found.append(measure(kind, given.connections))
        print(*lines_of(found[-1]), sep="\n", flush=True)
    print(f"in {time.monotonic() - began:.0f} s")
    if given.json:
        given.json.write_bytes(msgspec.json.encode({"idle": found, "no_room": missing}))


if __name__ == "__main__":
    main()
