"""Whatever a peer sends to a running daemon gets the documented answer, is counted under its name, and leaves nothing:
no slot, no descriptor, no live count, no traceback. Here: the WebSocket, and how it ends.
"""

import random
import socket
from collections import Counter

import numpy as np
import pytest

from audiohook.codec.opus import OpusDecoder
from audiohook.memory import layout
from audiohook.wire.client import masked_frame
from audiohook.wire.frames import Pong
from tests.support.census import MESSAGE_BYTES, SLOTS, SLUGS, Census
from tests.support.daemon import Daemon
from tests.support.peer import MASK, PACKET_FRAMES, PING, RATE_HZ, Peer, Samples, call, packets_of

TEXT, BINARY, CONTINUATION, RESERVED = 0x1, 0x2, 0x0, 0x3
NO_OPUS = (b"\xff", b"\x03", b"\x03\x00", b"\x01" + b"x" * 100 + b"y", b"\xff" * 1500)
"""Packets that RFC 6716 section 3.4 forbids: no frame count, none at all, halves of an odd length, too long."""


def frame_cases() -> list[tuple[str, bytes, int, str]]:
    half = b"x" * (MESSAGE_BYTES // 2 + 1)
    return [
        ("unmasked", b"\x82\x03abc", 1002, "protocol_error"),
        ("reserved opcode", masked_frame(b"abc", MASK, RESERVED), 1002, "protocol_error"),
        ("reserved bit", b"\xc2" + masked_frame(b"abc", MASK)[1:], 1002, "protocol_error"),
        ("long ping", masked_frame(b"x" * 126, MASK, PING), 1002, "protocol_error"),
        ("cut ping", masked_frame(b"x", MASK, PING, fin=False), 1002, "protocol_error"),
        ("nothing to continue", masked_frame(b"x", MASK, CONTINUATION), 1002, "protocol_error"),
        ("close code", masked_frame(b"\x03\xe7", MASK, 0x8), 1002, "protocol_error"),
        ("text", masked_frame(b"\xff\xfe", MASK, TEXT), 1007, "invalid_payload"),
        ("long message", b"\x82\xff" + (1 << 40).to_bytes(8, "big") + MASK, 1009, "message_too_large"),
        (
            "long fragments",
            masked_frame(half, MASK, fin=False) + masked_frame(half, MASK, CONTINUATION),
            1009,
            "message_too_large",
        ),
    ]


@pytest.mark.parametrize(("name", "data", "code", "slug"), frame_cases(), ids=[case[0] for case in frame_cases()])
def test_bad_frame_is_closed_with_its_code(
    daemon: Daemon, census: Census, name: str, data: bytes, code: int, slug: str
) -> None:
    with call(daemon.address) as peer:
        stream = daemon.hub.open(call_id=peer.call_id)
        peer.send_packets(packets_of(2)[:5])
        peer.send(data + masked_frame(b"what follows is not heard", MASK))
        assert peer.read_close()[0] == code
        peer.socket.close()
        assert (stream.state, stream.end_reason, stream.close_code) == ("ENDED", slug, code)
        assert stream.totals.packets == 5
    assert census.counted() == {slug: 1}


def test_text_is_counted_and_ignored(daemon: Daemon, census: Census) -> None:
    before = daemon.counter("text_ignored")
    with call(daemon.address) as peer:
        for text in ('{"type": "unknown"}', "no JSON", "", "[" * 1000, '{"type": 7}', "\x00\U0001f4de"):
            peer.send_frame(text.encode(), TEXT)
        peer.send_packets(packets_of(1)[:3])
        stream = daemon.hub.open(call_id=peer.call_id)
        assert peer.close() == 1000
        assert stream.totals.packets == 3
    assert daemon.counter("text_ignored") == before + 6
    assert census.counted() == {}


def test_ping_is_answered_with_what_it_said(daemon: Daemon, census: Census) -> None:
    with call(daemon.address) as peer:
        for payload in (b"", b"hello", bytes(125)):
            peer.send_frame(payload, PING)
            assert peer.read_until(Pong) == Pong(payload)
        peer.close()


def decoded_or_concealed(packets: list[bytes]) -> Samples:
    """Return what a stream must hold: a packet that libopus refuses is concealed for as long as the last good one."""
    decoder = OpusDecoder(RATE_HZ)
    room = np.zeros(decoder.bound_frames, np.int16)
    pieces = []
    last = PACKET_FRAMES
    for packet in packets:
        frames = decoder.decode_into(packet, room.ctypes.data)
        if frames <= 0:
            frames = decoder.conceal_into(last, room.ctypes.data)
        last = frames
        pieces.append(room[:frames].copy())
    return np.concatenate(pieces)


def test_broken_opus_is_concealed_and_the_call_goes_on(daemon: Daemon, census: Census) -> None:
    before = daemon.counters()
    with call(daemon.address) as peer:
        good = packets_of(3)
        packets = [*NO_OPUS[:1], *good[:20]]
        for number, broken in enumerate(NO_OPUS):
            packets += [broken, *good[20 + 5 * number : 25 + 5 * number]]
        peer.send_packets(packets, cut_bytes=100)
        peer.send_frame(b"", BINARY)
        stream = daemon.hub.open(call_id=peer.call_id)
        assert peer.close() == 1000
        expected = decoded_or_concealed(packets)
        assert np.array_equal(stream.latest(60).samples[:, 0], expected)
        totals = stream.totals
        assert totals.concealed == (1 + len(NO_OPUS)) * PACKET_FRAMES
        assert totals.decoded + totals.concealed == totals.length == len(expected)
        assert (totals.packets, totals.wire_bytes) == (len(packets), sum(map(len, packets)))
    assert census.counted() == {}
    counted = daemon.counters() - before
    assert (counted["concealed_packets"], counted["empty_messages"]) == (1 + len(NO_OPUS), 1)


# ------------------------------------------------------------------------------------------------ abrupt ends


def reset_after(daemon: Daemon, phase: str) -> None:
    with Peer(daemon.address) as peer:
        if phase == "half a request":
            peer.send(peer.request[:50])
        elif phase == "request":
            peer.send(peer.request)
        elif phase != "connect":
            assert peer.upgrade().accepted
        if phase == "audio":
            peer.send_packets(packets_of(1)[:20])
        elif phase == "half a frame":
            peer.send(masked_frame(packets_of(1)[0], MASK)[:9])
        elif phase == "half a message":
            peer.send(masked_frame(b"abc", MASK, fin=False))
        elif phase == "close":
            peer.send_close()
        elif phase == "refused":
            peer.send(b"\x82\x00")
            peer.read_close()
        elif phase == "much audio":
            peer.send_packets(packets_of(2) * 4)
        peer.abort()


PHASES = [
    "connect",
    "half a request",
    "request",
    "upgrade",
    "half a frame",
    "half a message",
    "audio",
    "much audio",
    "close",
    "refused",
]


@pytest.mark.parametrize("phase", PHASES)
def test_reset_in_every_phase_leaves_nothing(daemon: Daemon, census: Census, phase: str) -> None:
    before = daemon.counter("accepted")
    for _ in range(2 * SLOTS):
        reset_after(daemon, phase)
        # One after the other, so that no two hold a slot at once. Where the reset came first there is nobody to refuse.
        daemon.wait(lambda: daemon.live() == 0, "the end of the connection")
    assert daemon.counter("accepted") <= before + 2 * SLOTS
    assert set(census.counted()) <= {"protocol_error", "request_malformed"}
    # A reset connection may still be accepted now, out of the listener's queue, and hold a slot for a moment.
    peer = daemon.wait(lambda: accepted(daemon), "a call that is accepted")
    assert peer.close() == 1000


def accepted(daemon: Daemon) -> Peer | None:
    peer = Peer(daemon.address)
    if peer.upgrade().accepted:
        return peer
    peer.socket.close()
    return None


def test_peer_that_reads_nothing_is_reset(daemon: Daemon, census: Census) -> None:
    with Peer(daemon.address) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert peer.upgrade().accepted
        pings = masked_frame(bytes(125), MASK, PING) * 500
        try:
            while True:
                peer.send(pings)
        except ConnectionError:
            pass
    assert census.counted() == {"send_stalled": 1}


def test_two_hundred_strangers_talk_garbage(daemon: Daemon, census: Census) -> None:
    choice = random.Random(4711)
    statuses: Counter[int] = Counter()
    peers = []
    for number in range(200):
        peer = Peer(daemon.address)
        peers.append(peer)
        data = choice.randbytes(choice.randint(1, 6000))
        if number % 4 == 1:
            data = b"GET " + data
        elif number % 4 == 2:
            at = choice.randrange(len(peer.request))
            data = peer.request[:at] + data[:20] + peer.request[at:]
        elif number % 4 == 3:
            data = b""
            peer.send(peer.request)
            peer.send(choice.randbytes(2000))
        try:
            peer.send(data)
            peer.socket.shutdown(socket.SHUT_WR)
        except ConnectionError:
            statuses[0] += 1
    for peer in peers:
        try:
            statuses[peer.read_answer().status] += 1
        except ConnectionError:
            statuses[0] += 1
        peer.read_end()
        peer.socket.close()
    assert set(statuses) <= {0, 101, 400, 401, 404, 405, 408, 426, 431, 503}, statuses
    assert statuses[400] > 50
    assert set(census.counted()) <= SLUGS - {"internal_error", "heartbeat_lost", "shutdown", "draining"}


def test_every_slot_is_used_once_and_one_call_more_is_refused(daemon: Daemon, census: Census) -> None:
    for _ in range(3):
        peers = [call(daemon.address) for _ in range(SLOTS)]
        with Peer(daemon.address) as surplus:
            answer = surplus.upgrade()
            assert (answer.status, answer.get("retry-after"), answer.body) == (503, "5", b"all streams are in use\n")
        assert sorted(daemon.locked_slots()) == list(range(SLOTS))
        for peer in peers:
            assert peer.close() == 1000
    assert census.counted() == {"no_slot": 3}


def test_silent_peer_is_noticed_and_dead_one_is_reset() -> None:
    settings = ("context.first_audio_ms=200", "context.degraded_ms=200", "context.heartbeat_ms=500")
    with Daemon(*settings) as running:
        daemon = running.wait_ready()
        with call(daemon.address) as peer:
            stream = daemon.hub.open(call_id=peer.call_id)

            def told(kind: str) -> list[str]:
                return [event["stream"] for event in daemon.events() if event["event"] == kind]

            daemon.wait(lambda: told("no_audio") == [stream.stream_id], "no_audio")
            peer.send_packets(packets_of(1)[:2])
            daemon.wait(lambda: stream.degraded, "DEGRADED")
            assert told("degraded") == [stream.stream_id]
            peer.send_packets(packets_of(1)[2:4])
            daemon.wait(lambda: told("recovered") == [stream.stream_id], "RECOVERED")
            # From here on it says nothing more, not even a pong.
            assert peer.read_end() == "reset"
            assert (stream.state, stream.end_reason, stream.close_code) == ("PARKED", "heartbeat_lost", None)
            assert stream.card()["flags"] & layout.FLAG_NO_AUDIO
            assert stream.totals.packets == 4
        assert daemon.counter("heartbeat_lost") == 1
        daemon.wait(lambda: daemon.live() == 0, "the end of the connection")
