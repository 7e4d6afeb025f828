"""Peers that send half a minute of audio at once, beside live calls: all of it arrives, in order, nothing is shed."""

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np

from tests.support.daemon import Daemon
from tests.support.peer import PACKET_FRAMES, Peer, Talking, call, decoded, packets_of
from tests.support.reader import Reader

BURSTS = 20
PACED = 10
BURST_PACKETS = 1500
"""30 s of 20 ms, what Genesys may catch up by."""


def test_bursts_beside_paced_calls_arrive_whole(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon("memory.streams=32", "memory.ring_seconds=32")
    with Talking() as talking, Reader("hub", daemon.hub_path, 8000) as reader:
        reader.wait_for("attached")
        paced = [call(daemon.address) for _ in range(PACED)]
        for number, peer in enumerate(paced):
            talking.add(peer, number)
        bursts = [call(daemon.address) for _ in range(BURSTS)]
        threads = []
        for number, peer in enumerate(bursts, PACED):
            packets = packets_of(number) * (BURST_PACKETS // len(packets_of(number)))
            threads.append(threading.Thread(target=peer.send_packets, args=(packets,)))
        counts = [len(peer.sent) for peer in paced]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for peer in bursts:
            assert len(peer.sent) == BURST_PACKETS
            assert peer.close() == 1000
        assert daemon.counter("bulk_turns") > 0
        # Whole at once: what is read back at the end, and what a reader had who was there all the time.
        for peer in bursts:
            check(daemon, reader, peer)
        daemon.wait(
            lambda: all(len(peer.sent) > count for peer, count in zip(paced, counts, strict=True)), "paced packets"
        )
        for peer in paced:
            assert talking.take(peer).close() == 1000
            check(daemon, reader, peer)
        reader.finish()
    assert {event["lost"] for event in reader.seen("read")} == {0}
    assert {event["jumps"] for event in reader.seen("read")} == {0}
    assert {event["gap_frames"] for event in reader.seen("read")} == {0}
    assert Counter(daemon.stream_lines("ended")) == Counter(daemon.stream_lines("started"))
    assert daemon.counter("concealed_packets") == 0
    assert daemon.counter("packets") == sum(len(peer.sent) for peer in [*paced, *bursts])


def check(daemon: Daemon, reader: Reader, peer: Peer) -> None:
    expected = decoded(peer.sent)
    stream = daemon.hub.open(call_id=peer.call_id)
    totals = stream.totals
    assert totals.decoded == totals.length == len(expected) == len(peer.sent) * PACKET_FRAMES
    assert np.array_equal(stream.latest(60).samples[:, 0], expected)
    daemon.wait(lambda: len(reader.samples(stream.stream_id)) == len(expected), "every sample, at the other reader")
    assert np.array_equal(reader.samples(stream.stream_id), expected)
