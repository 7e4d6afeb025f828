"""Who else comes and goes: calls that are put on hold and come back, readers, and peers that get no stream."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

import audiohook
from tests.faults.crowd import Crowd
from tests.soak.lane import Lane
from tests.support.daemon import Daemon, kill
from tests.support.peer import Peer, Samples, call, call_again, decoded, packets_of

PATIENCE_S = 30.0
LOOK_S = 0.02
MOST_READERS = 6
READERS = ("attaching", "eager", "slow", "waiting", "stuck")


class Holds(Lane):
    """One call after another that is put on hold, loses its peer, and is gone on with, or is ended meanwhile."""

    def __init__(self, daemon: Daemon, until_s: float, seed: int) -> None:
        super().__init__("holds", until_s, seed)
        self._address = daemon.address
        self._hub_path = daemon.hub_path

    def round(self) -> None:
        packets = packets_of(self.rng.randrange(200))
        comes_back = self.rng.random() < 0.75
        said = [packets[: self.rng.randint(5, 40)], packets[: self.rng.randint(5, 40)]]
        hold_s, pause_s = self.rng.uniform(0.1, 1.5), self.rng.uniform(0.2, 1.0)
        with (
            audiohook.attach(self._hub_path) as hub,
            audiohook.Commander(self._hub_path) as commander,
            ThreadPoolExecutor(1) as hearing,
            ExitStack() as over,
        ):
            earlier = call(self._address)
            # Also where its return is refused (the ramp ends in overload): a PARKED call is heard until it is over.
            over.callback(commander.ask, "end", call=earlier.call_id)
            stream = hub.open(call_id=earlier.call_id)
            # Heard as it is said: where a wave of calls comes meanwhile, what was over may be gone.
            heard = hearing.submit(_heard, hub.open(call_id=earlier.call_id))
            earlier.send_packets(said[0])
            self._wait(lambda: stream.totals.packets == len(said[0]), "the first packets")
            assert commander.ask("hold", call=earlier.call_id)["ok"]
            earlier.close(1000, "Hold")
            self._wait(lambda: stream.parked, "a PARKED stream")
            self.pause(hold_s)
            if comes_back:
                with call_again(self._address, earlier) as later:
                    later.send_packets(said[1])
                    later.close()
            else:
                assert commander.ask("end", call=earlier.call_id)["ok"]
                said.pop()
            frames = heard.result(PATIENCE_S)
        expected = np.concatenate([decoded(packets) for packets in said])
        assert np.array_equal(frames, expected), f"{len(frames)} frames were heard, {len(expected)} sent, or others"
        self.done["came back" if comes_back else "ended while PARKED"] += 1
        self.pause(pause_s)

    def _wait(self, condition: object, awaited: str) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < give_up_s, f"{awaited} did not come"
            time.sleep(LOOK_S)  # between two looks


def _heard(stream: audiohook.Stream) -> Samples:
    """Return what was said on all connections of a call, once it is over, without the gaps between them."""
    pieces = [np.zeros(0, np.int16)]
    for block in stream.blocks(frames=320, start="oldest", copy=True):
        said = np.ones(block.frames, bool)
        for gap in block.gaps:
            first = gap.first_frame - block.first_frame
            said[max(first, 0) : max(first + gap.frames, 0)] = False
        pieces.append(block.samples[said, 0])
    return np.concatenate(pieces)


class Readers(Lane):
    """Readers of one kind for some seconds, then of another; half the time they are killed instead of told to go."""

    def __init__(self, daemon: Daemon, until_s: float, seed: int) -> None:
        super().__init__("readers", until_s, seed)
        self._daemon = daemon

    def round(self) -> None:
        kind, count = self.rng.choice(READERS), self.rng.randint(1, MOST_READERS)
        stay_s, pause_s, leaves = self.rng.uniform(1, 6), self.rng.uniform(0.1, 2), self.rng.random() < 0.5
        with Crowd(self._daemon, kind, count) as crowd:
            crowd.come()
            self.pause(min(stay_s, self.left_s))
            if leaves:
                wrong = [one for one in crowd.leave() if one["lost"] != one["jumped"]]
                assert not wrong, f"readers were not told of what they lost: {wrong}"
            else:
                for pid in crowd.pids():
                    kill(pid, 9)
        self.done[f"{kind} {'left' if leaves else 'killed'}"] += count
        self.pause(min(pause_s, self.left_s))


SAYS = {
    "health_checks": b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    "not_found": b"GET /else HTTP/1.1\r\nhost: a\r\n\r\n",
    "method_not_allowed": b"DELETE /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    "request_malformed": b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    "gone": b"GET / HTTP/1.1\r\nhos",
    "reset": b"",
}
A_SECOND = 0.25
"""So many come for each call that is live on average: many more than there are calls, and yet not most of the work."""


class Refused(Lane):
    """Peers that get no stream, many a second: what is kept of each of them would soon be seen."""

    def __init__(self, daemon: Daemon, calls: int, until_s: float, seed: int) -> None:
        super().__init__("refused", until_s, seed)
        self._address = daemon.address
        self._pause_s = 1 / (A_SECOND * calls)

    def round(self) -> None:
        kind = self.rng.choice(list(SAYS))
        with Peer(self._address) as peer:
            peer.send(SAYS[kind])
            if kind == "reset":
                peer.abort()
            elif kind != "gone":
                peer.read_end()
        self.done[kind] += 1
        self.pause(self._pause_s)

    def counted(self) -> Counter[str]:
        """Return what the daemon must have counted of them: half a request is none, and nothing at all is nothing."""
        counted = Counter(self.done)
        counted["request_malformed"] += counted.pop("gone", 0)
        counted.pop("reset", None)
        return counted
