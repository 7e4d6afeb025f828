"""worker/connection.py and worker/intake.py: real TCP in, real shared memory out, read as a stranger would read it."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from audiohook.call import Terms
from audiohook.codec.opus import OpusDecoder, OpusEncoder
from audiohook.memory import layout
from audiohook.net.stream_socket import READ_BYTES
from audiohook.units import NS_PER_S
from audiohook.wire.frames import Pong
from audiohook.worker.ranks import SILENT
from tests.support.calls import (
    CALL_ID,
    DEGRADED_NS,
    FIRST_AUDIO_NS,
    PING,
    PONG,
    TEXT,
    call_terms,
    close_frame,
    context_terms,
    frame,
    upgrade,
)
from tests.support.connections import ConnectionBench, Peer, connections

Samples = npt.NDArray[np.int16]

PACKET_MS = 20
OPUS_SILENCE = b"\xf8\xff\xfe"
INVALID_PACKET = b"\xff\x00"
"""A code 3 packet of no frames (RFC 6716 section 3.2.5, R5): libopus refuses it."""


def sound(frames: int, rate_hz: int) -> Samples:
    """Return something like a voice: a gliding tone with noise, that no packet of has a twin."""
    at = np.arange(frames) / rate_hz
    noise = np.random.default_rng(7).normal(0, 800, frames)
    wave = 9000 * np.sin(2 * np.pi * (200 * at + 300 * at**2)) * (0.6 + 0.4 * np.sin(9 * at))
    return (wave + noise).astype(np.int16)


def packets_of(count: int, rate_hz: int = 16_000, *, bitrate_bps: int = 24_000, constant: bool = False) -> list[bytes]:
    step = rate_hz * PACKET_MS // 1000
    encoder = OpusEncoder(rate_hz, bitrate_bps=bitrate_bps, constant=constant)
    pcm = sound(count * step, rate_hz)
    return [encoder.encode(pcm[at : at + step].tobytes(), step) for at in range(0, len(pcm), step)]


def decoded(packets: list[bytes | int], rate_hz: int = 16_000) -> Samples:
    """Decode packets as they should be decoded; a number stands for so many frames of concealment."""
    decoder = OpusDecoder(rate_hz)
    room = np.zeros(decoder.bound_frames, np.int16)
    pieces = []
    for packet in packets:
        address = room.ctypes.data
        if isinstance(packet, int):
            frames = decoder.conceal_into(packet, address)
        else:
            frames = decoder.decode_into(packet, address)
            assert frames > 0
        pieces.append(room[:frames].copy())
    return np.concatenate(pieces)


@pytest.fixture
def worker() -> Iterator[ConnectionBench]:
    with connections() as made:
        yield made


def in_ring(worker: ConnectionBench, slot: int = 0) -> Samples:
    """Read the whole stream of a slot from the read-only arena."""
    block = worker.memory.stream(slot).latest(seconds=2.0)
    samples: Samples = block.samples[:, 0].copy()
    assert block.still_valid()
    return samples


def published(worker: ConnectionBench, frames: int, *peers: Peer, slot: int = 0) -> None:
    worker.until(lambda: worker.memory.stream(slot).totals.length >= frames, *peers)


# Audio


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_the_ring_holds_what_a_local_decoder_makes_of_it(rate_hz: int) -> None:
    with connections(call_terms(context_terms(rate_hz=rate_hz))) as worker:
        peer = worker.connect().upgraded()
        packets = packets_of(60)
        for packet in packets:
            peer.send(frame(packet))
            worker.loop.turn()
        published(worker, 60 * rate_hz // 50)
        np.testing.assert_array_equal(in_ring(worker), decoded([*packets], rate_hz))
        assert (worker.count("packets"), worker.count("decoded_frames")) == (60, 60 * rate_hz // 50)
        assert worker.count("wire_bytes") == sum(map(len, packets))
        assert worker.count("unusual_packets") == 0
        assert sum(worker.histogram("packet_bytes").values()) == 60


def test_a_burst_goes_through_the_bulk_lane_and_comes_out_the_same(worker: ConnectionBench) -> None:
    packets = packets_of(90, bitrate_bps=64_000)
    data = b"".join(map(frame, packets))
    assert len(data) > 3 * READ_BYTES
    worker.connect().upgraded().send(data)
    published(worker, 90 * 320)
    assert worker.loop.bulk_turns >= 1
    np.testing.assert_array_equal(in_ring(worker), decoded([*packets]))
    worker.until(lambda: worker.loop.bulk_waiting == 0)


def test_a_burst_that_comes_with_the_upgrade_request(worker: ConnectionBench) -> None:
    packets = packets_of(90, bitrate_bps=64_000)
    peer = worker.connect()
    peer.send(upgrade() + b"".join(map(frame, packets)) + close_frame(1000)).gone()
    assert peer.answer().accepted
    np.testing.assert_array_equal(in_ring(worker), decoded([*packets]))
    assert worker.card(0)["state"] == layout.ENDED


def test_two_peers_do_not_mix(worker: ConnectionBench) -> None:
    peers = [worker.connect().upgraded() for _ in range(2)]
    packets = packets_of(40)
    parts = packets[:20], packets[20:]
    for pair in zip(*parts, strict=True):
        for peer, packet in zip(peers, pair, strict=True):
            peer.send(frame(packet))
    for slot in (0, 1):
        published(worker, 20 * 320, slot=slot)
        np.testing.assert_array_equal(in_ring(worker, slot), decoded([*parts[slot]]))


def test_an_empty_message_is_counted_and_takes_no_time(worker: ConnectionBench) -> None:
    first, second = packets_of(2)
    worker.connect().upgraded().send(frame(b"") + frame(first) + frame(b"") + frame(second))
    published(worker, 640)
    np.testing.assert_array_equal(in_ring(worker), decoded([first, second]))
    assert (worker.count("empty_messages"), worker.count("packets")) == (2, 2)
    assert worker.memory.stream(0).totals.packets == 2


def test_garbage_is_concealed_for_as_long_as_the_last_packet_was(worker: ConnectionBench) -> None:
    encoder = OpusEncoder(16_000)
    pcm = sound(640, 16_000)
    long = encoder.encode(pcm.tobytes(), 640)
    again = encoder.encode(pcm.tobytes(), 640)
    peer = worker.connect().upgraded()
    for message in (INVALID_PACKET, long, INVALID_PACKET, INVALID_PACKET, again):
        peer.send(frame(message))
    published(worker, 320 + 4 * 640)
    totals = worker.memory.stream(0).totals
    assert (totals.length, totals.concealed, totals.decoded) == (320 + 4 * 640, 320 + 2 * 640, 2 * 640)
    assert totals.packets == 5
    assert (worker.count("concealed_packets"), worker.count("unusual_packets")) == (3, 2)
    np.testing.assert_array_equal(in_ring(worker), decoded([320, long, 640, 640, again]))
    assert peer.connection.streaming, "a decode error never ends a stream"


@pytest.mark.parametrize("size", [1, 2, 64, 1275, 1999])
def test_no_bytes_end_a_stream(worker: ConnectionBench, size: int) -> None:
    peer = worker.connect().upgraded()
    noise = np.random.default_rng(size)
    for _ in range(50):
        peer.send(frame(noise.bytes(size)))
    worker.until(lambda: worker.count("packets") == 50)
    totals = worker.memory.stream(0).totals
    assert totals.decoded + totals.concealed == totals.length
    peer.send(frame(packets_of(1)[0]))
    worker.until(lambda: worker.count("packets") == 51)
    assert peer.connection.streaming


# Framing


@pytest.fixture
def fixed() -> Terms:
    return call_terms(context_terms(framing="fixed:60"))


def test_a_recut_stream_of_fixed_packets_is_restored(fixed: Terms) -> None:
    packets = packets_of(30, constant=True)
    assert {len(packet) for packet in packets} == {60}
    stream = b"".join(packets)
    with connections(fixed) as worker:
        peer = worker.connect().upgraded()
        for at in range(0, len(stream), 47):
            peer.send(frame(stream[at : at + 47]))
        peer.send(close_frame(1000)).gone()
        np.testing.assert_array_equal(in_ring(worker), decoded([*packets]))
        assert (worker.count("packets"), worker.count("concealed_packets")) == (30, 0)


def test_the_remainder_of_a_fixed_framing_is_concealed_at_the_close(fixed: Terms) -> None:
    packets = packets_of(3, constant=True)
    with connections(fixed) as worker:
        peer = worker.connect().upgraded()
        peer.send(frame(b"".join(packets)[:-1]) + close_frame(1000)).gone()
        totals = worker.memory.stream(0).totals
        assert (totals.length, totals.concealed) == (3 * 320, 320)
        assert totals.wire_bytes == 3 * 60 - 1
        np.testing.assert_array_equal(in_ring(worker), decoded([*packets[:2], 320]))


# A stream's life, in card, events and counters


def test_the_life_of_a_stream(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    card = worker.card(0)
    assert (card["state"], card["call_id"], card["direction"]) == (layout.LIVE, CALL_ID, "inbound")
    assert (card["session_id"], card["user_id"], card["participant_id"]) == ("session-1", "user-1", "participant-1")
    assert (card["dialect"], card["codec"], card["framing"]) == ("context", "opus", "message")
    assert (card["source_address"], card["channel_names"], card["row"]) == ("127.0.0.1:5", "mono", 0)
    (started,) = worker.events()
    assert (started["event"], started["stream"], started["slot"]) == ("stream_started", card["stream_id"], 0)
    assert worker.free_slots() == 3

    peer.send(frame(packets_of(1)[0]) + frame(b"{}", TEXT) + close_frame(1000, "bye")).gone()
    assert peer.end == "closed"
    card = worker.card(0)
    assert (card["state"], card["end_reason"]) == (layout.ENDED, "peer_closed")
    assert (card["close_code"], card["close_reason"]) == (1000, "bye")
    assert worker.free_slots() == 4
    (ended,) = worker.events()
    assert (ended["event"], ended["stream"], ended["call"]) == ("stream_ended", started["stream"], CALL_ID)
    assert (ended["reason"], ended["code"], ended["length_frames"], ended["packets"]) == ("peer_closed", 1000, 320, 1)
    counted = ("streams_opened", "streams_ended", "peer_closed", "text_ignored")
    assert [worker.count(name) for name in counted] == [1, 1, 1, 1]
    assert worker.connections == {peer.connection}, "our bytes must not be lost to a reset: the peer's end is awaited"
    peer.socket.close()
    worker.until(lambda: worker.connections == set())
    assert worker.gone == [peer.connection]


def test_a_peer_that_vanishes(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    peer.socket.close()
    worker.until(lambda: worker.connections == set())
    card = worker.card(0)
    assert (card["state"], card["end_reason"], card["close_code"]) == (layout.PARKED, "peer_vanished", 0)
    counted = ("peer_vanished", "parked", "streams_ended")
    assert [worker.count(name) for name in counted] == [1, 1, 0], "it may come back"
    assert worker.free_slots() == 4, "whoever takes it on must be able to lock it"


def test_silence_is_told_to_readers_and_taken_back(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    packet = packets_of(1)[0]
    worker.events()

    def quiet(for_ns: int) -> None:
        for _ in range(for_ns // NS_PER_S):
            worker.skipped_ns += NS_PER_S
            peer.send(frame(b"", PONG))
            worker.loop.turn()

    def told() -> list[str]:
        worker.loop.turn()
        return [event["event"] for event in worker.events()]

    quiet(FIRST_AUDIO_NS + NS_PER_S)
    assert told() == ["no_audio"]
    assert worker.card(0)["flags"] == layout.FLAG_NO_AUDIO
    peer.send(frame(packet))
    published(worker, 320)
    quiet(DEGRADED_NS + NS_PER_S)
    assert told() == ["degraded"]
    assert worker.memory.stream(0).degraded
    peer.send(frame(packet))
    published(worker, 640)
    assert told() == ["recovered"]
    assert not worker.memory.stream(0).degraded
    assert [worker.count(name) for name in ("no_audio", "degraded", "recovered")] == [1, 1, 1]
    assert worker.card(0)["state"] == layout.LIVE
    peer.send(close_frame(1000)).gone()
    assert worker.events()[-1]["no_audio"] is True


def test_who_has_not_spoken_is_served_with_the_newcomers(worker: ConnectionBench) -> None:
    peer = worker.connect().upgraded()
    assert peer.connection.newcomer == SILENT
    peer.send(frame(b"there?", PING))
    worker.until(lambda: Pong(b"there?") in peer.messages(), peer)
    assert peer.connection.newcomer == SILENT
    peer.send(frame(OPUS_SILENCE))
    worker.until(lambda: worker.count("packets") == 1)
    assert peer.connection.newcomer == 0
    assert peer.connection._socket in worker.loop.selector.get_map()
