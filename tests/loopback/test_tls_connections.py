"""worker/transport.py in a worker's loop: handshakes a turn, their deadline, overload; and calls through it."""

import socket
from collections.abc import Iterator

import pytest

from audiohook.config import Config, Tls
from audiohook.net.stream_socket import StreamSocket
from audiohook.net.tls_pair import TlsPair
from audiohook.units import NS_PER_S, seconds_ns
from audiohook.worker.transport import STEPS_A_TURN, Transport
from tests.support.calls import frame, plain, upgrade
from tests.support.certificates import Authority
from tests.support.connections import ACCESS, PEER, ConnectionBench, Peer, connections
from tests.support.tcp import wait_readable
from tests.support.tls import TlsClient, anybody

OPUS_SILENCE = b"\xf8\xff\xfe"
CROWD = 3 * STEPS_A_TURN


class TlsWorker:
    """A worker's worth of connections that speak TLS."""

    def __init__(self, bench: ConnectionBench, tls: Tls) -> None:
        self.bench = bench
        self.tls = tls
        config = Config(tls=tls)
        self.transport = Transport(config, TlsPair(tls), bench.loop, bench.overload, bench.row, ACCESS)

    def connect(self) -> tuple[Peer, TlsClient]:
        def opened(accepted: socket.socket) -> StreamSocket:
            return self.transport.open(accepted, PEER[0], self.bench.loop.clock())

        return self.bench.connect(open_socket=opened), TlsClient(anybody())

    def agreed(self) -> tuple[Peer, TlsClient]:
        peer, client = self.connect()
        peer.send(client.step())
        while not client.established:
            self.bench.until(lambda: bool(peer.received), peer)
            peer.send(client.step(taken(peer)))
        return peer, client


def taken(peer: Peer) -> bytes:
    data = bytes(peer.received)
    peer.received.clear()
    return data


def heard(peer: Peer, client: TlsClient) -> bytes:
    client.step(taken(peer))
    return bytes(client.received)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    made = Authority(tmp_path_factory.mktemp("authority")).pair()
    return Tls(certificate_file=str(made.certificate), key_file=str(made.key))


@pytest.fixture
def worker(settings: Tls) -> Iterator[TlsWorker]:
    with connections() as bench:
        yield TlsWorker(bench, settings)


def test_a_call_through_tls(worker: TlsWorker) -> None:
    bench = worker.bench
    peer, client = worker.agreed()
    peer.send(client.records(upgrade()))
    bench.until(lambda: b"\r\n\r\n" in heard(peer, client), peer)
    assert client.received.startswith(b"HTTP/1.1 101")
    peer.send(client.records(frame(OPUS_SILENCE) * 3))
    bench.until(lambda: bench.count("packets") == 3)
    assert bench.count("tls_handshakes") == 1


def test_a_large_record_of_frames_is_taken_to_its_end(worker: TlsWorker) -> None:
    """More than one read's worth in one record, and then silence: nothing is left in OpenSSL."""
    bench = worker.bench
    peer, client = worker.agreed()
    peer.send(client.records(upgrade()))
    bench.until(lambda: bench.count("streams_opened") == 1)
    packet = frame(OPUS_SILENCE)
    count = 16_000 // len(packet)
    peer.send(client.records(packet * count))
    bench.until(lambda: bench.count("packets") == count)


def test_a_turn_takes_no_more_than_its_steps(worker: TlsWorker) -> None:
    peers = [worker.connect() for _ in range(CROWD)]
    for peer, client in peers:
        peer.send(client.step())
        wait_readable(peer.connection._socket)
    answered = [0]
    while answered[-1] < CROWD:
        worker.bench.loop.turn()
        for peer, _ in peers:
            peer.read()
        answered.append(sum(bool(peer.received) for peer, _ in peers))
        # Fewer, where the time of newcomers in a turn is over before.
        assert 1 <= answered[-1] - answered[-2] <= STEPS_A_TURN
    assert len(answered) > CROWD // STEPS_A_TURN


def test_a_live_call_waits_for_no_more_than_the_steps_of_a_turn(worker: TlsWorker) -> None:
    bench = worker.bench
    live, client = worker.agreed()
    live.send(client.records(upgrade()))
    bench.until(lambda: bench.count("streams_opened") == 1)
    peers = [worker.connect() for _ in range(CROWD)]
    for peer, other in peers:
        peer.send(other.step())
        wait_readable(peer.connection._socket)
    live.send(client.records(frame(OPUS_SILENCE)))
    wait_readable(live.connection._socket)
    bench.loop.turn()
    assert bench.count("packets") == 1
    for peer, _ in peers:
        peer.read()
    assert sum(bool(peer.received) for peer, _ in peers) <= STEPS_A_TURN


@pytest.mark.parametrize("said", [0, 1, 100])
def test_the_deadline_is_absolute(worker: TlsWorker, said: int) -> None:
    """Bytes do not put it off."""
    bench, deadline_ns = worker.bench, seconds_ns(worker.tls.handshake_seconds)
    peer, client = worker.connect()
    hello = client.step()
    for place in range(said):
        bench.skipped_ns += deadline_ns // 200
        peer.send(hello[place : place + 1])
        bench.loop.turn()
    assert bench.connections
    bench.skipped_ns += deadline_ns
    assert peer.gone().end == "reset"
    assert not bench.connections
    assert (bench.count("tls_timeout"), bench.count("request_timeout")) == (1, 0)


def test_who_is_through_is_not_ended_by_it(worker: TlsWorker) -> None:
    bench = worker.bench
    peer, client = worker.agreed()
    peer.send(client.records(upgrade()))
    bench.until(lambda: bench.count("streams_opened") == 1)
    bench.skipped_ns += seconds_ns(worker.tls.handshake_seconds) - NS_PER_S
    for _ in range(3):
        bench.loop.turn()
    bench.skipped_ns += 2 * NS_PER_S
    for _ in range(3):
        bench.loop.turn()
    assert bench.connections
    assert bench.count("tls_timeout") == 0


def test_a_request_after_the_handshake_has_its_own_deadline(worker: TlsWorker) -> None:
    bench = worker.bench
    peer, client = worker.agreed()
    peer.send(client.records(upgrade()[:20]))
    bench.loop.turn()
    bench.skipped_ns += bench.terms.request_ns
    bench.until(lambda: bench.count("request_timeout") == 1)
    peer.gone()
    client.step(taken(peer))
    assert client.received.startswith(b"HTTP/1.1 408")
    assert client.ended


def test_while_new_calls_are_refused_no_handshake_is_begun(worker: TlsWorker) -> None:
    bench = worker.bench
    begun, client = worker.connect()
    begun.send(client.step())
    bench.until(lambda: bool(begun.received), begun)
    bench.overload.refusing = True
    late, other = worker.connect()
    late.send(other.step()).gone()
    assert not late.received
    assert bench.count("overloaded") == 1
    begun.send(client.step(taken(begun)))
    bench.until(lambda: bench.count("tls_handshakes") == 1)


def test_plain_http_and_who_only_knocks(worker: TlsWorker) -> None:
    bench = worker.bench
    peer, _ = worker.connect()
    peer.send(plain("GET", "/healthz")).gone()
    assert b"HTTP" not in peer.received
    assert bench.count("tls_failed") == 1
    knocking, _ = worker.connect()
    knocking.socket.shutdown(socket.SHUT_WR)
    knocking.gone()
    assert bench.count("tls_failed") == 1
    assert not bench.connections


def test_a_health_check_is_answered_and_ended_properly(worker: TlsWorker) -> None:
    peer, client = worker.agreed()
    peer.send(client.records(plain("GET", "/healthz"))).gone()
    client.step(taken(peer))
    assert client.received.startswith(b"HTTP/1.1 200")
    assert client.ended
