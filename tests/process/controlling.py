"""What the tests of the control channel share: a daemon whose workers obey (`commanded.py`), and who commands it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.support.daemon import PATIENCE_S, ROOT, Daemon
from tests.support.peer import Peer

StartDaemon = Callable[..., Daemon]
PlaceCalls = Callable[..., list[Peer]]
Answer = dict[str, Any]

HUNG_S = 7.0
"""Whoever asks gets an answer in words by then: the desk's five seconds and something for a busy machine."""


def obedient(start: StartDaemon, *settings: str) -> Daemon:
    """Start a daemon whose workers obey, and let calls live that answer no ping."""
    # NumPy is imported there before the daemon could say how many threads it may have.
    environment = {"OPENBLAS_NUM_THREADS": "1"}
    patient = "context.heartbeat_ms=600000"
    return start(patient, *settings, module="tests.process.commanded", environment=environment)


def stream_id(daemon: Daemon, peer: Peer) -> str:
    found: str = daemon.hub.open(participant_id=peer.participant_id).stream_id
    return found


def worker_of(daemon: Daemon, peer: Peer) -> int:
    """Return the pid of the worker that has this call."""
    return daemon.workers()[daemon.hub.open(participant_id=peer.participant_id).card()["row"]]


class Program:
    """One run of `asking.py`. Gone on leaving the `with` block."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.process.asking", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin = self._process.stdin
        self.stdout = self._process.stdout

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self.stdin.close()
        self.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def finish(self) -> str:
        """End its stdin; return what it still had to say."""
        self.stdin.close()
        said = self.stdout.read()
        assert self._process.wait(PATIENCE_S) == 0
        return said


class Asking(Program):
    """Somebody who commands, maybe as another user."""

    def __init__(self, daemon: Daemon, *identity: int) -> None:
        super().__init__("ask", daemon.hub_path, *map(str, identity))
        assert json.loads(self.stdout.readline())["pid"] == self.pid

    def send(self, do: str, **fields: Any) -> None:
        self.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self.stdin.flush()

    def receive(self) -> Answer:
        answer: Answer = json.loads(self.stdout.readline())
        return answer

    def ask(self, do: str, **fields: Any) -> Answer:
        self.send(do, **fields)
        return self.receive()


def result(answer: Answer) -> Answer:
    """Return the one stream's result."""
    (only,) = answer["results"]
    return dict(only)
