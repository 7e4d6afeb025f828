"""What the tests of reloading share: the command, copies of the package that can be broken, and calls that keep coming.

What all of it comes to, in any size, is the row `reload` of `make faults` (tests/faults/rows/reload.py).
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.daemon import PATIENCE_S, ROOT, Daemon, descriptors, link
from tests.support.peer import Peer, call, decoded, packets_of

StartDaemon = Callable[..., Daemon]

PATIENT = ("server.overload_ms=10000", "context.heartbeat_ms=600000", "context.first_audio_ms=600000")
"""On a machine that is busy with other things workers are late; calls that say nothing are ended."""

CALL_PACKETS = 20
PACKET_S = 0.02


def ctl(daemon: Daemon, *arguments: str) -> tuple[int, str]:
    """Run audiohookctl; return its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "audiohook.cli.audiohookctl", "--hub", daemon.hub_path, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def reload(daemon: Daemon, generation: int) -> None:
    """Reload; the generation that comes of it must be this one."""
    status, said = ctl(daemon, "reload")
    assert status == 0, f"{said}\n{daemon.log}"
    assert said.startswith(f"reloaded: generation {generation} takes new calls"), said


def reload_events(daemon: Daemon) -> list[dict[str, Any]]:
    return [event for event in daemon.events() if event["event"] in ("reloaded", "reload_failed")]


def generations(daemon: Daemon) -> dict[int, int]:
    """Return the generation of each row that has a worker."""
    numbers = daemon.row("generation")
    return {row: numbers[row] for row in daemon.workers()}


def wait_generations(daemon: Daemon, *wanted: int) -> None:
    daemon.wait(lambda: set(generations(daemon).values()) == set(wanted), f"generations {wanted} and no other")


def calls_on(daemon: Daemon, *rows: int) -> list[Peer]:
    """Return calls of which each of these workers has one at least. How many that takes is the workers' to settle."""
    peers: list[Peer] = []
    missing = set(rows)
    while missing:
        assert len(peers) < 64, f"{len(peers)} calls, and none came to workers {missing}"
        peers.append(call(daemon.address))
        missing.discard(daemon.hub.open(participant_id=peers[-1].participant_id).card()["row"])
    return peers


class Code:
    """A copy of the package, from which a daemon runs, and which can be changed under it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.restore()

    def restore(self) -> None:
        shutil.rmtree(self.folder / "audiohook", ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "audiohook", self.folder / "audiohook", ignore=ignored)

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def change(self, module: str, old: str, new: str) -> None:
        path = self.folder / "audiohook" / module
        text = path.read_text()
        assert old in text, f"{module} has changed: this test has to change with it"
        path.write_text(text.replace(old, new))

    def append(self, module: str, text: str) -> None:
        with (self.folder / "audiohook" / module).open("a") as file:
            file.write(text)

    def remove(self) -> None:
        """Leave a package that cannot be imported: without any, that of the checkout would be found by other ways."""
        shutil.rmtree(self.folder / "audiohook")
        (self.folder / "audiohook").mkdir()
        (self.folder / "audiohook" / "__init__.py").write_text("raise ImportError('half an upgrade')\n")


class Coming:
    """Calls that keep coming: one each `every_s`, of CALL_PACKETS packets each, every one in a thread of its own."""

    def __init__(self, daemon: Daemon, every_s: float = 0.05) -> None:
        self._address = daemon.address
        self._every_s = every_s
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._coming = threading.Thread(target=self._come)
        self._ended: list[Peer] = []
        self.came = 0
        self.waits_s: list[float] = []
        """Of each, from the connect to the answer."""

        self.refused: Counter[str] = Counter()
        self.faults: list[str] = []
        """What else went wrong, a sentence each."""

    def __enter__(self) -> "Coming":
        self._coming.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._coming.join()
        for thread in self._threads:
            thread.join()

    def _come(self) -> None:
        due_s = time.monotonic()
        while not self._stopped.wait(max(0.0, due_s - time.monotonic())):
            due_s += self._every_s
            thread = threading.Thread(target=self._call, args=(self.came,))
            self.came += 1
            self._threads.append(thread)
            thread.start()

    def _call(self, number: int) -> None:
        began_s = time.monotonic()
        try:
            with Peer(self._address) as peer:
                answer = peer.upgrade()
                self.waits_s.append(time.monotonic() - began_s)
                if not answer.accepted:
                    self.refused[str(answer.status)] += 1
                    return
                for packet in packets_of(number)[:CALL_PACKETS]:
                    peer.send_packets([packet])
                    time.sleep(PACKET_S)
                code = peer.close()
            if code != 1000:
                self.faults.append(f"call {number} was closed with {code}")
            self._ended.append(peer)
        except Exception as error:  # whatever it is, it is what this looks for
            self.faults.append(f"call {number}: {type(error).__name__}: {error}")

    def read_back(self, daemon: Daemon) -> None:
        """Compare every sample of the calls that have ended since the last time; their slots may be taken again."""
        # Found in one look at all slots: one for each call takes longer than it takes the next calls to come.
        ended, self._ended = self._ended, []
        streams = {stream.participant_id: stream for stream in daemon.hub.streams(ended=True)}
        for peer in ended:
            stream = streams.get(peer.participant_id)
            if stream is None or not np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent)):
                self.faults.append(f"call {peer.call_id} is not as it was sent: {stream and stream.totals}")


def held(daemon: Daemon) -> list[str]:
    """Return what the supervisor's descriptors are, without their numbers."""
    return sorted(link(daemon.pid, fd).split(":[")[0] for fd in descriptors(daemon.pid))
