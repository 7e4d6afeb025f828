"""worker/connection.py and time: what has arrived counts before what is late, in the selector and in the bulk lane."""

from collections.abc import Iterator

import pytest

from audiohook.errors import SUPERSEDED
from audiohook.net.loop import BULK_NS
from audiohook.net.stream_socket import READ_BYTES
from audiohook.session.context import CLOSE_WAIT_NS
from audiohook.units import NS_PER_S
from audiohook.wire.frames import Ping
from audiohook.worker.connection import LAST_PORTIONS
from audiohook.worker.ranks import LEAVING
from tests.support.calls import DEGRADED_NS, HEARTBEAT_NS, PONG, REQUEST_NS, frame, plain, upgrade
from tests.support.connections import ConnectionBench, Peer, connections
from tests.support.tcp import wait_readable

OPUS_SILENCE = b"\xf8\xff\xfe"


@pytest.fixture
def worker() -> Iterator[ConnectionBench]:
    with connections() as made:
        yield made


def asked(worker: ConnectionBench) -> Peer:
    """Return a peer to whom a ping has been sent, which it has not answered."""
    peer = worker.connect().upgraded()
    worker.skipped_ns += HEARTBEAT_NS
    worker.until(lambda: peer.messages() == [Ping(b"")], peer)
    return peer


def test_a_peer_that_does_not_answer_is_reset(worker: ConnectionBench) -> None:
    peer = asked(worker)
    worker.skipped_ns += HEARTBEAT_NS
    assert peer.gone().end == "reset"
    assert worker.card(0)["end_reason"] == "heartbeat_lost"
    assert (worker.count("heartbeat_lost"), worker.free_slots()) == (1, 4)


@pytest.mark.parametrize("stopped_seconds", [4, 5, 7, 60])
def test_an_answer_that_lies_unread_after_a_stop_of_ours_counts(worker: ConnectionBench, stopped_seconds: int) -> None:
    """A turn serves its timers first: without a look at the socket the peer would be called dead."""
    peer = asked(worker).send(frame(b"", PONG))
    wait_readable(peer.connection._socket)
    worker.skipped_ns += stopped_seconds * NS_PER_S
    for _ in range(3):
        worker.loop.turn()
    assert peer.connection.streaming


def test_audio_that_lies_unread_after_a_stop_of_ours_is_no_silence(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded().send(frame(OPUS_SILENCE))
    worker.until(lambda: worker.count("packets") == 1)
    peer.send(frame(OPUS_SILENCE))
    wait_readable(peer.connection._socket)
    worker.skipped_ns += DEGRADED_NS + NS_PER_S
    for _ in range(3):
        worker.loop.turn()
    assert (worker.count("packets"), worker.count("degraded")) == (2, 0)


def test_a_backlog_that_waits_in_the_bulk_lane_is_a_sign_of_life(worker: ConnectionBench) -> None:
    peer = asked(worker)
    packet = frame(OPUS_SILENCE)
    peer.send(packet * (3 * READ_BYTES // len(packet)))
    worker.until(lambda: worker.loop.bulk_waiting == 1)
    worker.skipped_ns += HEARTBEAT_NS
    worker.until(lambda: worker.loop.bulk_waiting == 0)
    assert peer.connection.streaming
    assert worker.count("degraded") == 0


class Slow:
    """Another source in the bulk lane, each portion of which takes the lane's whole time."""

    closed = False
    newcomer = 0

    def __init__(self, worker: ConnectionBench) -> None:
        self._worker = worker
        self.portions = 0

    def on_ready(self, mask: int, now_ns: int) -> None:
        raise AssertionError("not in the selector")

    def on_bulk(self, now_ns: int) -> bool:
        self.portions += 1
        self._worker.skipped_ns += 2 * BULK_NS
        return True


def test_nobody_is_judged_while_waiting_for_his_turn_in_the_bulk_lane(worker: ConnectionBench) -> None:
    peer = asked(worker)
    packet = frame(OPUS_SILENCE)
    slow = Slow(worker)
    worker.loop.join_bulk(slow)
    peer.send(packet * (3 * READ_BYTES // len(packet)))
    worker.until(lambda: worker.loop.bulk_waiting == 2)
    worker.skipped_ns += HEARTBEAT_NS
    portions, packets = slow.portions, worker.count("packets")
    while worker.count("packets") == packets:
        worker.loop.turn()
        assert peer.connection.streaming
    assert slow.portions > portions, "a whole turn went by before its own"


def test_a_flood_does_not_put_the_end_off(worker: ConnectionBench) -> None:
    """Deadlines are met in the bulk lane too: a peer that never stops sending cannot stay for ever."""
    peer = worker.connect().send(plain("GET", "/healthz"))
    worker.until(lambda: b"200" in peer.received, peer)

    def flooded() -> bool:
        try:
            peer.socket.send(bytes(16 * READ_BYTES))
        except (BlockingIOError, ConnectionError):
            pass
        return worker.loop.bulk_waiting == 1 or not worker.connections

    worker.until(flooded)
    assert worker.connections
    worker.skipped_ns += CLOSE_WAIT_NS
    worker.until(lambda: flooded() and not worker.connections)


def test_pings_go_out_to_a_peer_that_floods(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    packet = frame(OPUS_SILENCE)
    burst = packet * (4 * READ_BYTES // len(packet))
    peer.send(burst)
    worker.until(lambda: worker.loop.bulk_waiting == 1)
    worker.skipped_ns += HEARTBEAT_NS
    peer.send(burst)
    worker.until(lambda: Ping(b"") in peer.messages(), peer)


def test_a_request_that_lies_unread_after_a_stop_of_ours_is_in_time(worker: ConnectionBench) -> None:
    peer = worker.connect().send(upgrade())
    wait_readable(peer.connection._socket)
    worker.skipped_ns += REQUEST_NS + NS_PER_S
    worker.until(lambda: b"\r\n\r\n" in peer.received, peer)
    assert peer.answer().accepted


def test_timers_do_not_pile_up(worker: ConnectionBench) -> None:
    """A packet moves no timer; a stream keeps a handful, however long it lasts."""
    peer = worker.connect().upgraded()
    for number in range(80):
        peer.send(frame(OPUS_SILENCE))
        worker.until(lambda number=number: worker.count("packets") > number)
        worker.skipped_ns += NS_PER_S
    assert len(worker.loop._timers) <= 5


def test_publish_latency_is_observed_once_a_read(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    before = sum(worker.histogram("publish_ns").values())
    peer.send(frame(OPUS_SILENCE) * 5)
    worker.until(lambda: worker.count("packets") == 5)
    assert 1 <= sum(worker.histogram("publish_ns").values()) - before <= 5


def test_a_stale_event_does_not_let_later_bytes_overtake_a_portion_that_waits(worker: ConnectionBench) -> None:
    """A timer served between two events of a batch may send a connection to the bulk lane; its event remains."""
    peer = worker.connect().upgraded()
    packets = 2 * READ_BYTES // len(frame(OPUS_SILENCE)) + 3
    peer.send(frame(OPUS_SILENCE) * packets)
    wait_readable(peer.connection._socket)
    for _ in range(4):
        peer.connection.on_ready(1, worker.loop.clock())
    worker.until(lambda: worker.count("packets") == packets)
    assert worker.count("protocol_error") == 0
    assert peer.connection.streaming


@pytest.mark.parametrize("packets", [1, 2 * READ_BYTES // len(frame(OPUS_SILENCE)) + 3])
def test_what_lies_unread_where_a_newer_connection_comes_is_taken_first(worker: ConnectionBench, packets: int) -> None:
    """Who comes back was cut off a moment ago: its last packets may be here and unread (make soak: mass-reconnect)."""
    peer = worker.connect().upgraded()
    peer.send(frame(OPUS_SILENCE) * packets)
    wait_readable(peer.connection._socket)
    peer.connection.give_way(SUPERSEDED, worker.loop.clock())
    assert worker.count("packets") == packets
    assert not peer.connection.streaming
    assert worker.count("superseded") == 1
    for _ in range(3):
        worker.loop.turn()
    assert worker.count("internal_error") == 0


def test_who_gives_way_while_it_waits_in_the_bulk_lane_loses_nothing_of_it(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    packets = 2 * READ_BYTES // len(frame(OPUS_SILENCE)) + 3
    peer.send(frame(OPUS_SILENCE) * packets)
    wait_readable(peer.connection._socket)
    peer.connection.on_ready(1, worker.loop.clock())
    assert worker.loop.bulk_waiting == 1
    peer.connection.give_way(SUPERSEDED, worker.loop.clock())
    assert worker.count("packets") == packets
    worker.until(lambda: not worker.loop.bulk_waiting)
    assert (worker.count("superseded"), worker.count("internal_error")) == (1, 0)
    peer.socket.close()
    worker.until(lambda: peer.connection.closed)


def test_a_peer_that_never_stops_cannot_keep_its_call_from_who_takes_it_over(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    sent = frame(OPUS_SILENCE) * ((LAST_PORTIONS + 4) * READ_BYTES // len(frame(OPUS_SILENCE)))
    peer.socket.sendall(sent[: (LAST_PORTIONS + 4) * READ_BYTES])
    wait_readable(peer.connection._socket)
    peer.connection.give_way(SUPERSEDED, worker.loop.clock())
    assert worker.count("superseded") == 1
    assert worker.count("wire_bytes") < (LAST_PORTIONS + 2) * READ_BYTES


def test_who_is_gone_without_a_word_is_ended_behind_those_who_talk(worker: ConnectionBench) -> None:
    """A thousand at once would else make one turn half a second long."""
    peer = worker.connect().upgraded().send(frame(OPUS_SILENCE))
    worker.until(lambda: worker.count("packets") == 1)
    peer.socket.close()
    wait_readable(peer.connection._socket)
    peer.connection.on_ready(1, worker.loop.clock())
    assert (peer.connection.newcomer, worker.count("peer_vanished")) == (LEAVING, 0)
    worker.loop.turn()
    assert (peer.connection.closed, worker.count("peer_vanished")) == (True, 1)


def test_who_is_gone_is_not_judged_by_the_clock_before_that_is_read(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded().send(frame(OPUS_SILENCE))
    worker.until(lambda: worker.count("packets") == 1)
    peer.socket.close()
    wait_readable(peer.connection._socket)
    worker.skipped_ns += 3 * HEARTBEAT_NS
    worker.until(lambda: peer.connection.closed)
    assert (worker.count("peer_vanished"), worker.count("heartbeat_lost")) == (1, 0)
