"""worker/connection.py: whatever ends a connection, or keeps it from beginning, nothing of it is left behind."""

import gc
import logging
import socket
from collections.abc import Iterator

import pytest

from audiohook.codec.opus import OpusDecoder, OpusError
from audiohook.errors import SHUTDOWN
from audiohook.memory import layout
from audiohook.memory.writer import StreamWriter
from audiohook.net.stream_socket import MAX_UNSENT_BYTES
from audiohook.session.context import CLOSE_WAIT_NS
from audiohook.wire.frames import CloseReceived
from audiohook.worker.share import Share
from audiohook.worker.stream_intake import StreamIntake
from tests.support.calls import HEADERS, PING, REQUEST_NS, call_terms, close_frame, frame, plain, upgrade
from tests.support.connections import ConnectionBench, Peer, connections, open_descriptors

OPUS_SILENCE = b"\xf8\xff\xfe"
"""20 ms of silence: a CELT packet that libopus' own documentation gives."""


@pytest.fixture
def worker() -> Iterator[ConnectionBench]:
    with connections() as made:
        yield made


def finished(worker: ConnectionBench, peer: Peer) -> None:
    """Let the peer go, and the worker see it."""
    peer.socket.close()
    worker.until(lambda: peer.connection not in worker.connections)


# Refusals


def bad_upgrades() -> list[bytes]:
    return [
        upgrade(HEADERS[1:]),
        upgrade([("x-genesys-call-id", "not a uuid"), *HEADERS[1:]]),
        upgrade().replace(b"version: 13", b"version: 8"),
        plain("GET", "/nothing"),
        plain("POST", "/healthz"),
        plain("GET", "/healthz"),
        b"\x16\x03\x01",
        b"x" * 5000,
    ]


def test_the_refused_leave_nothing_behind(worker: ConnectionBench) -> None:
    requests = bad_upgrades()
    gc.collect()
    before = open_descriptors()
    for _ in range(3):
        for request in requests:
            peer = worker.connect()
            peer.send(request).gone()
            assert peer.end == "closed"
            assert peer.answer().status not in (0, 101)
            finished(worker, peer)
    assert open_descriptors() == before
    assert worker.free_slots() == 4
    assert [worker.card(slot)["state"] for slot in range(4)] == [layout.FREE] * 4
    assert (worker.connections, len(worker.gone)) == (set(), 3 * len(requests))
    slugs = ["header_missing", "header_malformed", "version_unsupported", "not_found", "method_not_allowed"]
    assert [worker.count(slug) for slug in slugs] == [3] * 5
    assert [worker.count(slug) for slug in ("request_malformed", "request_too_large", "health_checks")] == [3] * 3
    assert worker.count("streams_opened") == 0
    assert worker.events() == []


def test_streams_leave_nothing_behind(worker: ConnectionBench) -> None:
    gc.collect()
    before = open_descriptors()
    for _ in range(12):
        peer = worker.connect().upgraded()
        peer.send(frame(OPUS_SILENCE) + close_frame(1000)).gone()
        finished(worker, peer)
    assert open_descriptors() == before
    assert worker.free_slots() == 4
    assert worker.count("streams_ended") == 12


def test_no_free_slot_is_a_503_and_the_next_one_gets_it(worker: ConnectionBench) -> None:
    peers = [worker.connect().upgraded() for _ in range(4)]
    refused = worker.connect()
    refused.send(upgrade() + frame(OPUS_SILENCE)).gone()
    assert (refused.answer().status, refused.answer().get("retry-after")) == (503, "5")
    assert worker.count("no_slot") == 1
    peers[2].send(close_frame(1000)).gone()
    worker.connect().upgraded()
    assert worker.free_slots() == 0
    assert all(peer.connection.streaming for peer in (peers[0], peers[1], peers[3]))


def test_no_decoder_is_a_503_and_touches_no_slot(worker: ConnectionBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: OpusDecoder, rate_hz: int, channels: int = 1) -> None:
        raise OpusError("no decoder", -7)

    monkeypatch.setattr(OpusDecoder, "__init__", none_left)
    peer = worker.connect()
    peer.send(upgrade()).gone()
    assert peer.answer().status == 503
    assert (worker.count("no_decoder"), worker.card(0)["state"], worker.free_slots()) == (1, layout.FREE, 4)


def test_a_request_that_does_not_come_in_time(worker: ConnectionBench) -> None:
    peer = worker.connect().send(upgrade()[:40])
    worker.loop.turn()
    worker.skipped_ns += REQUEST_NS
    assert peer.gone().answer().status == 408
    worker.skipped_ns += CLOSE_WAIT_NS
    worker.until(lambda: worker.connections == set())
    assert worker.count("request_timeout") == 1


# Ends of ours


def test_shutdown_tells_the_peer_and_waits_for_its_answer(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    peer.connection.close(SHUTDOWN, worker.loop.clock())
    assert worker.card(0)["end_reason"] == "shutdown", "readers see it at once"
    assert worker.free_slots() == 4
    peer.send(frame(OPUS_SILENCE) + close_frame(1012)).gone()
    assert (peer.end, peer.messages()) == ("closed", [CloseReceived(1012, "service restart")])
    assert worker.memory.stream(0).totals.length == 0, "what comes after the end belongs to nobody"


def test_shutdown_of_a_peer_that_does_not_answer_ends_in_a_reset(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    peer.connection.close(SHUTDOWN, worker.loop.clock())
    worker.loop.turn()
    assert worker.connections == {peer.connection}
    worker.skipped_ns += CLOSE_WAIT_NS
    assert peer.gone().end == "reset"
    assert peer.messages() == [CloseReceived(1012, "service restart")]
    assert worker.connections == set()


def test_drop_happens_once(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    for _ in range(3):
        peer.connection.drop(worker.loop.clock(), reset=False)
    peer.connection.close(SHUTDOWN, worker.loop.clock())
    assert worker.gone == [peer.connection]
    assert worker.count("streams_ended") == 1
    worker.skipped_ns += REQUEST_NS
    worker.loop.turn()
    assert peer.gone().end == "closed"


# Peers that do not read


def stalling(worker: ConnectionBench) -> Peer:
    """Return a peer that has upgraded, reads nothing, and for whom bytes wait in our own queue."""
    peer = worker.connect(buffer_bytes=4096).upgraded()
    pings = frame(bytes(125), PING) * 20
    for _ in range(500):
        if peer.connection._socket.has_unsent:
            return peer
        peer.send(pings)
        worker.loop.turn()
    raise AssertionError("the kernel takes everything")


def test_a_peer_that_never_reads_is_reset_when_its_queue_is_full(worker: ConnectionBench) -> None:
    peer = stalling(worker)
    ping = frame(bytes(125), PING)
    sent = 0
    while worker.connections and sent < 4 * MAX_UNSENT_BYTES:
        try:
            sent += peer.socket.send(ping)
        except (BlockingIOError, ConnectionError):
            pass
        worker.loop.turn()
    assert worker.connections == set()
    assert peer.gone().end == "reset"
    assert worker.card(0)["end_reason"] == "send_stalled"
    assert (worker.count("send_stalled"), worker.free_slots()) == (1, 4)


@pytest.mark.parametrize("end", ["end of file", "close frame", "close frame and end of file"])
def test_a_peer_that_ends_without_reading_is_not_waited_for(worker: ConnectionBench, end: str) -> None:
    """Its socket stays readable at the end of file: waiting for room to send would be spinning, and for ever."""
    peer = stalling(worker)
    if "close frame" in end:
        peer.send(close_frame(1000))
    if "end of file" in end:
        peer.socket.shutdown(socket.SHUT_WR)
    worker.until(lambda: not peer.connection.streaming)
    worker.skipped_ns += CLOSE_WAIT_NS
    worker.until(lambda: worker.connections == set())
    assert worker.card(0)["end_reason"] == ("peer_closed" if "close frame" in end else "peer_vanished")


def test_a_slow_reader_gets_every_pong(worker: ConnectionBench) -> None:
    peer = stalling(worker)
    peer.send(frame(b"last", PING))
    worker.until(lambda: not peer.connection._socket.has_unsent and b"last" in peer.received[-20:], peer)
    assert peer.connection.streaming


def test_a_reader_is_no_staller_because_it_also_sends_a_lot(worker: ConnectionBench) -> None:
    """In the bulk lane no selector says that there is room again."""
    peer = stalling(worker)
    burst = frame(bytes(125), PING) * 200
    for _ in range(3 * MAX_UNSENT_BYTES // len(burst)):
        for at in range(0, len(burst), 4096):
            peer.send(burst[at : at + 4096])
            peer.read()
            worker.loop.turn()
            peer.read()
    assert worker.loop.bulk_turns > 0
    worker.until(lambda: not peer.connection._socket.has_unsent, peer)
    assert (peer.end, worker.count("send_stalled")) == ("", 0)


# Our own mistakes


def errors_logged(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelno >= logging.ERROR for record in caplog.records)


def broken_for_one(monkeypatch: pytest.MonkeyPatch, method: str, broken_slot: int) -> None:
    whole = getattr(StreamIntake, method)

    def broken(self: StreamIntake, *given: object) -> None:
        if self.slot == broken_slot:
            raise RuntimeError("a mistake of ours")
        whole(self, *given)

    monkeypatch.setattr(StreamIntake, method, broken)


def test_a_mistake_of_ours_ends_one_stream_with_1011(
    worker: ConnectionBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken_for_one(monkeypatch, "receive", 0)
    first, second = worker.connect().upgraded(), worker.connect().upgraded()
    first.send(frame(OPUS_SILENCE) * 3).gone()
    assert first.messages() == [CloseReceived(1011, "internal error")]
    card = worker.card(0)
    assert (card["state"], card["end_reason"], card["close_code"]) == (layout.ENDED, "internal_error", 1011)
    assert (worker.count("internal_error"), worker.free_slots()) == (1, 3)
    assert errors_logged(caplog) == 1
    assert worker.connections == {second.connection}
    second.send(frame(OPUS_SILENCE))
    worker.until(lambda: worker.memory.stream(1).totals.length == 320)


def test_a_mistake_at_the_end_of_a_stream_costs_no_slot_and_no_neighbour(
    worker: ConnectionBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Share, kind: str, **fields: object) -> None:
        raise RuntimeError("a mistake of ours")

    first, second = worker.connect().upgraded(), worker.connect().upgraded()
    with monkeypatch.context() as patched:
        patched.setattr(Share, "tell", broken)
        first.send(close_frame(1000)).gone()
        first.socket.close()
        second.connection.drop(worker.loop.clock(), reset=False)
    assert errors_logged(caplog) == 2, "once for each"
    assert (worker.free_slots(), worker.connections) == (4, set())
    assert [worker.card(slot)["state"] for slot in (0, 1)] == [layout.ENDED] * 2
    worker.connect().upgraded()


def test_a_ring_that_cannot_be_mapped_costs_no_slot(
    worker: ConnectionBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_memory(self: StreamWriter, *given: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(StreamWriter, "__init__", no_memory)
        peer = worker.connect()
        peer.send(upgrade()).gone()
    assert peer.answer().status == 503
    assert (worker.free_slots(), worker.card(0)["state"]) == (4, layout.ENDED)
    assert (worker.count("internal_error"), errors_logged(caplog)) == (1, 1)
    assert worker.connections == set()
    for _ in range(4):
        worker.connect().upgraded()


def test_draining_is_said_to_whoever_comes(worker: ConnectionBench) -> None:
    worker.terms.draining = True
    peer = worker.connect()
    peer.send(upgrade()).gone()
    assert (peer.answer().status, worker.count("draining")) == (503, 1)
    assert call_terms().draining is False
