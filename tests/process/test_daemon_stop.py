"""SIGTERM drains: calls go on to their end and lose nothing, nobody new comes in, the daemon leaves with the last."""

import os
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.daemon import Daemon
from tests.support.peer import Peer, Talking, call, decoded, packets_of

StartDaemon = Callable[..., Daemon]

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n"


def health(daemon: Daemon) -> tuple[int, bytes]:
    with Peer(daemon.address) as peer:
        peer.send(HEALTH)
        answer = peer.read_answer()
        return answer.status, answer.body


def drained(daemon: Daemon) -> None:
    daemon.wait_logged("worker drains", len(daemon.workers()))


def test_drain_keeps_live_calls_whole_and_refuses_new_ones(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    hub_path = daemon.hub_path
    assert health(daemon) == (200, b"ok\n")
    with Talking() as talking:
        peers = [call(daemon.address) for _ in range(6)]
        streams = [daemon.hub.open(call_id=peer.call_id) for peer in peers]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        daemon.wait(lambda: all(len(peer.sent) > 5 for peer in peers), "five packets of each call")
        daemon.signal(signal.SIGTERM)
        drained(daemon)
        for _ in range(10):
            assert health(daemon) == (503, b"draining\n")
            with Peer(daemon.address) as late:
                answer = late.upgrade()
                assert (answer.status, answer.get("retry-after"), answer.body) == (503, "5", b"shutting down\n")
        assert daemon.counter("draining") == 10
        count = min(len(peer.sent) for peer in peers)
        daemon.wait(lambda: all(len(peer.sent) > count + 25 for peer in peers), "more packets, while draining")
        for peer in peers[:-1]:
            assert talking.take(peer).close() == 1000
        assert daemon.processes()
        assert health(daemon) == (503, b"draining\n")
        assert talking.take(peers[-1]).close() == 1000
        assert daemon.wait_exit() == 0
        assert not daemon.processes()
    for peer, stream in zip(peers, streams, strict=True):
        assert (stream.state, stream.end_reason) == ("ENDED", "peer_closed")
        assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))
    assert not os.path.exists(hub_path)
    events = [event["event"] for event in daemon.events()]
    assert events.count("service_stopping") == 1
    assert events.count("stream_started") == events.count("stream_ended") == 6


@pytest.mark.parametrize("second", ["deadline", "SIGTERM", "SIGINT", "SIGQUIT"])
def test_calls_that_outlast_the_drain_are_ended_properly(start_daemon: StartDaemon, second: str) -> None:
    daemon = start_daemon(f"server.drain_seconds={0.5 if second == 'deadline' else 600}")
    with Talking() as talking:
        peers = [call(daemon.address) for _ in range(6)]
        streams = [daemon.hub.open(call_id=peer.call_id) for peer in peers]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        daemon.wait(lambda: all(len(peer.sent) > 5 for peer in peers), "five packets of each call")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        drained(daemon)
        if second != "deadline":
            daemon.signal(signal.Signals[second])
        for peer in peers:
            assert peer.read_close() == (1012, "service restart")
        if second == "deadline":
            assert time.monotonic() - began >= 0.5
        for peer in peers:
            assert talking.take(peer).answer_close(1012) == "eof"
        assert daemon.wait_exit() == 0
        assert not daemon.processes()
    for peer, stream in zip(peers, streams, strict=True):
        assert (stream.state, stream.end_reason, stream.close_code) == ("ENDED", "shutdown", 1012)
        assert stream.close_reason == "service restart"
        read = stream.latest(60).samples[:, 0]
        assert np.array_equal(read, decoded(peer.sent)[: len(read)])
        assert len(read) > 0
    assert daemon.counter("shutdown") == len(peers)
    assert sorted(daemon.stream_lines("started")) == sorted(daemon.stream_lines("ended"))


def test_peers_that_never_answer_do_not_keep_the_daemon(start_daemon: StartDaemon) -> None:
    """Neither one that ignores the close frame, nor one that sent half a request, nor one that sent none."""
    daemon = start_daemon("server.drain_seconds=0")
    deaf, half, mute = call(daemon.address), Peer(daemon.address), Peer(daemon.address)
    half.send(half.request[:-2])
    daemon.wait(lambda: daemon.live() == 3, "three connections")
    daemon.signal(signal.SIGTERM)
    assert half.read_answer().status == 503
    assert mute.read_answer().status == 503
    assert daemon.wait_exit() == 0
    assert deaf.read_close() == (1012, "service restart")
    for peer in (deaf, half, mute):
        peer.socket.close()
    assert not daemon.logged("killed by signal")


def test_signals_to_a_worker_alone_are_what_they_are_to_all(start_daemon: StartDaemon) -> None:
    """A worker that was told to drain by hand leaves with its last call; the supervisor puts another in its place."""
    daemon = start_daemon("server.workers=1")
    with call(daemon.address) as peer:
        first = daemon.workers()[0]
        os.kill(first, signal.SIGTERM)
        drained(daemon)
        peer.send_packets(packets_of(1)[:30])
        stream = daemon.hub.open(call_id=peer.call_id)
        daemon.wait(lambda: stream.totals.packets == 30, "every packet")
        peer.close()
    daemon.wait(lambda: daemon.workers().get(0) not in (None, first), "the successor")
    with call(daemon.address) as peer:
        peer.close()
    assert daemon.stop() == 0


def test_ctrl_c_of_the_whole_group_drains(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with call(daemon.address) as peer:
        os.killpg(daemon.pid, signal.SIGINT)
        drained(daemon)
        peer.send_packets(packets_of(1)[:30])
        stream = daemon.hub.open(call_id=peer.call_id)
        peer.close()
        assert stream.totals.packets == 30
    assert daemon.wait_exit() == 0
