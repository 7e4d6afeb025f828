"""A peer that holds back half a minute of audio while its pings and pongs go on, then sends it all at once.

Half a minute of media, two seconds of clock: the watches that would end or mark a silent peer are set to a fraction of
what they are by default, so they are outlived many times over while nothing but signs of life comes. Then everything
arrives, and none of it is lost: on the timeline, in the ring, and at a reader who was there all the time.
"""

import select
import time
from collections.abc import Callable

import numpy as np
import pytest

import audiohook
from audiohook.session import audiohook2_client
from audiohook.session.audiohook2_client import offer
from audiohook.session.audiohook2_messages import Pong
from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.wire.client import masked_frame
from audiohook.wire.frames import Ping
from tests.support.daemon import Daemon
from tests.support.genesys import BINARY, MASK, Genesys
from tests.support.peer import PACKET_FRAMES, Peer, call, decoded, packets_of
from tests.support.reader import Reader

Start = Callable[..., Daemon]

HELD_S = 30
RATE_HZ = 8000
RING = ("server.workers=1", f"memory.ring_seconds={HELD_S}")
PONG = 0xA


def noise(frames: int, channels: int) -> np.ndarray:
    return np.random.default_rng(frames).integers(-30_000, 30_000, (frames, channels)).astype(np.int16)


def follow(daemon: Daemon, reader: Reader, stream: audiohook.Stream, frames: int) -> None:
    """Wait until the reader has had so many frames of a stream."""
    channels = len(stream.channel_names)
    daemon.wait(lambda: len(reader.samples(stream.stream_id)) == frames * channels, f"{frames} frames at the reader")


def check_reader(reader: Reader, stream: audiohook.Stream, sent: np.ndarray) -> None:
    (read,) = reader.wait_for("read", stream=stream.stream_id)
    assert (read["lost"], read["jumps"], read["gap_frames"], read["concealed"]) == (0, 0, 0, 0)
    assert np.array_equal(reader.samples(stream.stream_id), sent.ravel())


def events(daemon: Daemon, stream: audiohook.Stream) -> list[str]:
    return [event["event"] for event in daemon.events() if event.get("stream") == stream.stream_id]


# ------------------------------------------------------------------------------------------------ audiohook2


PATIENCE_S = 1.5
HOLD_S = 3.2
"""More than twice the daemon's patience. Genesys pings every 5 s where the patience is 30 s; here it is as often."""


class Linear(Genesys):
    """A session in L16, which passes through the daemon as it is."""

    def say(self, samples: np.ndarray) -> None:
        self.flush()
        self.socket.sendall(masked_frame(samples.astype("<i2").tobytes(), MASK, BINARY))
        self.client.audio_sent(len(samples))
        self.pieces.append(samples)


def hold_back(genesys: list[Genesys], seconds: float) -> None:
    """Let them say nothing but pings, and take the pongs; each must have had some."""
    before = [pongs(one) for one in genesys]
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        for one in genesys:
            one.client.on_deadline(time.monotonic_ns())
            one.flush()
        for socket in select.select([one.socket for one in genesys], [], [], 0.02)[0]:
            next(one for one in genesys if one.socket is socket).turn()
    assert all(pongs(one) >= count + 4 for one, count in zip(genesys, before, strict=True))


def pongs(genesys: Genesys) -> int:
    return sum(isinstance(message, Pong) for message in genesys.client.received)


def test_audiohook2_loses_nothing_that_is_held_back(start_daemon: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audiohook2_client, "FIRST_PING_NS", 50 * NS_PER_MS)
    monkeypatch.setattr(audiohook2_client, "PING_INTERVAL_NS", 250 * NS_PER_MS)
    daemon = start_daemon(*RING, f"audiohook2.idle_seconds={PATIENCE_S}")
    linear = (offer("external", "internal", media_format="L16"),)
    with (
        Reader("streams", daemon.hub_path, 160) as reader,
        Genesys(daemon.address) as pcmu,
        Linear(daemon.address, offers=linear) as l16,
    ):
        reader.wait_for("attached")
        streams = []
        for genesys in (pcmu, l16):
            genesys.opened()
            genesys.say(noise(800, 2))
            streams.append(daemon.hub.open(call_id=genesys.caller.conversation_id))
            follow(daemon, reader, streams[-1], 800)
        assert [stream.codec for stream in streams] == ["pcmu", "l16"]
        hold_back([pcmu, l16], HOLD_S)
        for genesys, stream in zip((pcmu, l16), streams, strict=True):
            assert stream.totals.length == 800
            for piece in np.split(noise(HELD_S * RATE_HZ, 2), HELD_S * 5):
                genesys.say(piece)
            genesys.close()
            assert not genesys.client.faults
            check_reader(reader, stream, genesys.sent)
            assert stream.totals.length == stream.totals.decoded == 800 + HELD_S * RATE_HZ
            assert stream.end_reason == "peer_closed"
            assert np.array_equal(stream.latest(HELD_S).samples, genesys.sent[800:])
            assert events(daemon, stream) == ["stream_started", "stream_ended"]
        reader.finish()
    assert daemon.counter("position_differs") == daemon.counter("overlaps") == 0


def test_audiohook2_ends_a_session_that_does_not_even_ping(
    start_daemon: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the silence above is known to be longer than the daemon's patience."""
    monkeypatch.setattr(audiohook2_client, "FIRST_PING_NS", 3600 * NS_PER_S)
    daemon = start_daemon(*RING, f"audiohook2.idle_seconds={PATIENCE_S}")
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        since_s = time.monotonic()
        genesys.say(noise(800, 2))
        genesys.until("disconnect")
        assert time.monotonic() - since_s >= PATIENCE_S
        genesys.until("closed")
    assert daemon.counter("idle_timeout") == 1


# ------------------------------------------------------------------------------------------------ context

IMPATIENT = ("context.heartbeat_ms=600", "context.degraded_ms=250", "context.first_audio_ms=60000")


def answer_pings(peer: Peer, count: int) -> None:
    """Say nothing but pongs, so many of them."""
    for _ in range(count):
        ping = peer.read_until(Ping)
        assert isinstance(ping, Ping)
        peer.send_frame(ping.payload, PONG)


def held_packets() -> list[bytes]:
    return packets_of(3) * (HELD_S * 16_000 // PACKET_FRAMES // len(packets_of(3)))


def test_context_loses_nothing_that_is_held_back(start_daemon: Start) -> None:
    daemon = start_daemon(*RING, *IMPATIENT)
    with Reader("streams", daemon.hub_path, 160) as reader, call(daemon.address) as peer:
        reader.wait_for("attached")
        peer.send_packets(packets_of(3)[:5])
        stream = daemon.hub.open(call_id=peer.call_id)
        follow(daemon, reader, stream, 5 * PACKET_FRAMES)
        answer_pings(peer, 4)
        daemon.wait(lambda: stream.degraded, "DEGRADED")
        assert stream.totals.length == 5 * PACKET_FRAMES
        peer.send_packets(held_packets())
        assert peer.close() == 1000
        sent = decoded(peer.sent)
        check_reader(reader, stream, sent)
        reader.finish()
    totals = stream.totals
    assert totals.length == totals.decoded == len(sent) == 5 * PACKET_FRAMES + HELD_S * 16_000
    assert (stream.end_reason, stream.degraded) == ("peer_closed", False)
    assert np.array_equal(stream.latest(HELD_S).samples[:, 0], sent[5 * PACKET_FRAMES :])
    assert events(daemon, stream) == ["stream_started", "degraded", "recovered", "stream_ended"]


def test_a_reader_that_stands_still_is_told_exactly_what_it_lost(start_daemon: Start) -> None:
    """Twice as much at once as a ring holds: what is lost to a reader is counted to the frame, and lost to it alone."""
    daemon = start_daemon(*RING, *IMPATIENT)
    head = 5 * PACKET_FRAMES
    with Reader("streams", daemon.hub_path, 160) as quick, call(daemon.address) as peer:
        quick.wait_for("attached")
        peer.send_packets(packets_of(3)[:5])
        stream = daemon.hub.open(call_id=peer.call_id)
        follow(daemon, quick, stream, head)
        slow = stream.blocks(160, start="oldest", on_overrun="skip", copy=True)
        found = [next(slow) for _ in range(head // 160)]
        answer_pings(peer, 2)
        for _ in range(4):  # half a ring each, so that the quick one can follow
            half = held_packets()[: HELD_S * 25]
            peer.send_packets(half)
            follow(daemon, quick, stream, len(peer.sent) * PACKET_FRAMES)
        assert peer.close() == 1000
        sent = decoded(peer.sent)
        found += slow
        check_reader(quick, stream, sent)
        quick.finish()
    lost = found[head // 160].first_frame - head
    assert 0 < lost == stream.lost_frames <= HELD_S * 16_000
    assert [block.first_frame for block in found[head // 160 :]] == list(range(head + lost, len(sent), 160))
    samples = np.concatenate([block.samples[:, 0] for block in found])
    assert np.array_equal(samples, np.concatenate([sent[:head], sent[head + lost :]]))
    assert stream.totals.length == stream.totals.decoded == len(sent)
