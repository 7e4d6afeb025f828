"""A worker's loop with real connections over TCP and a real small arena, without the process around them.

Both ends live in one thread: the peer writes into the kernel's buffers, the loop turns until something is seen. The
loop's clock is the real one plus `skipped_ns`, so that a test can let hours pass, or let the worker "stand still",
without waiting for them.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from audiohook.call import Terms
from audiohook.config import Config
from audiohook.memory import layout
from audiohook.memory.cards import read_card
from audiohook.memory.event_ring import EventReader
from audiohook.memory.row import Row
from audiohook.memory.watch import map_watch
from audiohook.net.loop import Loop
from audiohook.net.stream_socket import StreamSocket
from audiohook.session.events import Identity
from audiohook.units import NS_PER_MS
from audiohook.wire.client import UpgradeAnswer, UpgradeReader
from audiohook.wire.frames import Message, WebSocket
from audiohook.worker.access import Access
from audiohook.worker.connection import Connection
from audiohook.worker.intake import Intake
from audiohook.worker.overload import Overload
from audiohook.worker.share import Share
from audiohook.worker.stream_intake import StreamIntake
from tests.support.calls import KEY, call_terms, upgrade
from tests.support.memory import Bench
from tests.support.tcp import PATIENCE_SECONDS, tcp_pair

SIZES = layout.geometry(slots=4, rows=2, ring_seconds=1, event_records=64)
TURN_NS = NS_PER_MS
OVERLOAD_NS = 300 * NS_PER_MS
ACCESS = Access(Config())
PEER = ("127.0.0.1", 5)


class Peer:
    """The far end of one connection."""

    def __init__(self, worker: "ConnectionBench", connected: socket.socket, connection: Connection) -> None:
        connected.setblocking(False)
        self._worker = worker
        self.socket = connected
        self.connection = connection
        self.received = bytearray()
        self.end = ""
        """How the worker's side ended: "", "closed" (end of file) or "reset"."""

    def send(self, data: bytes) -> "Peer":
        """Send all of it; the worker's loop turns while the kernel takes no more."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                self._worker.loop.turn()
            except (ConnectionResetError, BrokenPipeError):
                return self
        return self

    def read(self) -> None:
        """Take what has arrived."""
        while not self.end:
            try:
                data = self.socket.recv(65_536)
            except BlockingIOError:
                return
            except ConnectionResetError:
                self.end = "reset"
                return
            self.received += data
            if not data:
                self.end = "closed"

    def upgraded(self, **request: Any) -> "Peer":
        """Ask for an upgrade and turn until it is accepted."""
        self.send(upgrade(**request))
        self._worker.until(lambda: b"\r\n\r\n" in self.received, self)
        assert self.answer().accepted
        return self

    def answer(self) -> UpgradeAnswer:
        reader = UpgradeReader(KEY)
        answer = reader.receive_data(bytes(self.received)) or reader.receive_eof()
        assert answer is not None
        return answer

    def messages(self) -> list[Message]:
        reader = UpgradeReader(KEY)
        answer = reader.receive_data(bytes(self.received))
        assert answer is not None
        assert answer.accepted
        return WebSocket(client=True, max_message_bytes=1 << 20).receive_data(reader.trailing())

    def gone(self) -> "Peer":
        """Turn until the worker's side has ended."""
        self._worker.until(lambda: bool(self.end), self)
        return self


class ConnectionBench:
    """One worker's worth: a loop, a row, an intake, and the connections that live in it."""

    def __init__(self, memory: Bench, terms: Terms | None = None) -> None:
        self.memory = memory
        self.row = Row(memory.arena, 0)
        self.terms = terms or call_terms()
        self.skipped_ns = 0
        self.loop = Loop(lambda now_ns: now_ns + TURN_NS, lambda: time.monotonic_ns() + self.skipped_ns)
        self.intake = Intake(Share(memory.arena, memory.pool, self.row, 1, map_watch(memory.files.watch)))
        self.overload = Overload(OVERLOAD_NS)
        self.connections: set[Connection] = set()
        self.gone: list[Connection] = []
        self._events = EventReader(memory.reader, 0, oldest=True)
        self._peers: list[Peer] = []

    def connection_gone(self, connection: Connection) -> None:
        self.connections.remove(connection)
        self.gone.append(connection)

    def connect(
        self, *, buffer_bytes: int = 0, open_socket: Callable[[socket.socket], StreamSocket] = StreamSocket
    ) -> Peer:
        """Connect a peer; `buffer_bytes` as in `tcp_pair`, `open_socket` makes what the connection speaks through."""
        accepted, connected = tcp_pair(buffer_bytes)
        connection = Connection(
            open_socket(accepted),
            ("127.0.0.1", 5),
            self.terms,
            ACCESS,
            self.loop,
            self.intake,
            self.overload,
            self,
            self.loop.clock(),
        )
        self.connections.add(connection)
        self._peers.append(Peer(self, connected, connection))
        return self._peers[-1]

    def clear_way(self, identity: Identity, now_ns: int, then: Callable[[int], None]) -> bool:
        """Nobody else is there."""
        return True

    def stream_began(self, connection: Connection, stream: StreamIntake) -> None:
        """A worker would remember where it is."""

    def until(self, condition: Callable[[], bool], *peers: Peer) -> None:
        """Turn until `condition`; `peers` read meanwhile."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s"
            self.loop.turn()
            for peer in peers:
                peer.read()

    def count(self, name: str) -> int:
        return self.memory.reader.words[layout.counter_word(self.memory.geometry, 0, name)]

    def histogram(self, name: str) -> dict[int, int]:
        """Return the filled buckets of a histogram: by bit length, how many."""
        at = layout.histogram_word(self.memory.geometry, 0, name)
        words = self.memory.reader.words[at : at + layout.HISTOGRAM_BUCKETS]
        return {bucket: count for bucket, count in enumerate(words) if count}

    def events(self) -> list[dict[str, Any]]:
        """Return the lifecycle events since the last call."""
        texts, lost = self._events.take()
        assert lost == 0
        return [msgspec.json.decode(text) for text in texts]

    def card(self, slot: int) -> dict[str, Any]:
        return read_card(self.memory.reader, slot)

    def free_slots(self) -> int:
        """Count the slots whose lock another process could take now."""
        others = self.memory.new_pool().locks
        free = [slot for slot in range(self.memory.geometry.slots) if others.try_lock(slot)]
        for slot in free:
            others.unlock(slot)
        others.close()
        return len(free)

    def close(self) -> None:
        for connection in list(self.connections):
            connection.drop(self.loop.clock(), reset=True)
        for peer in self._peers:
            peer.socket.close()
        self.loop.close()


@contextmanager
def connections(terms: Terms | None = None) -> Iterator[ConnectionBench]:
    memory = Bench(SIZES)
    worker = ConnectionBench(memory, terms)
    try:
        yield worker
    finally:
        worker.close()
        memory.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
