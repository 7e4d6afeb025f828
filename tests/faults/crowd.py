"""Runs `readers.py` and hears what it says: so many readers of one kind, each time from `come` to `leave`."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.support.daemon import ROOT, Daemon

LEAVE_S = 30.0


class Crowd:
    """Within the `with` block they may come as often as is wanted; on leaving it every one of them is gone."""

    def __init__(self, daemon: Daemon, kind: str, count: int) -> None:
        self._daemon = daemon
        self._count = count
        self._lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.readers", kind, daemon.hub_path, str(count)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listening = threading.Thread(target=self._listen)

    def __enter__(self) -> "Crowd":
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        for pid in self.pids():
            _kill(pid)
        self._process.kill()
        self._process.wait()
        self._listening.join()
        self._process.stdout.close()

    def pids(self) -> list[int]:
        """Return the readers that there are now."""
        try:
            return [
                int(pid)
                for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            ]
        except FileNotFoundError:
            return []

    def come(self) -> None:
        """Return when each of them has done its thing once."""
        self._lines = []
        self._tell()
        self._daemon.wait(lambda: len(self._seen("began")) >= self._count, "readers that have begun")

    def leave(self) -> list[dict[str, Any]]:
        """Let all of them leave; return their ledgers."""
        self._tell()
        self._daemon.wait(lambda: self._seen("left"), "readers that have left", LEAVE_S)
        return self._seen("ledger")

    def _tell(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _seen(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self._lines) if line["event"] == event]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(json.loads(line))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
