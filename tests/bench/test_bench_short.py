"""`make bench` in small: all that is sent is published and counted, by ours and by the C server. Asserts no times."""

import json
import os
import select
import shutil
import signal
import socket
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from audiohook.wire.client import masked_frame
from tests.bench import driving
from tests.bench.cores import two_cores
from tests.bench.driving import Driven, Placed, Timing, drive, packets_file, placed
from tests.bench.media import HEADER_BYTES, OPUS_16K, PCMU_100, Media
from tests.bench.rounds import floor_trial, own_kib, trial
from tests.bench.run import Bench
from tests.bench.servers import COUNT_BYTES, LIMIT, OURS, OURS_TWO, Running, Server, Words

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the bench's driver is built by gcc")

CALLS = 10
TIMING = Timing(window_s=0.8, warm_s=0.2)
APART = 37
"""Of packets.h: each call begins so many packets behind the one before."""


@pytest.mark.parametrize("server", [OURS, OURS_TWO, LIMIT], ids=lambda server: server.name)
@pytest.mark.parametrize("media", [OPUS_16K, PCMU_100], ids=lambda media: media.name)
def test_all_that_is_sent_is_published(server: Server, media: Media) -> None:
    packets, window_packets = (CALLS * round(seconds * 1000 / media.packet_ms) for seconds in (1.0, 0.8))
    with server.start(media, CALLS, two_cores()[1]) as running, placed(running, media, CALLS) as calls:
        driven = drive(running, media, calls, TIMING)
        assert driven.ended == ""
        assert driven.sent == driven.published == packets
        assert running.wrong(packets) == []
        assert driven.latency_ns["count"] == driven.lateness_ns["count"] == window_packets
        assert 0 < driven.latency_ns["p50"] <= driven.latency_ns["p99"] <= driven.latency_ns["max"]
        assert len(driven.cpu_ns) == len(running.processes())
        assert driven.cpu_ns[0] > 0
        assert own_kib(running) > 0
        if server is not LIMIT:
            assert running.wrong(packets + 1) != []
        else:
            hold_samples(running, media, calls)


def test_what_is_measured_so_far_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    Bench(TIMING, rounds=1, file=file).compare(OPUS_16K, CALLS, [LIMIT], with_floor=False)
    (row,) = json.loads(file.read_text())["rows"]
    assert (row["server"], row["load"], row["calls"]) == (LIMIT.name, OPUS_16K.name, CALLS)


def hold_samples(running: Running, media: Media, calls: list[Placed]) -> None:
    """Compare what a peer has in its rings with what its calls sent: a second, which a ring holds."""
    packets = media.packets()
    words = running.words([call.name for call in calls])
    for number, at in enumerate(words.at):
        slot = os.pread(words.fd, media.slot_bytes, at - COUNT_BYTES)
        (frames,) = struct.unpack_from("<Q", slot, COUNT_BYTES)
        sent = [packets[(APART * number + k) % len(packets)] for k in range(1000 // media.packet_ms)]
        ring = np.frombuffer(slot, np.int16, frames * media.channels, HEADER_BYTES)
        assert np.array_equal(ring, media.decoded(sent))


def test_a_server_that_breaks_is_a_void_row_and_no_end() -> None:
    @contextmanager
    def start(media: Media, calls: int, core: int) -> Iterator[Running]:
        with LIMIT.start(media, calls, core) as running:
            os.kill(running.processes()[0], signal.SIGKILL)
            yield running

    (why,) = trial(Server("breaks", "", start), OPUS_16K, 2, TIMING, 0).void
    assert why.startswith("it broke: ")


def test_the_floor_decodes() -> None:
    for media in (OPUS_16K, PCMU_100):
        assert floor_trial(media, CALLS, Timing(0.2), 0).cpu_us > 0


class Silent(Running):
    """A server that has taken a call and publishes nothing."""

    def __init__(self) -> None:
        self.memory = os.memfd_create("nothing")
        os.truncate(self.memory, 4096)

    def processes(self) -> list[int]:
        return [os.getpid()]

    def words(self, names: list[uuid.UUID]) -> Words:
        return Words(self.memory, 4096, [0 for _ in names], 320)


def driven_by(server_socket: socket.socket, client: socket.socket, says: bytes) -> Driven:
    server = Silent()
    try:
        server_socket.sendall(says)
        return drive(server, OPUS_16K, [Placed(client, uuid.uuid4())], Timing(0.1, 0.0))
    finally:
        os.close(server.memory)


def test_what_is_not_published_makes_a_run_void_and_pings_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "PATIENCE_S", 0.1)
    server, client = socket.socketpair()
    with server, client:
        driven = driven_by(server, client, b"\x81\x02hi\x89\x04mind")
        assert (driven.sent, driven.published, driven.ended) == (5, 0, "")
        assert driven.lost == ["published 0 of 5 packets"]
        heard = server.recv(65_536)
    pong = b"\x8a\x84\0\0\0\0mind"
    packets = b"".join(masked_frame(packet, driving.MASK) for packet in OPUS_16K.packets()[:5])
    assert pong in heard
    assert heard.replace(pong, b"") == packets


@pytest.mark.parametrize("says", [b"\x88\x02\x03\xf4", b"\x81\x7d"], ids=["a close frame", "half a frame"])
def test_a_call_that_is_ended_makes_a_run_void(says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "PATIENCE_S", 0.1)
    server, client = socket.socketpair()
    with server, client:
        assert "call 0 was ended" in driven_by(server, client, says).lost[0]


def test_a_server_that_does_not_read_makes_a_run_void(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "PATIENCE_S", 0.1)
    server, client = socket.socketpair()
    with server, client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        client.setblocking(False)
        while select.select([], [client], [], 0)[1]:
            client.send(bytes(64))
        assert "its socket is full" in driven_by(server, client, b"").lost[0]


def test_packets_are_written_with_their_lengths() -> None:
    with packets_file((b"ab", b"c")) as path:
        assert path.read_bytes() == b"\x02\0\0\0ab\x01\0\0\0c"
