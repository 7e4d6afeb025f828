"""Peers of both dialects that open, wait, and then send all they have at once: 30 s of audio each.

Genesys may send so much after `opened`; a network that stood still delivers it likewise. All of it goes out through one
selector as fast as the daemon takes it, from send buffers as large as the kernel grants: with the usual ones who sends
needs most of a processor for a few kilobytes at a time, and live calls wait for him as long as for the daemon.
"""

import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

import audiohook
from audiohook.codec import pcmu
from audiohook.wire.client import masked_frame
from tests.support.daemon import PATIENCE_S, Daemon
from tests.support.genesys import Genesys
from tests.support.peer import MASK, Samples, call, decoded, packets_of

SECONDS = 30
PACKETS = SECONDS * 50
MESSAGES = SECONDS * 5
MESSAGE_FRAMES = 1600


class Bursts:
    """So many peers, half of each dialect, opened. `pairs` say what a reader must find: participant, samples."""

    def __init__(self, daemon: Daemon, peers: int, stack: ExitStack) -> None:
        self._daemon = daemon
        self._context = [stack.enter_context(call(daemon.address)) for _ in range(peers - peers // 2)]
        self._genesys = [stack.enter_context(Genesys(daemon.address)).opened() for _ in range(peers // 2)]
        packets = (packets_of(3) * (PACKETS // len(packets_of(3)) + 1))[:PACKETS]
        noise = np.random.default_rng(9).integers(-30_000, 30_000, (MESSAGES * MESSAGE_FRAMES, 2)).astype(np.int16)
        payload = pcmu.encode(noise)
        self._said = decoded(packets)[:, None], pcmu.DECODED[np.frombuffer(payload, np.uint8)].reshape(noise.shape)
        cut = 2 * MESSAGE_FRAMES
        pieces = [payload[at : at + cut] for at in range(0, len(payload), cut)]
        self._bytes = tuple(b"".join(masked_frame(one, MASK) for one in said) for said in (packets, pieces))
        # Now and not while they burst: to find 100 streams among as many cards takes a processor for half a second.
        self._streams = [(daemon.hub.open(participant_id=who), said) for who, said in self._expected()]

    def __len__(self) -> int:
        return len(self._context) + len(self._genesys)

    def send(self) -> None:
        """Send all of it, and wait until every frame of it can be read."""
        with selectors.DefaultSelector() as selector:
            for peers, data in zip((self._context, self._genesys), self._bytes, strict=True):
                for peer in peers:
                    peer.socket.setblocking(False)
                    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(data))
                    selector.register(peer.socket, selectors.EVENT_WRITE, memoryview(data))
            while selector.get_map():
                for key, _ in selector.select(PATIENCE_S):
                    assert isinstance(key.fileobj, socket.socket)
                    left = key.data[key.fileobj.send(key.data) :]
                    if left:
                        selector.modify(key.fileobj, selectors.EVENT_WRITE, left)
                    else:
                        selector.unregister(key.fileobj)
                        key.fileobj.settimeout(PATIENCE_S)
        pending = list(self._streams)

        def whole() -> bool:
            while pending and pending[-1][0].totals.length >= len(pending[-1][1]):
                pending.pop()
            return not pending

        self._daemon.wait(whole, "all of the bursts")

    def wrong(self) -> int:
        """Return how many of them are not in their rings: sample for sample, but for what was dropped and says so."""
        return sum(not _as_sent(stream, said) for stream, said in self._streams)

    def dropped(self) -> int:
        """Return how many frames of them were dropped."""
        return sum(stream.totals.gaps["dropped"] for stream, _ in self._streams)

    def end(self) -> None:
        """End all of them properly."""
        for peer in self._context:
            assert peer.close() == 1000
        for caller in self._genesys:
            caller.client.audio_sent(MESSAGES * MESSAGE_FRAMES)
            caller.close()
            assert not caller.client.faults, caller.client.faults

    def _expected(self) -> Iterator[tuple[str, Samples]]:
        yield from ((peer.participant_id, self._said[0]) for peer in self._context)
        yield from ((one.caller.participant_id, self._said[1]) for one in self._genesys)


def _as_sent(stream: audiohook.Stream, said: Samples) -> bool:
    totals = stream.totals
    if dropped := totals.gaps["dropped"]:
        return totals.decoded + dropped == totals.length == len(said)
    found = stream.latest(float(SECONDS)).samples
    return totals.length == totals.decoded == len(said) and np.array_equal(found, said)


@contextmanager
def opened(daemon: Daemon, peers: int) -> Iterator[Bursts]:
    """Open so many peers; their connections are closed at the end of the `with` block."""
    with ExitStack() as stack:
        yield Bursts(daemon, peers, stack)
