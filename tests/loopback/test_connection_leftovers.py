"""What is left of a connection that is gone: small things until its last timer is due, and nothing then.

A timer cannot be taken back (net/loop.py), and a worker remembers the last connection of each slot. So whoever is gone
must not hold what it had read, or could not send: one that does not read may leave 64 KB.
"""

import gc
import weakref
from collections.abc import Iterator

import pytest

from audiohook.net.stream_socket import READ_BYTES
from audiohook.wire.client import masked_frame
from tests.support.calls import MASK, PING, RECONNECT_NS, REQUEST_NS, frame, upgrade
from tests.support.connections import ConnectionBench, Peer, connections

FULL_BYTES = 32_768
MOST_BYTES = 4096


@pytest.fixture
def worker() -> Iterator[ConnectionBench]:
    with connections() as made:
        yield made


def held_bytes(peer: Peer) -> int:
    """Return the length of all bytes that a connection holds, its socket's queue among them."""
    connection = peer.connection
    seen: list[object] = [connection._pending, connection._socket._unsent]
    seen += [value for value in vars(connection._call).values() if isinstance(value, bytes | bytearray)]
    return sum(len(value) for value in seen if isinstance(value, bytes | bytearray))


def test_what_could_not_be_sent_goes_with_the_connection(worker: ConnectionBench) -> None:
    peer = worker.connect(buffer_bytes=4096).upgraded()
    while len(peer.connection._socket._unsent) < FULL_BYTES:
        peer.send(frame(b"x" * 100, PING))
        worker.loop.turn()
    peer.connection.drop(worker.loop.clock(), reset=True)
    assert held_bytes(peer) < MOST_BYTES


def test_what_waits_in_the_bulk_lane_goes_with_the_connection(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    peer.send(b"".join(masked_frame(bytes(1000), MASK) for _ in range(8)))
    worker.until(lambda: len(peer.connection._pending) == READ_BYTES)
    peer.connection.drop(worker.loop.clock(), reset=True)
    assert held_bytes(peer) == 0


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n", upgrade()])
def test_the_last_timer_lets_go_of_the_connection(worker: ConnectionBench, said: bytes) -> None:
    peer = worker.connect().send(said)
    worker.loop.turn()
    gone = weakref.ref(peer.connection._call)
    peer.connection.drop(worker.loop.clock(), reset=True)
    worker.gone.clear()
    worker._peers.clear()
    peer.socket.close()
    del peer
    assert worker.loop._timers
    worker.skipped_ns += REQUEST_NS + RECONNECT_NS
    worker.loop.turn()
    assert not worker.loop._timers
    gc.collect()
    assert gone() is None
