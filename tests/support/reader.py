"""Runs `reading.py` and follows what it says; has the samples that it read."""

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.daemon import PATIENCE_S, ROOT
from tests.support.peer import Samples

Event = dict[str, Any]


class Reader:
    """One reader process. On leaving the `with` block it is gone, and its files too."""

    def __init__(self, mode: str, hub_path: str, frames: int = 512, uid: int | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="audiohook-reader-"))
        self.folder.chmod(0o777)
        self.events: list[Event] = []
        self._unread = b""
        options = [mode, hub_path, str(self.folder), str(frames), *([] if uid is None else [str(uid)])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.reading", *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        shutil.rmtree(self.folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    def seen(self, event: str, **fields: object) -> list[Event]:
        return [one for one in self.events if one["event"] == event and fields.items() <= one.items()]

    def wait_for(self, event: str, count: int = 1, **fields: object) -> list[Event]:
        """Return the events of this name with these fields, once there are `count` of them."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.seen(event, **fields)) < count:
            self._read(deadline, f"{count} x {event} {fields}")
        return self.seen(event, **fields)

    def finish(self) -> None:
        """Tell it to leave, and take in its last words."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE_S) == 0
        assert self._process.stdout is not None
        self._take(self._process.stdout.read())

    def samples(self, stream_id: str) -> Samples:
        """Return what it has read of a stream so far."""
        path = self.folder / f"{stream_id}.raw"
        return np.fromfile(path, np.int16) if path.exists() else np.zeros(0, np.int16)

    def _read(self, deadline: float, awaited: str) -> None:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            ready = selector.select(max(deadline - time.monotonic(), 0))
        data = os.read(self._process.stdout.fileno(), 65_536) if ready else b""
        assert data, f"{awaited} did not come; there were {self.events}"
        self._take(data)

    def _take(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        self.events += [json.loads(line) for line in lines]
