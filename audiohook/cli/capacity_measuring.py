"""Measures what calls cost a worker: a daemon of our own, `audiohook-load` on it, and what the kernel says of it.

For each kind of call a fresh daemon, since memory that a process has had it keeps: calls that talk, for CPU a message
and memory a call, then calls that come and go at once, for CPU an admission. CPU time is the worker's own, so that a
machine with other things to do falsifies little; what it does to the caches is in the figures.

Knows nothing of what follows from the figures (`capacity_sums.py`).
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import audiohook
from audiohook.cli.capacity_sums import Cost
from audiohook.cli.own_daemon import OwnDaemon
from audiohook.control.hub import Hub
from audiohook.errors import AudiohookError
from audiohook.load.speech_source import write_wav
from audiohook.memory.board import count_slots, read_rows

SPARE_STREAMS = 32
CONNECTS_A_SECOND = 500
CALLS = 400
"""Of Opus, to begin with. A packet costs less the more there are, so to measure with a few would mislead."""

BUSIEST = 0.85
"""More of a core than this, and its time goes to things that a worker with time to spare does not do."""

AROUND_SECONDS = 4.0
"""What one kind takes besides the time in which its calls are watched: starts, ends, and the calls that come and go."""

SHORTEST_SECONDS = 0.5
LIVE_WITHIN_SECONDS = 15.0
END_WITHIN_SECONDS = 60.0
LOOK_SECONDS = 0.02

BRIEF_CALL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of call: how `audiohook-load` places it."""

    name: str
    dialect: str
    message_ms: int
    times: int
    """How many times as many calls it takes to keep a worker busy."""

    @property
    def messages_a_second(self) -> int:
        return 1000 // self.message_ms


KINDS = (Kind("opus", "context", 20, times=1), Kind("pcmu", "audiohook2", 100, times=2))
"""20 ms of Opus at 16 kHz; 100 ms of PCMU in two channels, 1,600 bytes, as Genesys sends them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How to measure: with so many calls of Opus (None: as many as keep a worker busy, no more), for about so long in
    all, playing WAV files of `audio` or a sound of our own."""

    calls: int | None
    seconds: float
    audio: Path | None
    nice: int


@dataclass(frozen=True, slots=True)
class Measured:
    cost: Cost
    calls: int
    busy: float
    """Of the worker's core, while the calls talked."""
    client_late: bool
    """The load client was late: it had too little processor, and what it sent in lumps cost less than it would."""


class TooManyCalls(AudiohookError):
    """One worker here cannot take so many."""


def measure(wish: Wish) -> list[Measured]:
    """Measure every kind. Raises AudiohookError where that cannot be done."""
    with tempfile.TemporaryDirectory(prefix="audiohook-capacity-") as folder:
        audio = wish.audio
        if audio is None:
            audio = Path(folder) / "audio"
            write_sound(audio / "sound.wav")
        return [_measure_kind(kind, wish, audio) for kind in KINDS]


def _measure_kind(kind: Kind, wish: Wish, audio: Path) -> Measured:
    calls = wish.calls or CALLS
    while True:
        try:
            return _Measuring(kind, calls * kind.times, wish, audio).run()
        except TooManyCalls:
            if wish.calls is not None or calls == 1:
                raise
            calls //= 2


def write_sound(path: Path) -> None:
    """Write five seconds of something like speech at 16 kHz: hum, hiss and pauses, some 50 bytes a packet of Opus."""
    rate_hz = 16_000
    at = np.arange(5 * rate_hz) / rate_hz
    hiss = np.random.default_rng(1).standard_normal(len(at))
    loud = 6000 * np.clip(np.sin(2 * np.pi * 0.7 * at) + 0.4, 0, 1)
    hum = np.sin(2 * np.pi * 110 * at + 3 * np.sin(2 * np.pi * 3 * at)) + 0.5 * np.sin(2 * np.pi * 700 * at)
    write_wav(path, rate_hz, (loud * (hum + 0.2 * hiss)).clip(-32768, 32767).astype("<i2").tobytes())


class _Measuring:
    """One kind of call."""

    def __init__(self, kind: Kind, calls: int, wish: Wish, audio: Path) -> None:
        self._kind = kind
        self._calls = calls
        self._wish = wish
        self._audio = audio
        self._late = False

    def run(self) -> Measured:
        """Raises TooManyCalls, and AudiohookError."""
        calls, kind = self._calls, self._kind
        settings = ("server.workers=1", f"memory.streams={calls + SPARE_STREAMS}", "memory.ring_seconds=1")
        with OwnDaemon(*settings, nice=self._wish.nice) as daemon, audiohook.attach(daemon.hub_path) as hub:
            (pid,) = (row["pid"] for row in read_rows(hub.arena) if row["kind"] == "worker")
            idle_bytes = own_bytes(pid)
            before, after, busy_bytes = self._talk(daemon.url, hub, pid)
            messages, cpu = after.messages - before.messages, after.cpu_ns - before.cpu_ns
            busy = cpu / (after.at_ns - before.at_ns)
            if not messages:
                raise AudiohookError(f"the calls of {kind.dialect} sent nothing in the time there was: more --seconds")
            if after.shed or busy > BUSIEST:
                raise TooManyCalls(f"{calls} calls of {kind.dialect} are too many for one core here: fewer --calls")
            admission_ns = self._come_and_go(daemon.url, hub, pid, cpu // messages)
        cost = Cost(
            kind=kind.name,
            messages_a_second=kind.messages_a_second,
            message_bytes=(after.payload_bytes - before.payload_bytes) // messages,
            message_ns=cpu // messages,
            admission_ns=admission_ns,
            call_bytes=max(0, busy_bytes - idle_bytes) // calls,
        )
        return Measured(cost, calls, busy, self._late)

    def _talk(self, url: str, hub: Hub, pid: int) -> tuple["_Look", "_Look", int]:
        """Let calls talk. Return what the worker had done when all were live and later, and its memory then."""
        watched_seconds = max(SHORTEST_SECONDS, self._wish.seconds / len(KINDS) - AROUND_SECONDS)
        # Long enough for whoever is slow to connect; they are ended when they have been watched.
        with self._load(url, LIVE_WITHIN_SECONDS + watched_seconds) as load:
            _wait(lambda: _live(hub) >= self._calls or _Look.at(hub, pid).refused > 0, load, "all calls, live")
            before = _Look.at(hub, pid)
            if before.refused:
                raise TooManyCalls(
                    f"one core here does not take {self._calls} calls of {self._kind.dialect}: fewer --calls"
                )
            time.sleep(watched_seconds)
            after = _Look.at(hub, pid)
            busy_bytes = own_bytes(pid)
            load.send_signal(signal.SIGINT)
            self._finish(load)
        return before, after, busy_bytes

    def _come_and_go(self, url: str, hub: Hub, pid: int, message_ns: int) -> int:
        """Let as many calls come, send a message, and go; return the CPU time that each took besides the message."""
        _wait(lambda: not _live(hub), None, "the end of all calls")
        before = _Look.at(hub, pid)
        with self._load(url, BRIEF_CALL_SECONDS) as load:
            self._finish(load)
        _wait(lambda: not _live(hub), None, "the end of all calls")
        after = _Look.at(hub, pid)
        spent_ns = after.cpu_ns - before.cpu_ns - (after.messages - before.messages) * message_ns
        return max(0, spent_ns) // self._calls

    @contextlib.contextmanager
    def _load(self, url: str, seconds: float) -> Iterator["subprocess.Popen[str]"]:
        wish, kind = self._wish, self._kind
        command = ["nice", "-n", str(wish.nice), sys.executable, "-P", "-m", "audiohook.cli.load", "run", url, "--json"]
        options = {
            "--calls": self._calls,
            "--seconds": seconds,
            "--dialect": kind.dialect,
            "--v2-message-ms": kind.message_ms,
            "--connects-per-second": CONNECTS_A_SECOND,
            "--audio": self._audio,
        }
        command += [str(part) for option in options.items() for part in option]
        # Its own numbers' threads would be in the way of a fork, and one process group is one Ctrl-C.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        load = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
        )
        try:
            yield load
        finally:
            load.kill()
            load.communicate()

    def _finish(self, load: "subprocess.Popen[str]") -> None:
        """Take what `audiohook-load` has to say; none of its calls may have been refused or lost."""
        output, errors = load.communicate(timeout=END_WITHIN_SECONDS)
        try:
            result: dict[str, Any] = json.loads(output)
        except ValueError:
            raise AudiohookError(f"audiohook-load: {errors.strip() or load.returncode}") from None
        self._late |= result["client_late"]
        wrong = {ending: calls for ending, calls in result["endings"].items() if ending not in _GOOD_ENDINGS}
        if wrong:
            raise AudiohookError(f"of {self._calls} calls of {self._kind.dialect} not all stood: {wrong}")


_GOOD_ENDINGS = frozenset({"completed", "interrupted", "close_unanswered"})
"""The last is that of a client without the time to read, which says nothing of the worker."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What a worker has done in its life, as far as `at_ns`."""

    at_ns: int
    cpu_ns: int
    messages: int
    payload_bytes: int
    shed: int
    refused: int

    @classmethod
    def at(cls, hub: Hub, pid: int) -> "_Look":
        counters = [row["counters"] for row in read_rows(hub.arena)]
        names = ("packets", "wire_bytes", "shed_messages", "overloaded")
        messages, payload_bytes, shed, refused = (sum(each[name] for each in counters) for name in names)
        return cls(time.monotonic_ns(), cpu_ns(pid), messages, payload_bytes, shed, refused)


def _live(hub: Hub) -> int:
    return count_slots(hub.arena).get("LIVE", 0)


def _wait(condition: Callable[[], bool], load: "subprocess.Popen[str] | None", awaited: str) -> None:
    """Wait for a condition, a bounded time, while `load` runs. Raises TooManyCalls, and AudiohookError."""
    give_up = time.monotonic() + LIVE_WITHIN_SECONDS
    while not condition():
        if load is not None and load.poll() is not None:
            said = (load.stderr.read() if load.stderr else "").strip()
            raise AudiohookError(f"audiohook-load ended with {load.returncode} before {awaited}: {said}")
        if time.monotonic() > give_up:
            raise TooManyCalls(f"{awaited}: not within {LIVE_WITHIN_SECONDS:g} s; fewer --calls")
        time.sleep(LOOK_SECONDS)


_libc = ctypes.CDLL(None)


def cpu_ns(pid: int) -> int:
    """Return the CPU time that a process has used. Not from /proc/PID/stat, which counts ticks of 10 ms."""
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise AudiohookError(f"process {pid} is gone")
    return time.clock_gettime_ns(clock.value)


def own_bytes(pid: int) -> int:
    """Return how much memory of its own a process has: not the arena, which is shared."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
