"""Runs `readers_reading.py` and hears what it says: so many readers, from entering the `with` block to `finish`."""

import os
import subprocess
import sys
import threading
import time

import msgspec

from audiohook.load.histogram import Histogram
from tests.bench.readers_reading import READY, Figures
from tests.support.daemon import PATIENCE_S, ROOT

SETTLE_S = 0.5

_decoder = msgspec.json.Decoder(Figures)


class Crowd:
    """`count` readers of one kind. On leaving the `with` block every one of them is gone."""

    def __init__(self, kind: str, hub_path: str, count: int, frames: int, settle_s: float = SETTLE_S) -> None:
        self._count = 1 if kind == "all" else count
        self._ready = 0
        self._figures: list[Figures] = []
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.bench.readers_reading",
                kind,
                hub_path,
                str(count),
                str(frames),
                str(settle_s),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._listening = threading.Thread(target=self._listen)

    def __enter__(self) -> "Crowd":
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, 9)
        self._process.wait()
        self._listening.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def wait_ready(self) -> None:
        """Wait until every one waits for its first block."""
        deadline = time.monotonic() + PATIENCE_S
        while self._ready < self._count:
            assert self._process.poll() is None, "the readers have ended"
            assert time.monotonic() < deadline, f"{self._ready} of {self._count} readers are ready"
            time.sleep(0.01)

    def finish(self) -> list[Figures]:
        """Let all of them leave; return their figures."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE_S) == 0
        self._listening.join()
        return self._figures

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == READY:
                self._ready += 1
            else:
                self._figures.append(_decoder.decode(line))


def merged(figures: list[Figures]) -> Figures:
    """Return the figures of all readers together; `wall_ns` is the longest."""
    whole = Figures(delay=Histogram())
    for one in figures:
        whole.blocks += one.blocks
        whole.late += one.late
        whole.lost_frames += one.lost_frames
        whole.broken += one.broken
        whole.sleeps += one.sleeps
        whole.cpu_ns += one.cpu_ns
        whole.wall_ns = max(whole.wall_ns, one.wall_ns)
        whole.delay.merge(one.delay)
    return whole
