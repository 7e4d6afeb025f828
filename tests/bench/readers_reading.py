"""Readers in processes of their own, for the bench: `python -m tests.bench.readers_reading KIND HUB N FRAMES SETTLE_S`.

    one    N processes, each in the blocks of one stream, one after the other, as they come
    all    one process in the blocks of all streams, in one loop

One process imports what is needed and forks the others. Each says that it is ready to wait for its first block. What is
counted begins `SETTLE_S` after that block and ends at EOF of stdin; then each tells its `Figures`, one JSON object in a
line, and ends.
"""

import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import FrameType

import msgspec

import audiohook
from audiohook.load.histogram import Histogram
from audiohook.units import NS_PER_MS, seconds_ns

READY = b"ready\n"

LATE_NS = 20 * NS_PER_MS
"""A block that is handed out longer than a packet after its last one was read from the socket."""


class Figures(msgspec.Struct):
    """What one reader has seen. `delay`: from a packet's read by the worker to its block in the reader's hands."""

    blocks: int = 0
    late: int = 0
    lost_frames: int = 0
    broken: int = 0
    """Blocks that did not begin where the one before of the same stream ended, or were overwritten in use."""
    sleeps: int = 0
    cpu_ns: int = 0
    wall_ns: int = 0
    delay: Histogram = msgspec.field(default_factory=Histogram)


class Told(BaseException):
    """It is over: raised wherever the reader is."""


class Counting:
    """One reader's figures, from `settle_ns` after its first block on."""

    def __init__(self, settle_ns: int) -> None:
        self.figures = Figures()
        self._settle_ns = settle_ns
        self._begins_ns = 0
        self._next: dict[int, int] = {}
        self._before = (0, 0, 0)

    def take(self, stream: audiohook.Stream, block: audiohook.Block, now_ns: int) -> None:
        """Count a block that was handed out at `now_ns`."""
        follows = self._next.get(stream.slot, block.first_frame) == block.first_frame
        self._next[stream.slot] = block.first_frame + block.frames
        if now_ns < self._begins_ns:
            return
        if not self._before[0]:
            if not self._begins_ns:
                self._begins_ns = now_ns + self._settle_ns
                return
            self._before = _now()
        figures = self.figures
        delay_ns = now_ns - block.arrival_ns
        figures.blocks += 1
        figures.late += delay_ns > LATE_NS
        figures.broken += not (follows and block.still_valid())
        figures.delay.record(delay_ns)

    def tell(self, lost_frames: int) -> None:
        figures = self.figures
        if self._before[0]:
            figures.wall_ns, figures.cpu_ns, figures.sleeps = (
                now - before for now, before in zip(_now(), self._before, strict=True)
            )
        figures.lost_frames = lost_frames
        os.write(1, msgspec.json.encode(figures) + b"\n")


def _now() -> tuple[int, int, int]:
    """Return the time, this process' CPU time, and how often it has gone to sleep."""
    return time.monotonic_ns(), time.process_time_ns(), resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def read_all(hub_path: str, frames: int, settle_ns: int) -> None:
    """Read every stream in one loop, until EOF of stdin."""
    counting = Counting(settle_ns)
    streams: dict[int, audiohook.Stream] = {}
    with audiohook.attach(hub_path) as hub:
        threading.Thread(target=lambda: (sys.stdin.read(), hub.stop_following()), daemon=True).start()
        blocks = hub.blocks(frames=frames)
        os.write(1, READY)
        for stream, block in blocks:
            counting.take(stream, block, time.monotonic_ns())
            streams[stream.slot] = stream
    counting.tell(sum(stream.lost_frames for stream in streams.values()))


def read_one(hub_path: str, number: int, frames: int, settle_ns: int) -> None:
    """Read one of the streams, until SIGTERM: each reader its own, as far as there are enough."""
    counting = Counting(settle_ns)
    with audiohook.attach(hub_path) as hub:
        streams = sorted(hub.streams(), key=lambda stream: stream.slot)
        stream = streams[number % len(streams)]
        blocks = stream.blocks(frames=frames, on_overrun="skip")
        os.write(1, READY)
        try:
            for block in blocks:
                counting.take(stream, block, time.monotonic_ns())
        except Told:
            counting.tell(stream.lost_frames)


def _on_term(number: int, frame: FrameType | None) -> None:
    raise Told


def _forked(hub_path: str, count: int, frames: int, settle_ns: int) -> Iterator[int]:
    """Yield the pid of each reader."""
    # Held back until a reader can take it: a signal just behind the fork would find it without a handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for number in range(count):
        pid = os.fork()
        if pid:
            yield pid
            continue
        try:
            signal.signal(signal.SIGTERM, _on_term)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            read_one(hub_path, number, frames, settle_ns)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)


def main(kind: str, hub_path: str, count: int, frames: int, settle_s: float) -> None:
    settle_ns = seconds_ns(settle_s)
    if kind == "all":
        read_all(hub_path, frames, settle_ns)
        return
    pids = list(_forked(hub_path, count, frames, settle_ns))
    sys.stdin.read()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert status == 0, "a reader has failed"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
