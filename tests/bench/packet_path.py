"""The way of a packet, for callgrind to count: `tests/bench/instructions.py` runs this.

A connection of a worker as it is, over loopback, with a slot of a real arena: what is counted is from "readable" to
published in the ring. The sending of a frame is not, nor is the loop's wait. `nothing` counts the counting itself.

Two sizes of each kind, so that whatever a run has once cancels out. No time is looked at.
"""

import gc
import socket
import time
from collections.abc import Iterable

import numpy as np

from audiohook.codec import pcmu
from audiohook.session.audiohook2_client import AudioHook2Client, upgrade_headers
from audiohook.wire.client import masked_frame
from tests.bench.callgrind import Requests
from tests.support.audiohook2 import CALLER
from tests.support.calls import MASK
from tests.support.calls import TEXT as TEXT_FRAME
from tests.support.calls import frame as text_frame
from tests.support.connections import ConnectionBench, Peer, connections
from tests.support.peer import packets_of
from tests.support.tcp import PATIENCE_SECONDS

OPUS, PCMU, NOTHING = KINDS = ("opus", "pcmu", "nothing")
SIZES = (100, 300)
"""Packets: the same hundred, once and three times."""

PCMU_FRAMES = 800
"""Of a message as Genesys sends it: 100 ms of two channels, 1,600 bytes."""


def main() -> None:
    requests = Requests()
    with connections() as worker:
        ways = {OPUS: opus(worker), PCMU: pcmu_stereo(worker)}
        for peer, frames in ways.values():
            peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else frames go in pairs
            take(requests, worker, peer, frames)  # what the first packets do that no other does
        gc.collect()
        gc.freeze()
        gc.disable()
        requests.start()
        for size in SIZES:
            for kind, (peer, frames) in ways.items():
                count(requests, f"{kind} {size}", worker, peer, frames * (size // len(frames)))
            requests.zero()
            for _ in range(size):
                requests.toggle()
                requests.toggle()
            requests.dump(f"{NOTHING} {size}")
        assert worker.count("packets") == len(ways) * (1 + SIZES[0] + sum(SIZES)), "a packet went astray"


def opus(worker: ConnectionBench) -> tuple[Peer, list[bytes]]:
    """Return a call of `context` and a hundred frames for it: 20 ms of Opus at 16 kHz."""
    peer = worker.connect().upgraded()
    return speaking(worker, peer, [masked_frame(packet, MASK) for packet in packets_of(0)[: SIZES[0]]])


def pcmu_stereo(worker: ConnectionBench) -> tuple[Peer, list[bytes]]:
    """Return a session of `audiohook2` and a hundred frames for it: 100 ms of PCMU, two channels."""
    peer = worker.connect()
    peer.upgraded(headers=upgrade_headers(CALLER, "SGVsbG8="))
    client = AudioHook2Client(CALLER, time.monotonic_ns())
    for text in client.texts:
        peer.send(text_frame(text.encode(), TEXT_FRAME))
    worker.until(lambda: worker.count("streams_opened") == 2, peer)
    sound = np.random.default_rng(3).integers(-9000, 9000, (SIZES[0], PCMU_FRAMES, 2)).astype(np.int16)
    return speaking(worker, peer, [masked_frame(pcmu.encode(message), MASK) for message in sound])


def speaking(worker: ConnectionBench, peer: Peer, frames: list[bytes]) -> tuple[Peer, list[bytes]]:
    """Return both, when the peer has said a first word: until then it is served with the newcomers."""
    packets = worker.count("packets") + 1
    peer.send(frames[0])
    worker.until(lambda: worker.count("packets") == packets)
    return peer, frames


def count(requests: Requests, name: str, worker: ConnectionBench, peer: Peer, frames: list[bytes]) -> None:
    """Count what taking these frames costs, one at a time."""
    requests.zero()
    take(requests, worker, peer, frames)
    requests.dump(name)


def take(requests: Requests, worker: ConnectionBench, peer: Peer, frames: Iterable[bytes]) -> None:
    select, send, toggle, clock = worker.loop.selector.select, peer.socket.sendall, requests.toggle, worker.loop.clock
    for each in frames:
        send(each)
        for key, mask in select(PATIENCE_SECONDS):
            now_ns = clock()
            toggle()
            key.data.on_ready(mask, now_ns)
            toggle()


if __name__ == "__main__":
    main()
