"""The load client speaks AudioHook v2: verified against a real daemon, and what it makes of servers that misbehave."""

import json
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from misbehaving import STEREO, Misbehaving, well
from tampering import TamperingProxy

from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
RATE_HZ = 8000
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
SHARED = "at-least-sixteen-characters"


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


@pytest.fixture(scope="module")
def open_daemon() -> Iterator[Daemon]:
    """A daemon that asks for no keys."""
    with Daemon() as running:
        yield running.wait_ready()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the daemon's keys file, and the client's secrets: `secret`, `wrong` and `shared`."""
    folder = tmp_path_factory.mktemp("secrets")
    keys = f'[[key]]\norganization = "{ORGANIZATION}"\napi_key = "{API_KEY}"\nsecret = "{SECRET}"\n'
    keys += f'[[shared_secret]]\nvalue = "{SHARED}"\n'
    texts = {"keys": keys, "secret": SECRET, "wrong": "d3Jvbmc=", "shared": SHARED}
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def locked_daemon(secrets: Path) -> Iterator[Daemon]:
    """A daemon that lets nobody in without a key."""
    with Daemon(f'auth.keys_file="{secrets / "keys"}"') as running:
        yield running.wait_ready()


def load(url: str, audio: Path, *more: str) -> tuple[int, Any]:
    """Run `audiohook-load run`; return its exit status and its figures."""
    command = [sys.executable, "-m", "audiohook.cli.load", "run", url, "--audio", str(audio), "--json", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


@pytest.mark.parametrize("message_ms", [20, 100, 333])
def test_every_sample_of_both_channels_is_verified(open_daemon: Daemon, audio: Path, message_ms: int) -> None:
    options = ["--dialect", "audiohook2", "--calls", "4", "--seconds", "2", "--v2-message-ms", str(message_ms)]
    status, figures = load(open_daemon.url, audio, *options, "--verify", "--hub", open_daemon.hub_path)
    assert status == 0, figures
    found = figures["verification"]
    assert (found["streams"], found["perfect"], found["absent"]) == (4, 4, 0)
    assert found["verified"] == 4 * (2000 // message_ms) * message_ms * RATE_HZ // 1000
    assert (found["gaps"], found["imperfect"], figures["faults"]) == ({}, [], {})
    assert figures["open"]["count"] == 4
    assert 0 < figures["open"]["p50_ns"] <= figures["open"]["p999_ns"] <= figures["open"]["max_ns"]
    assert figures["pong"]["count"] == 8, "a ping after a second, and one at its pong"
    assert figures["publish"]["count"] > 0


def test_mixed_calls_sign_and_show_their_secret(locked_daemon: Daemon, secrets: Path, audio: Path) -> None:
    options = ["--dialect", "mixed", "--calls", "6", "--seconds", "1.5", "--verify", "--hub", locked_daemon.hub_path]
    options += ["--api-key", API_KEY, "--organization", ORGANIZATION]
    options += ["--secret-file", str(secrets / "secret"), "--shared-secret-file", str(secrets / "shared")]
    status, figures = load(f"{locked_daemon.url}any/path?and=query", audio, *options)
    assert status == 0, figures
    found = figures["verification"]
    assert (found["streams"], found["perfect"], found["absent"]) == (6, 6, 0)
    assert found["verified"] == 3 * 3 * RATE_HZ // 2 + 3 * 3 * 16_000 // 2


@pytest.mark.parametrize("file", ["wrong", ""])
def test_a_wrong_signature_or_none_is_refused(locked_daemon: Daemon, secrets: Path, audio: Path, file: str) -> None:
    options = ["--dialect", "audiohook2", "--calls", "2", "--api-key", API_KEY, "--organization", ORGANIZATION]
    options += ["--secret-file", str(secrets / file)] if file else []
    status, figures = load(locked_daemon.url, audio, *options)
    assert status == 1
    assert figures["refused"] == {"401": 2}


@pytest.mark.parametrize("channel", [0, 1])
def test_one_sample_of_one_channel_that_was_tampered_with_is_found(
    open_daemon: Daemon, audio: Path, channel: int
) -> None:
    def tamper(number: int, frame: bytes) -> list[bytes]:
        if number != 20:
            return [frame]
        place = len(frame) - 320 + 2 * 50 + channel
        return [frame[:place] + bytes([frame[place] ^ 0x15]) + frame[place + 1 :]]

    with TamperingProxy(open_daemon.address[1], tamper) as proxy:
        options = ["--dialect", "audiohook2", "--calls", "2", "--seconds", "1"]
        status, figures = load(proxy.url, audio, *options, "--verify", "--hub", open_daemon.hub_path)
    assert status == 1
    found = figures["verification"]
    assert (found["streams"], found["perfect"], found["different"]) == (2, 1, 1)
    assert found["imperfect"][0]["first_difference"] == 20 * 160 + 50


def test_a_pause_by_the_operator_prolongs_the_call_and_loses_nothing(open_daemon: Daemon, audio: Path) -> None:
    options = ["--dialect", "audiohook2", "--calls", "1", "--seconds", "2", "--verify", "--hub", open_daemon.hub_path]
    command = [sys.executable, "-m", "audiohook.cli.load", "run", open_daemon.url, "--audio", str(audio), "--json"]
    started = len(open_daemon.stream_lines("started"))
    client = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        open_daemon.wait(lambda: len(open_daemon.stream_lines("started")) > started, "the call")
        stream_id = open_daemon.stream_lines("started")[-1]
        stream = next(one for one in open_daemon.hub.streams() if one.stream_id == stream_id)
        open_daemon.wait(lambda: stream.totals.length > RATE_HZ // 2, "half a second of audio")
        for act in ("pause", "resume"):
            said = subprocess.run(
                [sys.executable, "-m", "audiohook.cli.audiohookctl", "--hub", open_daemon.hub_path, act, stream_id],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=DEADLINE_SECONDS,
            )
            assert said.returncode == 0, said.stderr
        out, _ = client.communicate(timeout=DEADLINE_SECONDS)
    finally:
        client.kill()
        client.communicate()
    figures = json.loads(out)
    assert client.returncode == 0, figures
    found = figures["verification"]
    assert found["verified"] == 2 * RATE_HZ
    assert list(found["gaps"]) == ["paused"]


def against(
    audio: Path, answer: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> tuple[int, Any, list[list[str]], list[int | None]]:
    """Place two short calls; return status, figures, the types that each call said, and their close codes."""
    with Misbehaving(answer) as acceptor:
        status, figures = load(acceptor.url, audio, "--dialect", "audiohook2", "--calls", "2", "--seconds", "0.3")
        types = [[message["type"] for message in said] for said in acceptor.said.values()]
        return status, figures, types, [peer.close.code if peer.close else None for peer in acceptor.peers]


def test_a_call_ends_with_close_closed_and_no_status(audio: Path) -> None:
    status, figures, types, codes = against(audio, well)
    assert status == 0, figures
    assert types == [["open", "close"]] * 2
    assert codes == [None, None]


def test_a_fault_is_counted_and_fails_the_run(audio: Path) -> None:
    def wrong(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**fields, "seq": 2 * fields["seq"] - 1} for fields in well(said)]

    status, figures, _, _ = against(audio, wrong)
    assert status == 1
    assert figures["endings"] == {"completed": 2}
    assert figures["faults"] == {"seq out of turn": 2}


def test_a_disconnect_in_answer_to_open_is_a_refusal_and_answered(audio: Path) -> None:
    def refuse(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if said[-1]["type"] == "open":
            return [{"type": "disconnect", "seq": 1, "parameters": {"reason": "unauthorized"}}]
        return [{"type": "closed", "seq": 2}]

    status, figures, types, codes = against(audio, refuse)
    assert status == 1
    assert figures["refused"] == {"disconnect unauthorized": 2}
    assert types == [["open", "close"]] * 2
    assert codes == [None, None]


def test_no_media_and_other_media_are_not_opened(audio: Path) -> None:
    for media, detail in (([], "opened without media"), ([{**STEREO, "channels": ["external"]}], "opened with other")):

        def opened(said: list[dict[str, Any]], media: Any = media) -> list[dict[str, Any]]:
            if said[-1]["type"] == "open":
                return [{"type": "opened", "seq": 1, "parameters": {"media": media}}]
            return well(said)

        status, figures, types, _ = against(audio, opened)
        assert status == 1
        assert figures["endings"] == {"not_opened": 2}
        assert next(iter(figures["not_opened"])).startswith(detail)
        assert types == [["open", "close"]] * 2


def test_no_answer_to_open_is_given_up_after_five_seconds(audio: Path) -> None:
    status, figures, _, _ = against(audio, lambda said: [])
    assert status == 1
    assert figures["not_opened"] == {"no answer to open in time": 2}
