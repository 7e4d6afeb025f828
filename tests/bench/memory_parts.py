"""Which files of the program keep what for a call: a worker's parts in this process, counted by tracemalloc.

Connections as a worker has them, over real sockets and a small arena, each with a stream that has had audio. libopus'
decoders are a stream's own memory, and Python's (codec/opus.py).
"""

import gc
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from audiohook.codec.recut import WINDOW_MESSAGES
from audiohook.memory import layout
from audiohook.wire.client import masked_frame
from tests.bench.readers_load import sent_packets
from tests.support.calls import call_terms
from tests.support.connections import ConnectionBench, Peer
from tests.support.daemon import ROOT
from tests.support.memory import Bench
from tests.support.peer import MASK

CALLS = 50
PACKETS = WINDOW_MESSAGES - 1
PARTS_OF = 20
"""How many lines a table has."""


class Part(msgspec.Struct, frozen=True):
    """What one file keeps for a call."""

    where: str
    bytes_a_call: float
    blocks_a_call: float


def parts(calls: int = CALLS) -> list[Part]:
    """Return what a call of the dialect `context` consists of, the greatest first."""
    with _worker(calls + 1) as worker:
        _talking(worker)  # what the first one brings with it is nobody's own
        tracemalloc.start(1)
        try:
            before = _snapshot()
            for _ in range(calls):
                _talking(worker)
            differences = _snapshot().compare_to(before, "filename")
        finally:
            tracemalloc.stop()
    found = (
        Part(_name(one.traceback[0].filename), one.size_diff / calls, one.count_diff / calls)
        for one in differences
        if one.size_diff > 0
    )
    return sorted(found, key=lambda part: -part.bytes_a_call)


@contextmanager
def _worker(calls: int) -> Iterator[ConnectionBench]:
    memory = Bench(layout.geometry(slots=calls, rows=1, ring_seconds=1, event_records=16))
    worker = ConnectionBench(memory, call_terms())
    try:
        yield worker
    finally:
        worker.close()
        memory.close()


def _talking(worker: ConnectionBench) -> Peer:
    peer = worker.connect().upgraded()
    wanted = worker.count("packets") + PACKETS
    for packet in sent_packets()[:PACKETS]:
        peer.send(masked_frame(packet, MASK))
    worker.until(lambda: worker.count("packets") >= wanted)
    return peer


def _snapshot() -> tracemalloc.Snapshot:
    """Return what is kept by the program: not by the far ends, nor by tracemalloc itself."""
    gc.collect()
    ours = tracemalloc.Filter(False, os.path.join(str(ROOT), "tests", "*"))
    return tracemalloc.take_snapshot().filter_traces([ours, tracemalloc.Filter(False, tracemalloc.__file__)])


def _name(filename: str) -> str:
    for folder in (f"{ROOT}/", "site-packages/", "python3.11/"):
        if folder in filename:
            return filename.partition(folder)[2]
    return filename
