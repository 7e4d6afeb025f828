"""A daemon, and calls of 20 ms Opus that go on for as long as a `with` block, by a thread that leaves readers room.

Each call has its own instant in the 20 ms, a millisecond is a burst of those that are due. The frames are made ahead,
and nothing that the daemon says is read: its pings are an hour apart.
"""

import io
import itertools
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.wire.client import masked_frame
from tests.bench.cores import on_core, two_cores
from tests.support.daemon import Daemon
from tests.support.opus_streams import packets
from tests.support.peer import MASK, Peer

PACKET_MS = 20
PACKET_FRAMES = 320
RATE_HZ = 16_000
SILENT = "context.heartbeat_ms=3600000", "context.degraded_ms=3600000", "context.first_audio_ms=3600000"
"""Settings: peers that say nothing for a while are none that are dead."""


def sent_packets() -> tuple[bytes, ...]:
    """Return what each call says, over and over: 47 bytes each."""
    return packets("speech", RATE_HZ, PACKET_MS, 21_300)


class Talking:
    """What was sent and how late, at most, a burst was."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._bursts = [sockets[at::PACKET_MS] for at in range(PACKET_MS)]
        self._frames = [masked_frame(packet, MASK) for packet in sent_packets()]
        self._stopped = threading.Event()
        self.latest_ns = 0
        self.packets = 0
        self.full = 0
        """Frames that a socket would not take: the daemon does not read."""

    def run(self) -> None:
        due_ns = time.monotonic_ns()
        for number, frame in enumerate(itertools.cycle(self._frames)):
            for burst in self._bursts:
                wait_ns = due_ns - time.monotonic_ns()
                if wait_ns > 0:
                    time.sleep(wait_ns / NS_PER_S)
                elif number:
                    self.latest_ns = max(self.latest_ns, -wait_ns)
                for call in burst:
                    self._send(call, frame)
                due_ns += NS_PER_MS
            if self._stopped.is_set():
                return

    def _send(self, call: socket.socket, frame: bytes) -> None:
        try:
            call.send(frame)
            self.packets += 1
        except BlockingIOError:
            self.full += 1

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def quiet_daemon(streams: int, *settings: str) -> Iterator[Daemon]:
    """Run a daemon of one worker, on a processor of its own. The tests' daemon prints its log, for pytest to show."""
    sizes = "server.workers=1", f"memory.streams={streams}", "memory.ring_seconds=5", "hub.max_clients=1024"
    ending = "server.drain_seconds=0", "context.reconnect_seconds=0"
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        with on_core(two_cores()[1]):
            daemon = stack.enter_context(Daemon(*sizes, *SILENT, *ending, *settings))
        daemon.wait_ready()
        with redirect_stdout(sys.__stdout__):
            yield daemon


@contextmanager
def connected(daemon: Daemon, calls: int) -> Iterator[list[socket.socket]]:
    """Place so many calls, which say nothing yet."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(calls):
            peer = stack.enter_context(Peer(daemon.address))
            assert peer.upgrade().accepted
            peer.socket.setblocking(False)
            sockets.append(peer.socket)
        yield sockets


@contextmanager
def talking(sockets: list[socket.socket]) -> Iterator[Talking]:
    """Let calls talk, for as long as the block."""
    load = Talking(sockets)
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        thread.join()
