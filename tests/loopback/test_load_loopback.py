"""The load client as a process, against a server that records all and, to order, refuses, closes or vanishes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from selectors import DefaultSelector
from typing import Any

import numpy as np
import psutil
import pytest
from load_acceptor import Acceptor, Peer

from audiohook.errors import HEADER_MISSING, NO_SLOT, Refusal
from audiohook.load.credentials import Credentials
from audiohook.load.dialogue import CONTEXT_CLOSE_NS, Figures, dialogue_for
from audiohook.load.placed import OPEN_WITHIN_NS, PlacedCall, State
from audiohook.load.plan import make_plan
from audiohook.load.reports import CallOutcome
from audiohook.load.target import parse_url
from audiohook.units import NEVER_NS, NS_PER_MS
from audiohook.wire.client import masked_frame
from audiohook.wire.request import Request

DEADLINE_SECONDS = 60


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


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(audio: Path) -> Iterator[Start]:
    """Start a client; what still runs at the end of the test is killed."""
    clients: list[subprocess.Popen[str]] = []

    def start_client(acceptor: Acceptor, calls: int, seconds: float, *more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "audiohook.cli.load", "run", acceptor.url, "--audio", str(audio)]
        command += ["--calls", str(calls), "--seconds", str(seconds), *more]
        root = Path(__file__).parents[2]
        client = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        clients.append(client)
        return client

    yield start_client
    for client in clients:
        if client.poll() is None:
            client.kill()
        client.communicate()


def end_of(client: "subprocess.Popen[str]") -> tuple[int, Any]:
    """Wait for a client that was started with --json; return its exit status and its figures."""
    out, errors = client.communicate(timeout=DEADLINE_SECONDS)
    assert "Traceback" not in errors
    return client.returncode, json.loads(out) if out else errors


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_call_sends_every_packet_once_in_order_and_says_goodbye(start: Start) -> None:
    with Acceptor() as acceptor:
        status, figures = end_of(start(acceptor, 10, 1.0, "--json"))
        peers = acceptor.peers
    assert status == 0
    assert figures["ok"] is True
    assert figures["endings"] == {"completed": 10}
    assert figures["packets"] == sum(len(peer.packets) for peer in peers) == 500
    assert figures["connect"]["count"] == 10
    assert figures["lateness"]["count"] == 500
    assert figures["verification"] is None
    assert [(peer.close.code, peer.close.reason) for peer in peers if peer.close] == [(1000, "")] * 10
    assert len({b"".join(peer.packets) for peer in peers}) == 10, "two calls carried the same audio"
    assert {peer.request.target for peer in peers if peer.request} == {"/audio?a=b"}
    pairs: dict[str, list[str]] = {}
    for peer in peers:
        pairs.setdefault(peer.header("x-genesys-call-id"), []).append(peer.header("x-genesys-direction"))
    assert [sorted(directions) for directions in pairs.values()] == [["inbound", "outbound"]] * 5
    assert len({peer.header("x-genesys-participant-id") for peer in peers}) == 10


def test_another_run_with_the_same_seed_plays_the_same_audio_under_other_names(start: Start) -> None:
    with Acceptor() as acceptor:
        for seed in ("3", "3", "4"):
            assert end_of(start(acceptor, 1, 0.5, "--json", "--seed", seed))[0] == 0
        one, again, other = acceptor.peers
    assert one.packets == again.packets != other.packets
    assert one.header("x-genesys-call-id") != again.header("x-genesys-call-id")


def test_refusals_are_counted_by_status_and_fail_the_run(start: Start) -> None:
    def refuse(request: Request) -> Refusal | None:
        number = int((request.get("x-genesys-participant-id") or "").rpartition("-")[2])
        return {0: NO_SLOT, 1: HEADER_MISSING, 2: NO_SLOT}.get(number)

    with Acceptor(refuse=refuse) as acceptor:
        status, figures = end_of(start(acceptor, 5, 0.2, "--json"))
    assert status == 1
    assert figures["refused"] == {"503": 2, "401": 1}
    assert figures["endings"] == {"refused": 3, "completed": 2}
    assert figures["packets"] == 20


def test_a_close_by_the_server_is_counted_by_code_and_answered(start: Start) -> None:
    def close_after_five(peer: Peer) -> None:
        if len(peer.packets) == 5 and peer.websocket:
            peer.connection.sendall(peer.websocket.close(1012, "restart"))

    with Acceptor(on_packet=close_after_five) as acceptor:
        status, figures = end_of(start(acceptor, 4, 1, "--json"))
        wait_until(lambda: all(peer.close for peer in acceptor.peers))
        codes = [peer.close.code for peer in acceptor.peers if peer.close]
    assert status == 1
    assert figures["ended_by_server"] == {"1012": 4}
    assert codes == [1012] * 4


def test_a_reset_is_a_lost_call(start: Start) -> None:
    with Acceptor() as acceptor:
        acceptor._on_packet = lambda peer: acceptor.drop(peer, reset=True)
        status, figures = end_of(start(acceptor, 3, 1, "--json"))
    assert status == 1
    assert figures["endings"] == {"lost": 3}
    assert sum(figures["lost"].values()) == 3


def test_nobody_there_is_a_figure(start: Start) -> None:
    with Acceptor() as acceptor:
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused for certain, and nobody else can take it
        acceptor._listener = taken
        status, figures = end_of(start(acceptor, 3, 1, "--json"))
    assert status == 1
    assert figures["connect_failed"] == {"ECONNREFUSED": 3}


def test_pings_are_answered_with_their_payload(start: Start) -> None:
    def ping(peer: Peer) -> None:
        if len(peer.packets) == 2 and peer.websocket:
            peer.connection.sendall(peer.websocket.ping(b"are you there"))

    with Acceptor(on_packet=ping) as acceptor:
        status, figures = end_of(start(acceptor, 3, 0.5, "--json"))
        assert [peer.pongs for peer in acceptor.peers] == [[b"are you there"]] * 3
    assert status == 0
    assert figures["pings"] == 3


def test_ctrl_c_ends_every_call_properly(start: Start) -> None:
    with Acceptor() as acceptor:
        client = start(acceptor, 6, 60, "--json")
        wait_until(lambda: len(acceptor.peers) == 6 and all(peer.packets for peer in acceptor.peers))
        client.send_signal(signal.SIGINT)
        status, figures = end_of(client)
        assert [peer.close.code for peer in acceptor.peers if peer.close] == [1000] * 6
    assert status == 130
    assert figures["interrupted"] is True
    assert figures["endings"] == {"interrupted": 6}
    assert figures["packets"] == sum(len(peer.packets) for peer in acceptor.peers)


def test_callers_end_their_calls_when_their_parent_is_killed(start: Start) -> None:
    with Acceptor() as acceptor:
        client = start(acceptor, 4, 60, "--json")
        wait_until(lambda: len(acceptor.peers) == 4 and all(peer.packets for peer in acceptor.peers))
        callers = psutil.Process(client.pid).children()
        client.kill()
        wait_until(lambda: all(peer.close for peer in acceptor.peers))
        assert [peer.close.code for peer in acceptor.peers if peer.close] == [1000] * 4
        _, alive = psutil.wait_procs(callers, DEADLINE_SECONDS)
    assert callers
    assert not alive


def test_a_caller_that_dies_fails_the_run_in_words(start: Start) -> None:
    with Acceptor() as acceptor:
        client = start(acceptor, 4, 60, "--json")
        wait_until(lambda: len(acceptor.peers) == 4 and all(peer.packets for peer in acceptor.peers))
        psutil.Process(client.pid).children()[0].kill()
        status, errors = end_of(client)
    assert status == 2
    assert "caller" in errors
    assert "SIGKILL" in errors


def test_a_client_that_was_late_says_so_and_skips_nothing(start: Start) -> None:
    with Acceptor() as acceptor:
        client = start(acceptor, 2, 3)
        wait_until(lambda: len(acceptor.peers) == 2 and all(peer.packets for peer in acceptor.peers))
        callers = psutil.Process(client.pid).children()
        for caller in callers:
            caller.suspend()
        time.sleep(0.5)  # not a wait for something: the lateness that is to be found
        for caller in callers:
            caller.resume()
        out, _ = client.communicate(timeout=DEADLINE_SECONDS)
        assert [len(peer.packets) for peer in acceptor.peers] == [150, 150]
    assert "THE CLIENT ITSELF WAS LATE" in out
    assert client.returncode == 0


def test_an_upgrade_that_is_never_answered_is_dropped_on_ctrl_c(start: Start) -> None:
    with Acceptor(silent=True) as acceptor:
        client = start(acceptor, 2, 60, "--json")
        wait_until(lambda: len(acceptor.peers) == 2)
        client.send_signal(signal.SIGINT)
        status, figures = end_of(client)
    assert status == 130
    assert figures["endings"] == {"interrupted": 2}
    assert figures["packets"] == 0


@contextmanager
def placed_call(acceptor: Acceptor, frames: Iterator[bytes]) -> Iterator[tuple[PlacedCall, Callable[[], None]]]:
    """One call in this process, and a function that lets its socket speak once."""
    plan = make_plan(
        calls=1, seconds=8, processes=1, packet_ns={"context": 20 * NS_PER_MS}, ramp_ns=0, token=b"t", seed=0
    )
    with DefaultSelector() as selector:
        target = parse_url(acceptor.url)
        address = (socket.AF_INET, (target.host, target.port))
        dialogue = dialogue_for(plan.calls[0], Credentials(), Figures())
        call = PlacedCall(plan.calls[0], dialogue, frames, target, address, selector, None)

        def turn() -> None:
            for key, mask in selector.select(0.05):
                key.data.on_event(mask, 1)

        call.begin(0)
        yield call, turn
        assert call.outcome is not None
        assert call.deadline_ns == NEVER_NS
        assert not selector.get_map()


def test_an_upgrade_that_is_not_answered_in_time_is_not_connected() -> None:
    with Acceptor(silent=True) as acceptor, placed_call(acceptor, iter(())) as (call, turn):
        while call.state is not State.UPGRADING:
            turn()
        assert call.deadline_ns == OPEN_WITHIN_NS
        call.on_deadline(OPEN_WITHIN_NS)
        assert call.outcome == CallOutcome(0, "connect_failed", "no answer in time", 0, 0, opened=False)


def test_a_close_that_is_not_answered_in_time_is_told() -> None:
    with Acceptor() as acceptor, placed_call(acceptor, iter((b"",))) as (call, turn):
        while call.state is not State.OPEN:
            turn()
        call.hang_up("completed", 7)
        assert call.deadline_ns == 7 + CONTEXT_CLOSE_NS
        call.on_deadline(7 + CONTEXT_CLOSE_NS)
        assert call.outcome == CallOutcome(0, "close_unanswered", "", 0, 1, opened=True)


def test_frames_that_the_kernel_takes_in_pieces_arrive_whole_and_in_order() -> None:
    """A server that reads too slowly: nothing is skipped, nothing is sent twice, and the packets that waited count."""
    packets = [os.urandom(40_000 + number) for number in range(400)]
    frames = (masked_frame(packet, b"mask") for packet in packets)
    reads_on = threading.Event()
    with Acceptor() as acceptor, placed_call(acceptor, frames) as (call, turn):
        while call.state is not State.OPEN:
            turn()
        acceptor._on_packet = lambda peer: reads_on.wait(DEADLINE_SECONDS)
        for _ in packets:
            call.send_packet(0)
        call.hang_up("completed", 0)
        assert call.stalled > 0
        reads_on.set()
        wait_until(lambda: bool(turn() or call.outcome))
        assert acceptor.peers[0].packets == packets
        assert call.outcome == CallOutcome(0, "completed", "", 400, 1, opened=True)


def test_packets_that_were_never_handed_over_are_not_counted_as_sent() -> None:
    frames = (masked_frame(bytes(50_000), b"mask") for _ in range(400))
    with Acceptor() as acceptor, placed_call(acceptor, frames) as (call, turn):
        while call.state is not State.OPEN:
            turn()
        acceptor._on_packet = lambda peer: acceptor.drop(peer, reset=True)
        for _ in range(400):
            call.send_packet(0)
        wait_until(lambda: bool(turn() or call.outcome))
        assert call.outcome is not None
        assert call.outcome.ending == "lost"
        assert call.outcome.packets < call.offered


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ws://127.0.0.1:1/", "--calls", "0"], "calls = 0: wanted 1 to 20000"),
        (["ws://127.0.0.1:1/", "--seconds", "-1"], "seconds = -1.0: wanted more than 0"),
        (["wss://127.0.0.1:1/", "--ca-file", "/nonexistent"], "--ca-file /nonexistent cannot be used"),
        (["ws://127.0.0.1:1/", "--fault", "slow-tls"], "fault = slow-tls: wanted a wss:// URL"),
        (["ws://127.0.0.1:1/", "--audio", "/nonexistent"], "/nonexistent"),
        (["ws://127.0.0.1:1/", "--v2-message-ms", "4001"], "message length = 4001 ms: wanted 1 to 4000"),
        (["ws://127.0.0.1:1/", "--organization", "x"], "not a UUID"),
        (["ws://127.0.0.1:1/", "--secret-file", "/nonexistent"], "/nonexistent cannot be read"),
    ],
)
def test_a_run_that_cannot_be_made_says_why(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "audiohook.cli.load", "run", *arguments]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
