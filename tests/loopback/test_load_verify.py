"""`audiohook-load --verify` against a real daemon: that it finds what is right, and everything that is not."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tampering import TamperingProxy

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
RATE_HZ = 16000
PACKET_FRAMES = RATE_HZ // 50


class Daemon:
    """A running audiohookd of two workers."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, hub: Path) -> None:
        self.process = process
        self.log = log
        self.hub = hub

    @property
    def port(self) -> int:
        """Wait until it is ready; return the port."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (found := re.search(r"READY listen=127\.0\.0\.1:(\d+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return int(found[1])

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    def worker_pids(self) -> list[int]:
        """Return the pids of the workers, as the log tells them."""
        return [int(pid) for pid in re.findall(r"worker accepts .*pid=(\d+)", self.log.read_text())]


@pytest.fixture
def rate_hz() -> int:
    """What the daemon decodes to; a test may parametrize it."""
    return RATE_HZ


@pytest.fixture
def daemon(tmp_path: Path, rate_hz: int) -> Iterator[Daemon]:
    hub = tmp_path / "hub.sock"
    settings = {
        "server.listen": '["127.0.0.1:0"]',
        "server.workers": "2",
        "server.drain_seconds": "1",
        "memory.streams": "16",
        "context.sample_rate": str(rate_hz),
        "hub.path": str(hub),
    }
    command = [sys.executable, "-m", "audiohook.cli.audiohookd", "--config", os.devnull]
    command += [f"--set={key}={value}" for key, value in settings.items()]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    family = psutil.Process(process.pid)
    yield Daemon(process, tmp_path / "log", hub)
    everyone = [family, *family.children(recursive=True)] if family.is_running() else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(DEADLINE_SECONDS)
    finally:
        for one in everyone:
            if one.is_running() and one.pid != process.pid:
                one.kill()
        process.kill()


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two short clips of noise, one a rate."""
    folder = tmp_path_factory.mktemp("audio")
    for rate_hz in (8000, 16000):
        samples = np.random.default_rng(rate_hz).integers(-9000, 9000, rate_hz // 2).astype("<i2")
        with wave.open(str(folder / f"noise{rate_hz}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            file.writeframes(samples.tobytes())
    return folder


def start(url: str, audio: Path, hub: Path, calls: int, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "audiohook.cli.load", "run", url, "--audio", str(audio), "--hub", str(hub)]
    command += ["--calls", str(calls), "--seconds", str(seconds), "--verify", "--json"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_of(client: "subprocess.Popen[str]") -> tuple[int, Any]:
    """Wait for the client; return its exit status and its figures, or what it said on stderr."""
    try:
        out, errors = client.communicate(timeout=DEADLINE_SECONDS)
    finally:
        client.kill()
    assert "Traceback" not in errors
    return client.returncode, json.loads(out) if out else errors


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_every_sample_of_every_call_is_verified(daemon: Daemon, audio: Path, rate_hz: int) -> None:
    status, figures = end_of(start(daemon.url, audio, daemon.hub, 6, 2))
    assert status == 0
    assert figures["ok"] is True
    assert figures["every_sample_verified"] is True
    found = figures["verification"]
    assert (found["streams"], found["perfect"], found["absent"]) == (6, 6, 0)
    assert found["verified"] == 6 * 2 * rate_hz
    assert (found["gaps"], found["imperfect"]) == ({}, [])
    assert figures["publish"]["count"] > 0
    assert 0 < figures["publish"]["p50_ns"] <= figures["publish"]["max_ns"]


def test_two_runs_at_a_time_do_not_take_one_anothers_streams(daemon: Daemon, audio: Path) -> None:
    clients = [start(daemon.url, audio, daemon.hub, 3, 1.5) for _ in range(2)]
    for status, figures in map(end_of, clients):
        assert status == 0
        assert figures["verification"]["streams"] == 3


LOST, TWICE, ALTERED, SWAPPED = "lost", "twice", "altered", "swapped"


def tamper(how: str) -> Callable[[int, bytes], list[bytes]]:
    held: list[bytes] = []

    def change(number: int, frame: bytes) -> list[bytes]:
        if how == SWAPPED and number == 20:
            held.append(frame)
            return []
        if how == SWAPPED and number == 21:
            return [frame, *held]
        if number != 20:
            return [frame]
        if how == LOST:
            return []
        if how == TWICE:
            return [frame, frame]
        return [frame[:-5] + bytes([frame[-5] ^ 0x55]) + frame[-4:]]

    return change


@pytest.mark.parametrize(
    ("how", "packets_missing", "packets_surplus"), [(LOST, 1, 0), (TWICE, 0, 1), (ALTERED, 0, 0), (SWAPPED, 0, 0)]
)
def test_one_packet_that_was_tampered_with_is_found(
    daemon: Daemon, audio: Path, how: str, packets_missing: int, packets_surplus: int
) -> None:
    with TamperingProxy(daemon.port, tamper(how)) as proxy:
        status, figures = end_of(start(proxy.url, audio, daemon.hub, 2, 1))
    assert status == 1
    assert figures["all_completed"] is True
    assert figures["every_sample_verified"] is False
    found = figures["verification"]
    assert (found["streams"], found["perfect"]) == (2, 1)
    assert found["missing_tail"] == packets_missing * PACKET_FRAMES
    assert found["surplus"] == packets_surplus * PACKET_FRAMES
    (bad,) = found["imperfect"]
    # Packet 20 is where the audio begins to differ; a sample or two may be equal by chance.
    assert 20 * PACKET_FRAMES <= bad["first_difference"] < 22 * PACKET_FRAMES
    assert found["different"] > 0


def test_calls_of_a_worker_that_was_killed_are_told_and_the_others_are_perfect(daemon: Daemon, audio: Path) -> None:
    client = start(daemon.url, audio, daemon.hub, 8, 3)
    wait_until(lambda: daemon.log.read_text().count("stream started") == 8)
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    status, figures = end_of(client)
    assert status == 1
    lost = figures["endings"]["lost"]
    assert figures["endings"] == {"lost": lost, "completed": 8 - lost}
    assert 0 < lost < 8
    found = figures["verification"]
    assert found["perfect"] >= 8 - lost
    assert (found["different"], found["missing"], found["repeated"], found["absent"]) == (0, 0, 0, 0)
    for verdict in found["imperfect"]:
        assert verdict["ended"] is True
        assert verdict["verified"] == verdict["length"]
        assert verdict["missing_tail"] > 0 or verdict["length"] == 0, "a call may be killed before its first packet"


def test_calls_that_the_daemon_ends_are_verified_as_far_as_they_went(daemon: Daemon, audio: Path) -> None:
    client = start(daemon.url, audio, daemon.hub, 4, 60)
    wait_until(lambda: daemon.log.read_text().count("stream started") == 4)
    daemon.process.send_signal(signal.SIGTERM)
    status, figures = end_of(client)
    assert status == 1
    assert figures["ended_by_server"] == {"1012": 4}
    found = figures["verification"]
    assert found["verified"] > 0
    assert (found["different"], found["missing"], found["repeated"]) == (0, 0, 0)


def test_a_run_that_is_interrupted_is_verified_as_far_as_it_went(daemon: Daemon, audio: Path) -> None:
    client = start(daemon.url, audio, daemon.hub, 4, 60)
    wait_until(lambda: daemon.log.read_text().count("stream started") == 4)
    client.send_signal(signal.SIGINT)
    status, figures = end_of(client)
    assert status == 130
    assert figures["endings"] == {"interrupted": 4}
    assert figures["every_sample_verified"] is (figures["packets"] > 0)
    assert figures["verification"]["verified"] == figures["packets"] * PACKET_FRAMES


def test_no_hub_is_said_before_any_call_is_placed(daemon: Daemon, audio: Path, tmp_path: Path) -> None:
    status, said = end_of(start(daemon.url, audio, tmp_path / "nowhere.sock", 2, 1))
    assert status == 2
    assert "nowhere.sock" in said
    assert "stream started" not in daemon.log.read_text()
