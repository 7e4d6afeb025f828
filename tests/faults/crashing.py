"""audiohookd of which one worker crashes again and again: `python -m tests.faults.crashing [options of audiohookd]`.

Everything is the real daemon's, but in the row that CRASHING_ROW names a worker dies, for as long as there is a file
`crash` in the working directory: in turn as soon as it has begun, a moment after it was ready, and when it has taken a
connection or two.
"""

import os
import signal
import sys
from pathlib import Path

from audiohook.cli import service
from audiohook.cli.audiohookd import main
from audiohook.config import Config
from audiohook.config.live import LiveSettings
from audiohook.memory.arena import MemoryFiles
from audiohook.net.seat import WorkerSeat
from audiohook.net.tls_pair import TlsPair
from audiohook.units import NS_PER_MS
from audiohook.worker.process import Worker

SWITCH = Path("crash")
LOOK_NS = 20 * NS_PER_MS
READY_NS = 100 * NS_PER_MS
WAYS = ("at once", "when ready", "with a connection")


class Crashing(Worker):
    """A worker that looks for the switch now and then."""

    def __init__(
        self,
        seat: WorkerSeat,
        files: MemoryFiles,
        config: Config,
        pair: TlsPair | None,
        keeps_queue: bool,
        settings: LiveSettings,
        way: str,
    ) -> None:
        super().__init__(seat, files, config, pair, keeps_queue, settings)
        self._way = way
        self._born_ns = self.loop.clock()
        self._look(self._born_ns)

    def _look(self, now_ns: int) -> None:
        if SWITCH.exists() and now_ns - self._born_ns >= READY_NS and (self._way != WAYS[2] or self.connections):
            os.kill(os.getpid(), signal.SIGSEGV)
        self.loop.call_at(now_ns + LOOK_NS, self._look)


def run_worker(
    seat: WorkerSeat,
    files: MemoryFiles,
    config: Config,
    pair: TlsPair | None,
    keeps_queue: bool,
    settings: LiveSettings,
) -> int:
    """Be a worker, a crashing one if the row is the one that crashes."""
    way = WAYS[os.getpid() % len(WAYS)]
    if str(seat.row) != os.environ["CRASHING_ROW"]:
        Worker(seat, files, config, pair, keeps_queue, settings).run()
        return 0
    if SWITCH.exists() and way == WAYS[0]:
        os.kill(os.getpid(), signal.SIGSEGV)
    Crashing(seat, files, config, pair, keeps_queue, settings, way).run()
    return 0


if __name__ == "__main__":
    service.run_worker = run_worker
    sys.exit(main())
