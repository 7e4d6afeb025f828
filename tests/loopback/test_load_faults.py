"""Each fault of `audiohook-load run --fault`, few calls of both dialects on a real daemon: what is lost, what not."""

import json
import os
import socket
import struct
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from load_acceptor import Acceptor, Peer

from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
CALLS = 8


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    samples = np.random.default_rng(8).integers(-9000, 9000, 8000).astype("<i2")
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return folder


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon("context.heartbeat_ms=500", "audiohook2.idle_seconds=1", "memory.streams=128") as running:
        yield running.wait_ready()


def load(url: str, audio: Path, *options: str) -> tuple[int, Any]:
    """Run `audiohook-load run`; return its exit status and its figures."""
    command = [sys.executable, "-m", "audiohook.cli.load", "run", url, "--audio", str(audio), "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS, env=os.environ)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(daemon: Daemon, audio: Path) -> Run:
    """Place mixed calls with a fault on the daemon, verified."""

    def placed(fault: str, *options: str, dialect: str = "mixed") -> tuple[int, Any]:
        usual = ["--calls", str(CALLS), "--seconds", "1.5", "--dialect", dialect, "--verify", "--hub", daemon.hub_path]
        return load(daemon.url, audio, *usual, "--fault", fault, *options)

    return placed


def part(figures: Any, name: str) -> Any:
    """Return one row of the table at the end."""
    (found,) = [part for part in figures["parts"] if part["name"] == name]
    return found


def assert_others_lost_nothing(figures: Any, calls: int = CALLS // 2) -> None:
    others = part(figures, "others")
    assert (others["calls"], others["endings"], others["lost"]) == (calls, {"completed": calls}, {})


def test_a_half_open_peer_is_found_by_the_heartbeat_and_what_it_sent_is_readable(run: Run) -> None:
    status, figures = run("half-open", dialect="context")
    assert status == 0, figures
    found = part(figures, "half-open")
    assert found["endings"] == {"faulted (found by the server)": 4}
    assert found["lost"] == {}
    assert found["recovered"]["count"] == 4
    assert figures["verification"]["perfect"] == CALLS
    assert_others_lost_nothing(figures)


def test_a_half_open_peer_that_is_not_ended_in_time_fails_the_run(run: Run, daemon: Daemon) -> None:
    """The idle rule of `audiohook2` ends the stream at once; the connection waits for an answer to `disconnect`."""
    status, figures = run("half-open", "--found-within-seconds", "3", dialect="audiohook2")
    assert status == 1
    assert part(figures, "half-open")["endings"] == {"unrecovered (not found by the server in time)": 4}
    assert figures["verification"]["perfect"] == CALLS
    assert len(daemon.logged("reason=idle_timeout")) >= 4
    assert_others_lost_nothing(figures)


def test_a_reset_takes_back_no_packet_that_was_sent(run: Run) -> None:
    status, figures = run("rst", "--fault-share", "0.75")
    assert status == 0, figures
    found = part(figures, "rst")
    assert found["endings"] == {"faulted (reset within a frame)": 4, "faulted (reset between frames)": 2}
    assert found["lost"] == {}
    assert figures["verification"]["perfect"] == CALLS
    assert_others_lost_nothing(figures, 2)


def test_audio_in_single_bytes_arrives_whole(run: Run) -> None:
    status, figures = run("byte-at-a-time", "--v2-message-ms", "100")
    assert status == 0, figures
    assert part(figures, "byte-at-a-time")["endings"] == {"completed": 4}
    assert figures["verification"]["verified"] == 4 * 1.5 * 16_000 + 4 * 1.5 * 8_000
    assert_others_lost_nothing(figures)


def test_single_bytes_are_sent_one_by_one(audio: Path) -> None:
    seen: list[tuple[int, int]] = []

    def look(peer: Peer) -> None:
        """Linux: struct tcp_info, tcpi_data_segs_in and tcpi_bytes_received."""
        info = peer.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        seen.append((struct.unpack_from("I", info, 152)[0], struct.unpack_from("Q", info, 128)[0]))

    with Acceptor(on_packet=look) as acceptor:
        status, figures = load(acceptor.url, audio, "--calls", "1", "--seconds", "0.2", "--fault", "byte-at-a-time")
        assert [len(peer.packets) for peer in acceptor.peers] == [10]
    assert status == 0, figures
    (segments, size_bytes), *_ = seen
    assert size_bytes > 100
    # Without MSG_EOR a sixth. The kernel may retransmit some together.
    assert segments > size_bytes * 9 // 10


def test_a_storm_beside_the_audio_costs_no_sample_and_is_answered(run: Run, daemon: Daemon) -> None:
    names = ("text_ignored", "unknown_messages", "empty_messages")
    before = {name: daemon.counter(name) for name in names}
    status, figures = run("storm")
    assert status == 0, figures
    assert all(daemon.counter(name) >= before[name] + 400 for name in names), "two calls of each dialect, two bursts"
    found = part(figures, "storm")
    assert (found["endings"], found["lost"]) == ({"completed": 4}, {})
    assert found["recovered"]["count"] == 4
    assert_others_lost_nothing(figures)


@pytest.mark.parametrize("dialect", ["context", "audiohook2"])
def test_garbage_in_each_phase_is_ended_and_what_came_before_is_readable(run: Run, dialect: str) -> None:
    status, figures = run("garbage", dialect=dialect)
    assert status == 0, figures
    found = part(figures, "garbage")
    assert found["calls"] == sum(found["endings"].values()) == 4
    phases = {ending.partition(":")[0] for ending in found["endings"]}
    assert phases == {f"faulted ({phase}" for phase in ("before the request", "within the upgrade", "as frames")}
    assert found["lost"] == {}
    assert found["recovered"]["count"] == 4
    assert figures["verification"]["streams"] == figures["verification"]["perfect"] == 5
    assert_others_lost_nothing(figures)


def test_all_that_are_dropped_at_once_come_back_and_continue(run: Run, daemon: Daemon) -> None:
    status, figures = run("mass-reconnect")
    assert status == 0, figures
    assert part(figures, "mass-reconnect")["endings"] == {"faulted (dropped)": CALLS}
    assert part(figures, "mass-reconnect")["lost"] == {}
    returned = part(figures, "returned")
    assert (returned["calls"], returned["endings"]) == (CALLS, {"completed": CALLS})
    assert set(returned["lost"]) <= {"lost"}, "only the time in which nobody was there"
    assert returned["recovered"]["count"] == returned["answered"]["count"] == CALLS
    assert 0 < returned["answered"]["max_ns"] < returned["recovered"]["max_ns"]
    assert figures["returns"] == CALLS
    assert figures["verification"]["perfect"] == 2 * CALLS
    assert len(daemon.logged(" continues=")) == CALLS


def test_a_stall_loses_nothing(run: Run) -> None:
    status, figures = run("stall", "--stall-seconds", "0.6")
    assert status == 0, figures
    found = part(figures, "stall")
    assert (found["calls"], found["endings"], found["lost"]) == (CALLS, {"completed": CALLS}, {})
    assert found["recovered"]["count"] == CALLS
    assert figures["verification"]["perfect"] == CALLS


def test_a_stall_that_is_too_long_ends_the_call_and_what_it_sent_before_is_readable(run: Run) -> None:
    """Two heartbeats without a sign of life: the dialect's rule."""
    status, figures = run("stall", "--stall-seconds", "3", dialect="context")
    assert status == 1
    assert figures["endings"] == {"lost": CALLS}
    assert figures["verification"]["perfect"] == CALLS
    assert part(figures, "stall")["lost"] == {}


def test_what_was_due_in_a_stall_is_sent_at_once_and_none_is_left_out(audio: Path) -> None:
    with Acceptor() as acceptor:
        options = ["--calls", "3", "--seconds", "1", "--fault", "stall", "--stall-seconds", "2"]
        status, figures = load(acceptor.url, audio, *options)
        assert [len(peer.packets) for peer in acceptor.peers] == [50, 50, 50]
    assert status == 0, figures
    assert figures["endings"] == {"completed": 3}


@pytest.mark.parametrize("fault", ["stall", "storm"])
def test_a_server_that_answers_no_ping_behind_the_fault_has_not_recovered(audio: Path, fault: str) -> None:
    with Acceptor() as acceptor:
        acceptor.ignores_pings = True
        options = ["--calls", "1", "--seconds", "0.5", "--fault", fault, "--stall-seconds", "0.2"]
        status, figures = load(acceptor.url, audio, *options)
    assert status == 1
    assert figures["parts"][0]["endings"] == {f"unrecovered (no pong for a ping behind the {fault})": 1}


def test_garbage_that_nobody_minds_fails_the_run(audio: Path) -> None:
    with Acceptor(silent=True) as acceptor:
        options = ["--calls", "1", "--seconds", "1", "--fault", "garbage", "--found-within-seconds", "1"]
        status, figures = load(acceptor.url, audio, *options)
    assert status == 1
    assert figures["parts"][0]["endings"] == {"unrecovered (before the request: not ended by the server in time)": 1}


def test_a_reset_is_seen_as_one(audio: Path) -> None:
    with Acceptor() as acceptor:
        options = ["--calls", "2", "--seconds", "0.5", "--fault", "rst", "--fault-share", "1"]
        status, _ = load(acceptor.url, audio, *options)
        assert status == 0
        assert all(peer.close is None for peer in acceptor.peers)
        assert all(1 <= len(peer.packets) < 25 for peer in acceptor.peers)


def test_the_table_has_a_row_for_each_part(daemon: Daemon, audio: Path) -> None:
    command = [sys.executable, "-m", "audiohook.cli.load", "run", daemon.url, "--audio", str(audio), "--calls", "4"]
    command += ["--seconds", "0.5", "--fault", "rst"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, heading, faulty, others = done.stdout.splitlines()
    assert heading.split("  ")[0] == "fault"
    assert faulty.split()[:3] == ["rst", "2", "0"]
    assert others.split()[:3] == ["others", "2", "0"]
    assert "not verified" in others
