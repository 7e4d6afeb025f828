"""Readers in processes of their own, as many as are wanted, of one kind: `python -m tests.faults.readers KIND HUB N`.

    slow        take the oldest 100 ms that are left of one stream, four times a second: they are lapped each time
    eager       take every block of one stream as soon as it can be had (to be killed)
    waiting     wait for every packet of one stream
    attaching   attach, take one block, leave, and begin anew, once a second each
    stuck       attach to the hub, ask and ask, and never read an answer

One process imports what is needed. At a byte on stdin it forks the others, and each prints that it `began` when it
has done its thing once; at the next byte each prints its ledger, a JSON object a line, ends, and behind the last one
stands `left`: so they come and go without a new program each time. Whoever dies meanwhile is replaced by another. A
ledger says what was lost by what the reader was told and by what it saw: the two must agree.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

import audiohook
from audiohook.errors import Overrun, ReaderError

STUCK_REQUESTS = 10_000
SLOW_S = 0.25
AGAIN_S = 0.2
LOOK_S = 0.01


class Told(BaseException):
    """It is over: raised wherever the reader is."""


class Ledger:
    """What one reader has had: frames `seen`, told `lost`, and `jumped` over between two blocks."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.rounds = 0
        self.seen = 0
        self.lost = 0
        self.jumped = 0
        self._owed = 0
        """What was told and not yet seen, behind which no block has come so far."""
        self._next: int | None = None

    def round(self) -> None:
        self.rounds += 1
        if self.rounds == 1:
            os.write(1, b'{"event": "began"}\n')

    def take(self, block: audiohook.Block) -> None:
        self.round()
        self.seen += block.frames
        self.lost, self._owed = self.lost + self._owed, 0
        if self._next is not None:
            self.jumped += block.first_frame - self._next
        self._next = block.first_frame + block.frames

    def told_lost(self, overrun: Overrun) -> None:
        """Note what was lost behind the first block; before it there is nothing to compare with."""
        if self._next is not None:
            self._owed += overrun.lost_frames

    def leave(self) -> None:
        """What comes next begins anew."""
        self._next = None

    def tell(self) -> None:
        fields = {"event": "ledger", "number": self.number, "rounds": self.rounds, "seen": self.seen}
        os.write(1, json.dumps({**fields, "lost": self.lost, "jumped": self.jumped}).encode() + b"\n")


def main(kind: str, hub_path: str, count: int) -> None:
    # Held back until a reader can take it: a signal just behind the fork would find it without a handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while os.read(0, 1):
        _stay(kind, hub_path, count)
        os.write(1, b'{"event": "left"}\n')
        os.read(0, 1)


def _stay(kind: str, hub_path: str, count: int) -> None:
    """Have so many readers until there is something to be read."""
    pids = {_start(kind, hub_path, number): number for number in range(count)}
    while not select.select([0], [], [], 0.05)[0]:
        for pid, number in list(pids.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del pids[pid]
                pids[_start(kind, hub_path, number)] = number
    while pids:
        # Again and again: what is raised while an object is being destroyed, Python prints and forgets.
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        again_s = time.monotonic() + AGAIN_S
        while pids and time.monotonic() < again_s:
            time.sleep(LOOK_S)
            pids = {pid: number for pid, number in pids.items() if not os.waitpid(pid, os.WNOHANG)[0]}


def _on_term(number: int, frame: FrameType | None) -> None:
    raise Told


def _quiet_when_told(what: "sys.UnraisableHookArgs") -> None:
    """Print what is raised while an object is being destroyed, but for `Told`, which comes again."""
    if what.exc_type is not Told:
        sys.__unraisablehook__(what)


def _start(kind: str, hub_path: str, number: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    ledger = Ledger(number)
    try:
        sys.unraisablehook = _quiet_when_told
        signal.signal(signal.SIGTERM, _on_term)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        KINDS[kind](hub_path, ledger)
    except Told:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ledger.tell()
    finally:
        os._exit(0)


def _live(hub: audiohook.Hub, number: int) -> audiohook.Stream:
    """Return one of the live streams: each reader has its own, as far as there are enough."""
    streams = sorted(hub.streams(), key=lambda stream: stream.stream_id)
    return streams[number % len(streams)]


def _blocks(
    stream: audiohook.Stream, frames: int, ledger: Ledger, start: int | str = "live"
) -> Iterator[audiohook.Block]:
    """Yield blocks from `start` on, and past every overrun, which is noted."""
    while True:
        try:
            # Copies: of a view that is overwritten in use an Overrun would count the frames once more.
            yield from stream.blocks(frames=frames, start=start, copy=True)  # type: ignore[arg-type]
            return
        except Overrun as overrun:
            ledger.told_lost(overrun)
            if overrun.next_frame is None:
                return
            start = overrun.next_frame


def _slow(hub_path: str, ledger: Ledger) -> None:
    with audiohook.attach(hub_path) as hub:
        stream = _live(hub, ledger.number)
        for block in _blocks(stream, stream.sample_rate // 10, ledger, "oldest"):
            ledger.take(block)
            time.sleep(SLOW_S)


def _eager(hub_path: str, ledger: Ledger) -> None:
    with audiohook.attach(hub_path) as hub:
        stream = _live(hub, ledger.number)
        for block in _blocks(stream, stream.sample_rate // 50, ledger):
            ledger.take(block)


def _attaching(hub_path: str, ledger: Ledger) -> None:
    time.sleep(ledger.number % 20 / 20)
    while True:
        try:
            with audiohook.attach(hub_path) as hub:
                ledger.take(next(iter(_blocks(_live(hub, ledger.number), 320, ledger))))
                ledger.leave()
        except ReaderError:
            pass  # the hub has had enough clients for the moment
        time.sleep(1.0)


def _stuck(hub_path: str, ledger: Ledger) -> None:
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            try:
                client.connect(hub_path)
                ledger.round()
                client.settimeout(1.0)
                for _ in range(STUCK_REQUESTS):
                    client.send(b'{"do":"attach"}')
            except OSError:
                time.sleep(1.0)


KINDS: dict[str, Callable[[str, Ledger], None]] = {
    "slow": _slow,
    "eager": _eager,
    "waiting": _eager,
    "attaching": _attaching,
    "stuck": _stuck,
}

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
