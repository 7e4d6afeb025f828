"""What the tests of reloading share: the command, copies of the package that can be broken, and calls that keep coming.

`survives_reloads` is the whole of it, in any size: also for runs that are longer than a suite can have.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
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
        self.peers: list[Peer] = []
        self.faults: list[str] = []

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
            thread = threading.Thread(target=self._call, args=(len(self._threads),))
            self._threads.append(thread)
            thread.start()

    def _call(self, number: int) -> None:
        try:
            peer = call(self._address)
            self.peers.append(peer)
            for packet in packets_of(number)[:CALL_PACKETS]:
                peer.send_packets([packet])
                time.sleep(PACKET_S)
            code = peer.close()
            if code != 1000:
                self.faults.append(f"call {number} was closed with {code}")
        except Exception as error:  # whatever it is, it is what this looks for
            self.faults.append(f"call {number}: {type(error).__name__}: {error}")

    def check(self, daemon: Daemon) -> None:
        """Every call was accepted, ended as its peer ended it, and every sample of it can be read."""
        assert not self.faults, "\n".join(self.faults)
        for peer in self.peers:
            stream = daemon.hub.open(participant_id=peer.participant_id)
            assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))


def held(daemon: Daemon) -> list[str]:
    """Return what the supervisor's descriptors are, without their numbers."""
    return sorted(link(daemon.pid, fd).split(":[")[0] for fd in descriptors(daemon.pid))


def survives_reloads(daemon: Daemon, count: int) -> int:
    """Reload so often while calls come; assert that nothing is lost and nothing grows. Returns how many calls came."""
    pid = daemon.pid
    reload(daemon, 1)
    wait_generations(daemon, 1)
    before = held(daemon)
    with Coming(daemon) as coming:
        for number in range(count):
            reload(daemon, number + 2)
    coming.check(daemon)
    wait_generations(daemon, count + 1)
    daemon.wait(lambda: held(daemon) == before, f"the descriptors of before: {before}")
    assert daemon.pid == pid
    assert daemon.counter("streams_opened") == daemon.counter("peer_closed") == len(coming.peers)
    assert [event["event"] for event in reload_events(daemon)] == ["reloaded"] * (count + 1)
    return len(coming.peers)
