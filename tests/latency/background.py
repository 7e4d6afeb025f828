"""What goes on while openings are measured: calls that talk, readers that stand still, clients that do not listen."""

import json
import signal
import socket
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.daemon import ROOT, Daemon, kill
from tests.support.reader import Reader

HOURS_S = 3600
"""Longer than any run: the calls are ended when it is over."""

STUCK_REQUESTS = 10_000
END_WITHIN_S = 60


@contextmanager
def audio() -> Iterator[Path]:
    """Write a clip of noise, for whoever places calls."""
    with tempfile.TemporaryDirectory(prefix="audiohook-noise-") as folder:
        samples = np.random.default_rng(1).integers(-9000, 9000, 16_000).astype("<i2")
        with wave.open(f"{folder}/noise.wav", "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(samples.tobytes())
        yield Path(folder)


class Calls:
    """So many calls of one dialect by `audiohook-load`, from entering the `with` block to its end."""

    def __init__(self, url: str, dialect: str, calls: int, folder: Path) -> None:
        options = ["--dialect", dialect, "--calls", str(calls), "--v2-message-ms", "200"]
        options += ["--seconds", str(HOURS_S), "--audio", str(folder), "--connects-per-second", "250", "--json"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "audiohook.cli.load", "run", url, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._calls = calls

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def finish(self) -> dict[str, Any]:
        """End the calls properly and return what `audiohook-load` has to say; all of them must have stood to now.

        How long their last words took, or a pong, is not judged: that is `audiohook-load`'s to say of a machine that
        has time for it.
        """
        assert self._process.poll() is None, "the calls ended before they were told to"
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=END_WITHIN_S)
        result: dict[str, Any] = json.loads(output)
        endings = result["endings"]
        assert sum(endings.values()) == self._calls, endings
        assert set(endings) <= {"interrupted", "close_unanswered"}, endings
        return result


@contextmanager
def stopped_readers(daemon: Daemon, readers: int) -> Iterator[list[Reader]]:
    """Attach readers to everything there is, let each begin, and stop them all (SIGSTOP).

    The first of them asks for a wake-up of its own for every stream, the others follow the doorbell.
    """
    with ExitStack() as stack:
        attached = []
        for number in range(readers):
            reader = stack.enter_context(Reader("hub" if number else "streams", daemon.hub_path, 8000))
            reader.wait_for("attached")
            reader.wait_for("began")
            kill(reader.pid, signal.SIGSTOP)
            attached.append(reader)
        yield attached


@contextmanager
def stuck_client(daemon: Daemon) -> Iterator[socket.socket]:
    """A client of the hub that asks and asks and never reads an answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(daemon.hub_path)
        client.setblocking(False)
        try:
            for _ in range(STUCK_REQUESTS):
                client.send(b'{"do":"attach"}')
        except (BlockingIOError, ConnectionError):
            pass
        yield client


@contextmanager
def all_at_once(daemon: Daemon, calls: dict[str, int], readers: int) -> Iterator[list[Calls]]:
    """All of it: the calls that are live, by dialect, are what is yielded."""
    with ExitStack() as stack:
        folder = stack.enter_context(audio())
        live = [stack.enter_context(Calls(daemon.url, *each, folder)) for each in calls.items() if each[1]]
        daemon.wait(lambda: daemon.slot_states()["LIVE"] == sum(calls.values()), "all calls, live")
        stack.enter_context(stopped_readers(daemon, readers))
        stack.enter_context(stuck_client(daemon))
        yield live
