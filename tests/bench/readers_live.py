"""Readers of live calls, measured: how soon they wake, what a thousand streams in one loop cost, what they cost ingest.

A daemon of one worker on a processor of its own; the calls and the readers share the other one.
"""

import time
from contextlib import ExitStack
from statistics import median

import msgspec

from tests.bench.cores import on_core, two_cores
from tests.bench.readers_crowd import SETTLE_S, Crowd, merged
from tests.bench.readers_load import PACKET_FRAMES, connected, quiet_daemon, talking
from tests.bench.readers_reading import Figures
from tests.faults.scene import cpu_ns
from tests.support.daemon import Daemon

BLOCK_FRAMES = 512
WAITED_FRAMES = 1600
"""0.1 s, which a reader passes by the clock, but for the last packet: of readers that wake for every packet a processor
has no more than some 300."""

WAKING_CALLS = 8
"""Each has a reader: few enough that no two wake at once as a rule."""

LATE_LOAD_NS = 10_000_000
"""Calls that were later than this at once are no telephone calls."""


class Waking(msgspec.Struct):
    """How long a block of one packet takes from the worker's read to its reader's hands, decoding included."""

    kind: str
    wakes: int
    p50_us: float
    p99_us: float
    lost_frames: int
    void: str


class Many(msgspec.Struct):
    """One process in the blocks of all streams."""

    streams: int
    blocks: int
    wanted: int
    """Blocks that came to be in the time, by the clock."""
    late: int
    broken: int
    lost_frames: int
    cpu_us: float
    """CPU time a block."""
    core: float
    sleeps_a_second: float
    p50_ms: float
    p99_ms: float
    void: str


class Ingest(msgspec.Struct):
    """What a packet costs the worker beside so many readers that wait; `ratio` to none, both medians of the rounds."""

    readers: int
    cpu_us: float
    ratio: float
    worst: float
    bells_a_second: float
    blocks_a_second: float
    """By all readers together. What there was to be had: 10 for each."""
    lost_frames: int
    void: str


def waking(kind: str, seconds: float, calls: int = WAKING_CALLS) -> Waking:
    """Let each call have a reader that waits for every packet, on its `slot`'s word or its worker's `bell`."""
    settings = () if kind == "slot" else ("hub.max_watched=0",)
    with ExitStack() as stack:
        daemon = stack.enter_context(quiet_daemon(calls, *settings))
        sockets = stack.enter_context(connected(daemon, calls))
        stack.enter_context(on_core(two_cores()[0]))
        crowd = stack.enter_context(Crowd("one", daemon.hub_path, calls, PACKET_FRAMES))
        crowd.wait_ready()
        with talking(sockets) as load:
            time.sleep(SETTLE_S + seconds)
            whole = merged(crowd.finish())
    return Waking(
        kind=kind,
        wakes=whole.blocks,
        p50_us=whole.delay.quantile(0.5) / 1000,
        p99_us=whole.delay.quantile(0.99) / 1000,
        lost_frames=whole.lost_frames,
        void=_late(load.latest_ns),
    )


def many(streams: int, seconds: float) -> Many:
    """Let one process read all streams."""
    with ExitStack() as stack:
        daemon = stack.enter_context(quiet_daemon(streams))
        sockets = stack.enter_context(connected(daemon, streams))
        stack.enter_context(on_core(two_cores()[0]))
        crowd = stack.enter_context(Crowd("all", daemon.hub_path, 1, BLOCK_FRAMES))
        crowd.wait_ready()
        with talking(sockets) as load:
            time.sleep(SETTLE_S + seconds)
            (seen,) = crowd.finish()
    return Many(
        streams=streams,
        blocks=seen.blocks,
        wanted=_to_be_had(streams, seen),
        late=seen.late,
        broken=seen.broken,
        lost_frames=seen.lost_frames,
        cpu_us=seen.cpu_ns / 1000 / max(1, seen.blocks),
        core=seen.cpu_ns / max(1, seen.wall_ns),
        sleeps_a_second=seen.sleeps * 1e9 / max(1, seen.wall_ns),
        p50_ms=seen.delay.quantile(0.5) / 1e6,
        p99_ms=seen.delay.quantile(0.99) / 1e6,
        void=_late(load.latest_ns),
    )


def _to_be_had(streams: int, seen: Figures) -> int:
    packet_frames_a_ns = PACKET_FRAMES / 20e6
    return round(streams * seen.wall_ns * packet_frames_a_ns / BLOCK_FRAMES)


class Sample(msgspec.Struct):
    """One window of the worker."""

    cpu_us: float
    bells_a_second: float
    seen: Figures
    late_ns: int


def ingest(calls: int, counts: tuple[int, ...], rounds: int, seconds: float) -> list[Ingest]:
    """Measure the worker without readers and with them, in turn, in another order each round."""
    samples: dict[int, list[Sample]] = {count: [] for count in counts}
    watched = f"hub.max_watched={calls}"
    with quiet_daemon(calls, watched) as daemon, connected(daemon, calls) as sockets, on_core(two_cores()[0]):
        for number in range(rounds):
            for count in counts if number % 2 == 0 else counts[::-1]:
                with Crowd("one", daemon.hub_path, count, WAITED_FRAMES) as crowd:
                    crowd.wait_ready()
                    with talking(sockets) as load:
                        time.sleep(2 * SETTLE_S)
                        sample = _measured(daemon, seconds)
                        sample.seen = merged(crowd.finish())
                sample.late_ns = load.latest_ns
                samples[count].append(sample)
    alone = median(sample.cpu_us for sample in samples[0])
    return [_judged(count, ones, alone) for count, ones in samples.items()]


def _measured(daemon: Daemon, seconds: float) -> Sample:
    (worker,) = daemon.workers().values()
    before = time.monotonic(), cpu_ns(worker), daemon.counter("packets"), daemon.counter("bells")
    time.sleep(seconds)
    after = time.monotonic(), cpu_ns(worker), daemon.counter("packets"), daemon.counter("bells")
    spent_s, cpu, packets, bells = (late - early for early, late in zip(before, after, strict=True))
    return Sample(cpu / 1000 / max(1, packets), bells / spent_s, Figures(), 0)


def _judged(count: int, samples: list[Sample], alone_us: float) -> Ingest:
    costs = [sample.cpu_us for sample in samples]
    blocks = [sample.seen.blocks * 1e9 / max(1, sample.seen.wall_ns) for sample in samples]
    return Ingest(
        readers=count,
        cpu_us=median(costs),
        ratio=median(costs) / alone_us,
        worst=max(costs) / alone_us,
        bells_a_second=median(sample.bells_a_second for sample in samples),
        blocks_a_second=median(blocks),
        lost_frames=sum(sample.seen.lost_frames for sample in samples),
        void=_late(min(sample.late_ns for sample in samples)),
    )


def _late(latest_ns: int) -> str:
    return f"the calls themselves were late: {latest_ns / 1e6:.0f} ms" if latest_ns > LATE_LOAD_NS else ""
