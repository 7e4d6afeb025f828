"""The way of a new call, for callgrind to count: `tests/bench/accept_instructions.py` runs this.

A whole worker, in this process, with a listener of its own and an arena of SLOTS. What is counted is the worker's
turns, from the accept on: of `kept` until its 101 is sent, of `ended` until its connection is closed as well. The peers
are not counted.

Two sizes of each kind, so that whatever a run has once cancels out. The loop's clock advances by a step each time that
it is asked, so that turns are the same on every machine.
"""

import gc
import itertools
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from audiohook.config import Config
from audiohook.config.live import LiveSettings
from audiohook.memory import layout
from audiohook.memory.arena import MemoryFiles
from audiohook.net.journal import begin_logging
from audiohook.net.listener import open_listener
from audiohook.net.seat import WorkerSeat
from audiohook.units import NS_PER_S
from audiohook.wire.client import masked_frame
from audiohook.worker.process import Worker
from tests.bench.accept_clients import request_of
from tests.bench.callgrind import Requests
from tests.support.peer import CLOSE, MASK

KEPT, ENDED = KINDS = ("kept", "ended")
SIZES = (16, 64)
AT_ONCE = 16
SLOTS = 1264
"""Of a host: what is searched for an earlier stream of the same call."""

STEP_NS = 500
START_NS = 1_000 * NS_PER_S
CLOSE_FRAME = masked_frame((1000).to_bytes(2, "big"), MASK, CLOSE)
CLOSE_ANSWER = b"\x88\x02\x03\xe8"


class Running:
    """A worker that turns when it is told to, and its peers."""

    def __init__(self, worker: Worker, address: tuple[str, int], requests: Requests) -> None:
        self.worker = worker
        self._address = address
        self._requests = requests
        self.kept: list[socket.socket] = []

    def turn(self) -> None:
        """Turn once, counted."""
        toggle = self._requests.toggle
        toggle()
        self.worker.loop.turn()
        toggle()

    def come(self, kind: str, calls: int) -> None:
        """Let so many calls come, a few at once."""
        for begin in range(0, calls, AT_ONCE):
            count = min(AT_ONCE, calls - begin)
            peers = [self._connected() for _ in range(count)]
            for peer in peers:
                self._await(peer, b"\r\n\r\n")
            if kind == ENDED:
                self._end(peers)
            else:
                self.kept += peers

    def _connected(self) -> socket.socket:
        peer = socket.create_connection(self._address)
        peer.setblocking(False)
        peer.sendall(request_of(KEPT))
        return peer

    def _await(self, peer: socket.socket, end: bytes) -> None:
        received = b""
        while not received.endswith(end):
            try:
                data = peer.recv(65_536)
            except BlockingIOError:
                self.turn()
                continue
            assert data, f"the worker closed behind {received!r}"
            received += data
        assert end == CLOSE_ANSWER or received.startswith(b"HTTP/1.1 101 "), received

    def _end(self, peers: list[socket.socket]) -> None:
        for peer in peers:
            peer.sendall(CLOSE_FRAME)
        for peer in peers:
            self._await(peer, CLOSE_ANSWER)
            peer.close()
        while len(self.worker.connections) > len(self.kept):
            self.turn()


@contextmanager
def running(requests: Requests, slots: int = SLOTS) -> Iterator[Running]:
    """Run a worker as a supervisor would seat it, but for the process."""
    config = Config()
    with ExitStack() as stack:
        files = MemoryFiles(layout.geometry(slots=slots, rows=2, ring_seconds=1, event_records=1024))
        stack.callback(lambda: [os.close(fd) for fd in files.descriptors().values()])
        listener = stack.enter_context(open_listener("127.0.0.1:0", 1024))
        commands, _ = (stack.enter_context(end) for end in socket.socketpair())
        seat = WorkerSeat(0, 1, (listener,), -1, -1, commands.fileno())
        worker = Worker(seat, files, config, None, False, LiveSettings.made_of(config))
        now_ns = itertools.count(START_NS, STEP_NS)
        worker.loop.clock = lambda: next(now_ns)
        worker.row.set("state", layout.ROW_ACCEPTING)
        worker.acceptor.look(START_NS)
        made = Running(worker, listener.getsockname(), requests)
        yield made
        for connection in list(worker.connections):
            connection.drop(next(now_ns), reset=True)
        for peer in made.kept:
            peer.close()


def main() -> None:
    requests = Requests()
    sys.stderr = open(os.devnull, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 - written to until the end
    begin_logging("info")
    with running(requests) as made:
        for kind in KINDS:
            made.come(kind, SIZES[0])  # what the first ones bring with them, imports and tables
        gc.collect()
        gc.freeze()
        gc.disable()
        requests.start()
        for size in SIZES:
            for kind in KINDS:
                requests.zero()
                made.come(kind, size)
                requests.dump(f"{kind} {size}")


if __name__ == "__main__":
    main()
