"""What goes into two workers comes out of the shared memory sample for sample, whoever reads, whenever it attaches."""

import os
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import audiohook
from tests.support.daemon import Daemon
from tests.support.peer import PACKET_FRAMES, Peer, Samples, Talking, call, decoded, packets_of
from tests.support.reader import Event, Reader

CALLS = 8
NOBODY = 65_534
ODD_SIZES = [1, 37, 320, 512, 999, 16_000]

StartDaemon = Callable[..., Daemon]


def stream_of(daemon: Daemon, peer: Peer) -> audiohook.Stream:
    return daemon.hub.open(participant_id=peer.participant_id)


def check_whole(event: Event, peer: Peer, read: Samples) -> None:
    """Hold what a reader has had of a stream that ended well to a decode of our own."""
    expected = decoded(peer.sent)
    assert np.array_equal(read, expected)
    assert (event["first"], event["end"], event["length"]) == (0, len(expected), len(expected))
    assert (event["jumps"], event["gaps"], event["lost"]) == (0, 0, 0)
    assert (event["decoded"], event["concealed"], event["gap_frames"]) == (len(expected), 0, 0)
    assert event["packets"] == len(peer.sent)
    assert (event["state"], event["reason"], event["code"]) == ("ENDED", "peer_closed", 1000)


def has_all(daemon: Daemon, reader: Reader, peer: Peer) -> bool:
    return len(reader.samples(stream_of(daemon, peer).stream_id)) == len(peer.sent) * PACKET_FRAMES


def sent(peers: list[Peer], packets: int) -> Callable[[], bool]:
    return lambda: all(len(peer.sent) >= packets for peer in peers)


@pytest.mark.parametrize("frames", [37, 512])
def test_readers_from_before_during_and_after_the_call_get_the_same_samples(
    start_daemon: StartDaemon, frames: int
) -> None:
    daemon = start_daemon()
    with Talking() as talking, Reader("streams", daemon.hub_path, frames) as before:
        before.wait_for("attached")
        peers = [call(daemon.address) for _ in range(CALLS)]
        rows = {stream_of(daemon, peer).card()["row"] for peer in peers}
        assert rows == set(daemon.workers()), "the calls were to be spread over all workers"
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        daemon.wait(sent(peers, 30), "30 packets of every call")
        with Reader("streams", daemon.hub_path, frames) as during, Reader("live", daemon.hub_path, frames) as live:
            during.wait_for("began", CALLS)
            live.wait_for("began", CALLS)
            daemon.wait(sent(peers, 60), "60 packets of every call")
            for peer in peers:
                assert talking.take(peer).close() == 1000
            with Reader("streams", daemon.hub_path, frames) as after:
                for reader in (before, during, after):
                    reader.wait_for("read", CALLS)
                    for peer in peers:
                        (event,) = reader.seen("read", participant=peer.participant_id)
                        check_whole(event, peer, reader.samples(event["stream"]))
            live.wait_for("read", CALLS)
            for peer in peers:
                (event,) = live.seen("read", participant=peer.participant_id)
                assert 0 < event["first"] < event["end"] == event["length"]
                assert np.array_equal(live.samples(event["stream"]), decoded(peer.sent)[event["first"] :])
    started, ended = daemon.stream_lines("started"), daemon.stream_lines("ended")
    assert len(started) == CALLS
    assert sorted(started) == sorted(ended) == sorted(set(started))
    assert sorted(daemon.stream_events("stream_started")) == sorted(daemon.stream_events("stream_ended"))
    assert sorted(daemon.stream_events("stream_started")) == sorted(started)


def test_one_loop_over_all_streams_reads_them_all(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with Talking() as talking:
        early = [call(daemon.address) for _ in range(3)]
        for number, peer in enumerate(early):
            talking.add(peer, number)
        daemon.wait(sent(early, 10), "10 packets of every call")
        with Reader("hub", daemon.hub_path, 999) as reader:
            reader.wait_for("began", len(early))
            late = [call(daemon.address) for _ in range(3)]
            for number, peer in enumerate(late, 10):
                talking.add(peer, number)
            daemon.wait(sent(late, 25), "25 packets of every late call")
            # Over before a reader can have looked at it twice: it is read all the same.
            brief = call(daemon.address)
            brief.send_packets(packets_of(20)[:3])
            brief.close()
            peers = [*early, *late]
            for peer in peers:
                talking.take(peer).close()
            peers.append(brief)
            for peer in peers:
                daemon.wait(partial(has_all, daemon, reader, peer), "every sample")
            reader.finish()
            for peer in peers:
                (event,) = reader.seen("read", participant=peer.participant_id)
                check_whole(event, peer, reader.samples(event["stream"]))


def test_blocks_of_any_size_starts_and_latest(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with call(daemon.address) as peer:
        peer.send_packets(packets_of(3)[:120], cut_bytes=7)
        stream = stream_of(daemon, peer)
        expected = decoded(peer.sent)
        daemon.wait(lambda: stream.totals.length == len(expected), "every packet")
        latest = stream.latest(0.5)
        assert latest.still_valid()
        assert np.array_equal(latest.samples[:, 0], expected[-8000:])
        assert len(stream.latest(1000.0).samples) == len(expected)
        assert stream.gaps() == []
        peer.close()
        for frames in ODD_SIZES:
            for start in ("oldest", 0, 12_345):
                first = start if isinstance(start, int) else 0
                pieces = [block.samples[:, 0] for block in stream.blocks(frames=frames, start=start)]
                assert [len(piece) for piece in pieces[:-1]] == [frames] * (len(pieces) - 1)
                assert np.array_equal(np.concatenate(pieces), expected[first:]), (frames, start)
        assert not list(stream.blocks(start="live"))
        assert not latest.samples.flags.writeable


@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_rate_and_framing_by_path(start_daemon: StartDaemon, rate_hz: int) -> None:
    daemon = start_daemon(f'context.paths={{"/other" = {{sample_rate = {rate_hz}, framing = "message"}}}}')
    with Peer(daemon.address, target="/other?query=1", direction="unknown") as peer:
        assert peer.upgrade().accepted
        peer.send_packets(packets_of(1)[:50])
        stream = stream_of(daemon, peer)
        assert (stream.sample_rate, stream.direction, stream.call_id) == (rate_hz, "unknown", peer.call_id)
        peer.close()
        assert np.array_equal(stream.latest(1.0).samples[:, 0], decoded(peer.sent, rate_hz))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("allowed", ["user:65534", "group:65534", "any"])
def test_another_user_reads_the_same_samples(start_daemon: StartDaemon, allowed: str) -> None:
    daemon = start_daemon(f'hub.read=["{allowed}"]')
    with Reader("streams", daemon.hub_path, 320, NOBODY) as reader:
        reader.wait_for("attached", uid=NOBODY)
        with call(daemon.address) as peer:
            peer.send_packets(packets_of(5)[:60])
            peer.close()
        (event,) = reader.wait_for("read")
        check_whole(event, peer, reader.samples(event["stream"]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_who_may_not_read_is_refused_in_words(start_daemon: StartDaemon) -> None:
    daemon = start_daemon('hub.read=["user:1"]', "hub.max_clients=3")
    for _ in range(5):
        with Reader("streams", daemon.hub_path, 320, NOBODY) as reader:
            (event,) = reader.wait_for("refused", uid=NOBODY)
            assert "uid 65534 may not read here" in event["text"]
            assert "hub.read" in event["text"]
    assert daemon.wait_logged("refused uid=65534")
    assert list(daemon.hub.streams()) == []


def test_one_reader_too_many_is_refused_in_words(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("hub.max_clients=2")
    with audiohook.attach(daemon.hub_path), daemon.hub:
        for _ in range(20):
            with pytest.raises(audiohook.HubUnavailable, match=r"hub\.max_clients are connected"):
                audiohook.attach(daemon.hub_path)
    daemon.wait(lambda: can_attach(daemon), "a place that the desk has found to be free again")


def can_attach(daemon: Daemon) -> bool:
    try:
        audiohook.attach(daemon.hub_path).close()
    except audiohook.HubUnavailable:
        return False
    return True


def test_streams_events_and_open_tell_what_there_is(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("context.reconnect_seconds=0")
    following = daemon.hub.streams(follow=True)
    peers = []
    for number in range(3):
        peer = call(daemon.address, direction=["inbound", "outbound", "unknown"][number])
        peers.append(peer)
        stream = next(following)
        assert (stream.participant_id, stream.state) == (peer.participant_id, "LIVE")
    with pytest.raises(audiohook.AmbiguousStream) as ambiguous:
        daemon.hub.open(session_id="a-session")
    assert len(ambiguous.value.stream_ids) == 3
    assert daemon.hub.open(direction="outbound").call_id == peers[1].call_id
    with pytest.raises(audiohook.NoSuchStream):
        daemon.hub.open(call_id="nobody")
    peers[0].close(4321, "any reason")
    peers[1].abort()
    peers[2].send(b"\x82\x01x")  # not masked
    assert peers[2].read_close() == (1002, "protocol error")
    peers[2].socket.close()
    ends = daemon.wait(
        lambda: found if len(found := [e for e in daemon.events() if e["event"] == "stream_ended"]) == 3 else None,
        "three ends",
    )
    reasons = {end["call"]: (end["reason"], end["code"]) for end in ends}
    assert reasons == {
        peers[0].call_id: ("peer_closed", 4321),
        peers[1].call_id: ("peer_vanished", None),
        peers[2].call_id: ("protocol_error", 1002),
    }
    assert daemon.hub.open(call_id=peers[0].call_id).close_reason == "any reason"
    assert [event["event"] for event in daemon.events()].count("service_ready") == 1
