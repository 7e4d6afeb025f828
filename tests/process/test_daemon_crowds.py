"""Strangers in numbers: silent ones, garbage, no descriptor left. Calls go on, new ones get in, the log stays short."""

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.daemon import Daemon, cpu_seconds, descriptors
from tests.support.peer import Peer, Talking, call

StartDaemon = Callable[..., Daemon]
STRANGERS = 300
WAITING = 40


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def strangers(daemon: Daemon, stack: ExitStack, count: int, say: bytes) -> list[socket.socket]:
    connected = [stack.enter_context(socket.create_connection(daemon.address, 40)) for _ in range(count)]
    for one in connected:
        try:
            one.sendall(say)
        except (ConnectionResetError, BrokenPipeError):
            pass  # dropped for newer ones already
    return connected


def check_talking(daemon: Daemon, peers: list[Peer], talking: Talking) -> None:
    """Every call has talked all the time, and none lost a sample."""
    daemon.wait(lambda: all(len(peer.sent) > 20 for peer in peers), "20 packets of every call")
    assert not talking.broken
    for peer in peers:
        talking.take(peer)
        stream = daemon.hub.open(participant_id=peer.participant_id)
        daemon.wait(lambda peer=peer, stream=stream: stream.totals.packets == len(peer.sent), "every packet")
        assert stream.totals.decoded == stream.totals.length


def test_slowloris_keeps_nobody_out(start_daemon: StartDaemon, stack: ExitStack) -> None:
    daemon = start_daemon(f"admission.waiting_per_worker={WAITING}", "server.workers=2")
    talking = stack.enter_context(Talking())
    peers = [call(daemon.address) for _ in range(6)]
    for number, peer in enumerate(peers):
        talking.add(peer, number)
    strangers(daemon, stack, STRANGERS, b"GET / HTTP/1.1\r\nhost:")
    late = call(daemon.address)
    talking.add(late, 6)
    check_talking(daemon, [*peers, late], talking)
    daemon.wait(lambda: daemon.live() <= 2 * WAITING + 7, "strangers enough to be dropped")
    assert daemon.counter("crowded_out") >= STRANGERS - 2 * WAITING
    said = daemon.logged("connections without a stream dropped for newer ones times=1 from=127.0.0.1")
    assert 1 <= len(said) <= 2, "one a worker"
    assert daemon.counter("peer_vanished") == 0


def test_garbage_writes_no_line_each(start_daemon: StartDaemon, stack: ExitStack) -> None:
    daemon = start_daemon("server.workers=2")
    for one in strangers(daemon, stack, STRANGERS, b"\x16\x03\x01 no HTTP\r\n\r\n"):
        assert one.recv(4096).startswith(b"HTTP/1.1 400 ")
        one.close()
    daemon.wait(lambda: daemon.counter("request_malformed") == STRANGERS, "every refusal")
    assert 1 <= len(daemon.logged("peer refused reason=request_malformed ")) <= 2
    assert daemon.log.count("\n") < 30


def test_without_descriptors_calls_go_on_and_calls_come_in(start_daemon: StartDaemon, stack: ExitStack) -> None:
    daemon = start_daemon("server.workers=1", "memory.streams=32")
    talking = stack.enter_context(Talking())
    peers = [call(daemon.address) for _ in range(6)]
    for number, peer in enumerate(peers):
        talking.add(peer, number)
    (worker,) = daemon.workers().values()
    soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (max(descriptors(worker)) + 12, hard))
    strangers(daemon, stack, 60, b"GET / HTTP/1.1\r\nhost:")
    late = [call(daemon.address) for _ in range(4)]
    for number, peer in enumerate(late, len(peers)):
        talking.add(peer, number)
    assert 40 < daemon.counter("crowded_out") <= daemon.counter("exhausted")
    assert len(daemon.logged("cannot accept: Too many open files times=1")) == 1
    check_talking(daemon, [*peers, *late], talking)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
    before = daemon.counter("exhausted")
    for _ in range(15):
        stack.enter_context(call(daemon.address))
    assert daemon.counter("exhausted") == before
    assert daemon.workers() == {0: worker}


def test_with_nobody_to_spare_a_worker_rests_until_there_is_room(start_daemon: StartDaemon, stack: ExitStack) -> None:
    """Every descriptor is a call's: none of them pays for the connection that waits, and the worker does not spin."""
    daemon = start_daemon("server.workers=1", "memory.streams=32")
    (worker,) = daemon.workers().values()
    hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)[1]
    peers = [call(daemon.address) for _ in range(4)]
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (max(descriptors(worker)) + 1, hard))
    talking = stack.enter_context(Talking())
    for number, peer in enumerate(peers):
        talking.add(peer, number)
    waiting = stack.enter_context(Peer(daemon.address))
    waiting.send(waiting.request)
    daemon.wait(lambda: daemon.counter("exhausted") >= 2, "a second try, a moment later")
    before = cpu_seconds(worker)
    tried = daemon.counter("exhausted")
    daemon.wait(lambda: daemon.counter("exhausted") > tried, "the next try")
    assert cpu_seconds(worker) - before < 0.5, "it spins"
    assert len(daemon.logged("cannot accept: ")) == 1
    check_talking(daemon, peers, talking)
    peers[0].close()
    assert waiting.read_answer().accepted
    assert daemon.counter("crowded_out") == 0
