"""Live calls of both dialects by `audiohook-load`, in processes of their own, every sample of which is read back.

Half of them send Opus of 20 ms, half PCMU of 200 ms: as many packets as two processors have time for beside the daemon.
They go on until `finish`, which ends them properly and tells what `audiohook-load` has found.
"""

import json
import signal
import subprocess
import sys
import tempfile
import wave
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.daemon import ROOT, Daemon

HOURS_S = 3600
"""Longer than any row: the calls are ended when it is over."""

CLIP_S = 20
"""More packets than there are calls: no two of them begin with the same audio."""

RATE_HZ = 16_000
CONNECTS_A_SECOND = 250
END_WITHIN_S = 60.0
LATE_MS = 20.0
"""A client whose own lateness exceeds one packet at p99 has measured itself."""


@dataclass(frozen=True)
class Told:
    """What became of the calls; `imperfect` are verdicts as `audiohook-load` has them, by stream id."""

    figures: dict[str, Any]

    @property
    def perfect(self) -> int:
        return int(self.figures["verification"]["perfect"])

    @property
    def imperfect(self) -> dict[str, dict[str, Any]]:
        return {one["stream_id"]: one for one in self.figures["verification"]["imperfect"]}

    @property
    def endings(self) -> dict[str, int]:
        return dict(self.figures["endings"])

    @property
    def late_ms(self) -> float:
        """How late the client itself was, p99."""
        return float(self.figures["lateness"]["p99_ns"]) / 1e6

    @property
    def late(self) -> str:
        """Why times that were taken beside these calls are worth nothing; nothing if they are worth something."""
        return f"the load client itself was late: p99 {self.late_ms:.1f} ms" if self.late_ms > LATE_MS else ""

    @property
    def publish_ms(self) -> float:
        """From a packet's send until it is in a reader's hands, p99, of some of the calls."""
        return float(self.figures["publish"]["p99_ns"]) / 1e6

    @property
    def pong_ms(self) -> float:
        """The longest that an application's ping waited for its answer."""
        return float(self.figures["pong"]["max_ns"]) / 1e6

    def part(self, name: str) -> dict[str, Any]:
        """Return what became of those with a fault, of those that `returned`, or of the `others`."""
        (found,) = [part for part in self.figures["parts"] if part["name"] == name]
        return dict(found)

    def lost(self, streams: Iterable[str] | None = None) -> Counter[str]:
        """Return the frames that are not as they were sent, by cause, of these streams (default: of all)."""
        wanted = self.imperfect if streams is None else {one: self.imperfect[one] for one in streams}
        lost: Counter[str] = Counter()
        for verdict in wanted.values():
            lost.update(verdict["gap_frames"])
            lost.update(missing=verdict["missing"] + verdict["missing_tail"], different=verdict["different"])
            lost.update(surplus=verdict["surplus"], repeated=verdict["repeated"])
        return +lost


class LiveCalls:
    """So many calls, from entering the `with` block to its end."""

    def __init__(
        self,
        daemon: Daemon,
        calls: int,
        *,
        dialect: str = "mixed",
        seconds: float = HOURS_S,
        verify: bool = True,
        connects_a_second: int = CONNECTS_A_SECOND,
        ca_file: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        """With `ca_file` over TLS, trusting that authority."""
        self.calls = calls
        self._daemon = daemon
        self._folder = tempfile.TemporaryDirectory(prefix="audiohook-live-")
        _write_clip(Path(self._folder.name))
        url = daemon.url.replace("ws://", "wss://") if ca_file else daemon.url
        command = [sys.executable, "-m", "audiohook.cli.load", "run", url, "--calls", str(calls)]
        command += ["--ca-file", str(ca_file)] if ca_file else []
        command += ["--dialect", dialect, "--v2-message-ms", "200", "--seconds", str(seconds), "--json"]
        command += ["--audio", self._folder.name, "--connects-per-second", str(connects_a_second)]
        command += ["--verify", "--hub", daemon.hub_path] if verify else []
        self._errors = Path(self._folder.name, "errors")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )

    def __enter__(self) -> "LiveCalls":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def wait_live(self, besides: int = 0) -> "LiveCalls":
        """Wait until all of them are, `besides` others."""

        def live() -> bool:
            assert self._process.poll() is None, f"the calls ended: {self._said()}"
            return self._daemon.slot_states()["LIVE"] == self.calls + besides

        self._daemon.wait(live, "all calls, live")
        return self

    def hang_up(self) -> None:
        """Let all of them end properly, now."""
        self._process.send_signal(signal.SIGINT)

    def finish(self) -> Told:
        """End the calls, those that there still are, and return what became of all."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self.wait_end()

    def wait_end(self, seconds: float = END_WITHIN_S) -> Told:
        """Wait until they have ended by themselves."""
        output, _ = self._process.communicate(timeout=seconds)
        assert output, self._said()
        return Told(json.loads(output))

    def _said(self) -> str:
        return self._errors.read_text()


def _write_clip(folder: Path) -> None:
    """Write hum, hiss and pauses: something that a coder has to work for."""
    noise = np.random.default_rng(1)
    at = np.arange(CLIP_S * RATE_HZ) / RATE_HZ
    loud = 6000 * np.clip(np.sin(2 * np.pi * 0.7 * at) + 0.4, 0, 1)
    sound = np.sin(2 * np.pi * 140 * at + 3 * np.sin(2 * np.pi * 3.1 * at)) + 0.2 * noise.standard_normal(len(at))
    with wave.open(str(folder / "clip.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((loud * sound).clip(-32768, 32767).astype("<i2").tobytes())
