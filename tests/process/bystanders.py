"""Live calls of both dialects that talk all the time while something else happens to the same worker.

What they must not notice is checked at the end, sample by sample: everything that they sent is in their rings, in
order, with no gap and nothing concealed, and their peers had no fault to find.
"""

import select
import threading
import time

import numpy as np

from tests.support.daemon import Daemon
from tests.support.genesys import Genesys
from tests.support.peer import Peer, Talking, decoded

SLICE_S = 0.1
SLICE_FRAMES = 800
CALLS = 2
"""Of each dialect."""


class Bystanders:
    """Two calls of each dialect, from entering the `with` block to `check`. `secret` is what `context` calls show."""

    def __init__(self, daemon: Daemon, secret: tuple[str, str] | None = None) -> None:
        self._daemon = daemon
        self._secret = secret
        self._talking = Talking()
        self._peers: list[Peer] = []
        self._callers: list[Genesys] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._noise = np.random.default_rng(42).integers(-30_000, 30_000, (50 * SLICE_FRAMES, 2)).astype(np.int16)
        self._broken: BaseException | None = None

    def __enter__(self) -> "Bystanders":
        self._talking.__enter__()
        self._thread.start()
        try:
            for number in range(CALLS):
                peer = Peer(self._daemon.address)
                self._peers.append(peer)
                if self._secret is not None:
                    peer.request = peer.request[:-2] + ": ".join(self._secret).encode() + b"\r\n\r\n"
                assert peer.upgrade().accepted
                self._talking.add(peer, number)
                self._callers.append(Genesys(self._daemon.address).opened())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._talking.__exit__()
        for caller in self._callers:
            caller.socket.close()

    def check(self) -> None:
        """All of them still talk; end them and compare what was sent with what a reader finds."""
        said = [len(peer.sent) for peer in self._peers], [len(caller.pieces) for caller in self._callers]
        self._daemon.wait(lambda: self._said_more_than(*said), "bystanders that go on talking")
        self._stop()
        assert not self._talking.broken
        for peer in self._peers:
            assert self._talking.take(peer).close() == 1000
            self._compare(peer.call_id, decoded(peer.sent)[:, None])
        for caller in self._callers:
            caller.close()
            assert not caller.client.faults
            self._compare(caller.caller.conversation_id, caller.sent)

    def _said_more_than(self, packets: list[int], pieces: list[int]) -> bool:
        assert self._broken is None, self._broken
        return all(len(peer.sent) > count + 5 for peer, count in zip(self._peers, packets, strict=True)) and all(
            len(caller.pieces) > count + 1 for caller, count in zip(self._callers, pieces, strict=True)
        )

    def _compare(self, call_id: str, sent: np.ndarray) -> None:
        stream = self._daemon.hub.open(call_id=call_id)
        totals = stream.totals
        assert totals.length == totals.decoded == len(sent) > 0
        assert not any(totals.gaps.values())
        assert not stream.degraded
        found = [block.samples.copy() for block in stream.blocks(SLICE_FRAMES, start="oldest")]
        assert np.array_equal(np.concatenate(found), sent)
        assert stream.lost_frames == 0
        assert stream.end_reason == "peer_closed"

    def _stop(self) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stopped.wait(max(0.0, due_s - time.monotonic())):
            due_s += SLICE_S
            try:
                for caller in list(self._callers):
                    self._say(caller)
            except BaseException as error:
                self._broken = error  # `check` raises it, in the test's own thread
                return

    def _say(self, caller: Genesys) -> None:
        """Say the next slice; ping when it is time, and read what has come."""
        first = len(caller.pieces) % 50 * SLICE_FRAMES
        caller.client.on_deadline(time.monotonic_ns())
        caller.say(self._noise[first : first + SLICE_FRAMES])
        while select.select([caller.socket], [], [], 0)[0]:
            caller.turn()
