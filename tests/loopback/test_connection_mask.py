"""Masking backwards: what is zeroed is counted in the stream's own time, gaps included."""

from collections.abc import Iterator

import numpy as np
import pytest

from audiohook.session.events import GapArrived
from audiohook.units import NS_PER_S
from tests.support.calls import frame
from tests.support.connections import ConnectionBench, connections
from tests.support.peer import PACKET_FRAMES, RATE_HZ, decoded, packets_of

GAP_FRAMES = 100 * RATE_HZ
PACKETS = packets_of(0)[:20]


@pytest.fixture
def worker() -> Iterator[ConnectionBench]:
    with connections() as made:
        yield made


def frames_of(seconds: float) -> int:
    return round(seconds * RATE_HZ)


@pytest.mark.parametrize(
    ("seconds", "first_frame", "silent"),
    [
        (0.1, 20 * PACKET_FRAMES + GAP_FRAMES - frames_of(0.1), frames_of(0.1)),
        (0.2, 10 * PACKET_FRAMES + GAP_FRAMES, 10 * PACKET_FRAMES),
        (50, 20 * PACKET_FRAMES + GAP_FRAMES - frames_of(50), 10 * PACKET_FRAMES),
        (100.2, 10 * PACKET_FRAMES, 10 * PACKET_FRAMES),
        (100.3, 10 * PACKET_FRAMES - frames_of(0.1), 10 * PACKET_FRAMES + frames_of(0.1)),
        (3600, 0, 20 * PACKET_FRAMES),
    ],
)
def test_a_gap_counts_as_long_as_it_lasted(
    worker: ConnectionBench, seconds: float, first_frame: int, silent: int
) -> None:
    """A gap stores a second of silence at most: counted in bytes, 50 seconds back would be audio of before it."""
    peer = worker.connect().upgraded()
    stream = peer.connection.stream
    assert stream is not None

    def say(packets: list[bytes], length: int) -> None:
        peer.send(b"".join(map(frame, packets)))
        worker.until(lambda: worker.memory.stream(0).totals.length == length)

    say(PACKETS[:10], 10 * PACKET_FRAMES)
    stream.take(GapArrived(GAP_FRAMES, "paused"), worker.loop.clock())
    say(PACKETS[10:], 20 * PACKET_FRAMES + GAP_FRAMES)
    before = worker.memory.stream(0).totals
    assert stream.mask_back(round(seconds * NS_PER_S)) == (first_frame, 20 * PACKET_FRAMES + GAP_FRAMES)
    blocks = worker.memory.stream(0).blocks(PACKET_FRAMES, start="oldest", gaps="skip", copy=True)
    heard = np.concatenate([next(blocks).samples[:, 0] for _ in range(20)])
    expected = decoded(PACKETS)
    expected[len(expected) - silent :] = 0
    assert np.array_equal(heard, expected)
    assert worker.memory.stream(0).totals == before, "totals stay"


def test_a_stream_without_audio_has_nothing_to_mask(worker: ConnectionBench) -> None:
    stream = worker.connect().upgraded().connection.stream
    assert stream is not None
    assert stream.mask_back(NS_PER_S) == (0, 0)
