"""Every scenario that is shipped goes as its file says against a real daemon; and one that does not is told."""

import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from misbehaving import Misbehaving, Said, well
from tampering import TamperingProxy

from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
SHIPPED = sorted((ROOT / "conf" / "scenarios").glob("*.toml"))
SIGNED = [path for path in SHIPPED if path.stem.startswith("signature-")]
UNSIGNED = [path for path in SHIPPED if path not in SIGNED]
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
SHORT = """about = "a"
dialect = "audiohook2"
steps = [{ do = "connect" }, { do = "audio", seconds = 1 }, STEPS]
[expect]
"""


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    samples = np.random.default_rng(8).integers(-9000, 9000, 60 * 8000).astype("<i2")
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return folder


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    paths = 'context.paths={"/recut"={framing="fixed:60"}, "/self-delimited"={framing="self_delimited"}}'
    with Daemon(paths, "memory.streams=64") as running:
        yield running.wait_ready()


def play(url: str, hub: str, audio: Path, files: list[Path], *more: str) -> tuple[int, str, str]:
    """Play scenarios; return exit status, what was said, and what was said on stderr."""
    command = [sys.executable, "-m", "audiohook.cli.load", "run", url, "--hub", hub, "--audio", str(audio), *more]
    for file in files:
        command += ["--scenario", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS, env=os.environ)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("file", UNSIGNED, ids=lambda path: path.stem)
def test_a_scenario_goes_as_its_file_says(daemon: Daemon, audio: Path, file: Path) -> None:
    status, said, _ = play(daemon.url, daemon.hub_path, audio, [file])
    assert (status, said.split()[:2]) == (0, ["ok", f"{file.stem}:"]), said


def test_signatures(audio: Path, tmp_path: Path) -> None:
    keys = f'[[key]]\norganization = "{ORGANIZATION}"\napi_key = "{API_KEY}"\nsecret = "{SECRET}"\n'
    for name, text in {"keys": keys, "secret": SECRET}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    options = ["--api-key", API_KEY, "--organization", ORGANIZATION, "--secret-file", str(tmp_path / "secret")]
    with Daemon(f'auth.keys_file="{tmp_path / "keys"}"') as running:
        running.wait_ready()
        status, said, _ = play(running.url, running.hub_path, audio, SIGNED, *options)
        assert (status, [line.split()[0] for line in said.splitlines()]) == (0, ["ok"] * 4), said
        status, _, complaint = play(running.url, running.hub_path, audio, SIGNED)
        assert status == 2
        assert "needs a right one" in complaint


def scenario(tmp_path: Path, steps: str = '{ do = "close" }', expect: str = "") -> Path:
    path = tmp_path / "story.toml"
    path.write_text(SHORT.replace("STEPS", steps) + expect)
    return path


@pytest.mark.parametrize(
    ("steps", "expect", "told"),
    [
        ('{ do = "close" }', "gaps = { discarded = 1.0 }", "gaps: discarded 0 s; expected 1 s"),
        ('{ do = "close" }', "gaps_at_least = { paused = 1.0 }", "gaps: paused 0 s; expected at least 1 s"),
        ('{ do = "discard", seconds = 0.5 }, { do = "close" }', "", "gaps: discarded 0.5 s; expected 0 s"),
        ('{ do = "close" }', "streams = 2", "streams: 1; expected 2"),
        ('{ do = "close" }', "refused = 401", "refused with: none; expected 401"),
        ('{ do = "close" }', 'disconnect = "error"', "disconnect: none; expected error"),
        ('{ do = "close" }', "close_code = 1012", "close frame of the server: none; expected 1012"),
        ('{ do = "close" }', 'end_reason = "idle"', "end of the stream: peer_closed; expected idle"),
        ('{ do = "close" }', "continues = true", "the last stream does not continue the one before"),
        ('{ do = "drop" }', "", "end of the stream: peer_vanished; expected peer_closed"),
        ('{ do = "await", message = "pause", within_seconds = 0.1 }, { do = "close" }', "", "no pause within 0.1 s"),
    ],
)
def test_what_is_not_as_expected_is_told(
    daemon: Daemon, audio: Path, tmp_path: Path, steps: str, expect: str, told: str
) -> None:
    status, said, _ = play(daemon.url, daemon.hub_path, audio, [scenario(tmp_path, steps, expect)])
    assert status == 1
    assert said.startswith("FAILED")
    assert told in said


RETURNS = '{ do = "drop" }, { do = "connect" }, { do = "audio", seconds = 0.2 }'


@pytest.mark.parametrize(
    ("steps", "expect", "told"),
    [
        (
            f'{RETURNS}, {{ do = "close" }}',
            "streams = 2\ngaps_at_least = { lost = 0.0 }",
            "stream 2 continues the one before",
        ),
        ('{ do = "drop" }', 'end_reason = "peer_vanished"', "the last stream: PARKED; expected ENDED"),
        ('{ do = "close" }', "parked = true", "the last stream: ENDED; expected PARKED"),
    ],
)
def test_a_call_that_comes_back_or_may_and_should_not_is_told(
    daemon: Daemon, audio: Path, tmp_path: Path, steps: str, expect: str, told: str
) -> None:
    file = scenario(tmp_path, steps, expect)
    file.write_text(file.read_text().replace("audiohook2", "context"))
    status, said, _ = play(daemon.url, daemon.hub_path, audio, [file])
    assert status == 1
    assert said.splitlines()[1:] == [f"        {told}"], said


@pytest.mark.parametrize(
    ("dialect", "altered"), [("audiohook2", "1 frames differ from what was sent"), ("context", "frames differ from")]
)
def test_audio_that_was_tampered_with_is_found(
    daemon: Daemon, audio: Path, tmp_path: Path, dialect: str, altered: str
) -> None:
    file = scenario(tmp_path)
    file.write_text(file.read_text().replace("audiohook2", dialect))

    def alter(number: int, frame: bytes) -> list[bytes]:
        return [frame[:-10] + bytes([frame[-10] ^ 0x15]) + frame[-9:]] if number == 5 else [frame]

    def lose(number: int, frame: bytes) -> list[bytes]:
        return [] if number == 5 else [frame]

    for tamper, told in ((alter, altered), (lose, "frames were sent,")):
        with TamperingProxy(daemon.address[1], tamper) as proxy:
            status, said, _ = play(proxy.url, daemon.hub_path, audio, [file])
        assert status == 1
        assert told in said


def test_a_fault_of_the_server_fails_a_scenario(daemon: Daemon, audio: Path, tmp_path: Path) -> None:
    def wrong(said: Said) -> Said:
        return [{**fields, "clientseq": 0} for fields in well(said)]

    with Misbehaving(wrong) as acceptor:
        status, said, _ = play(acceptor.url, daemon.hub_path, audio, [scenario(tmp_path)])
    assert status == 1
    assert "fault of the server: closed that answers no close" in said
    assert "1 connections were opened, 0 streams are there" in said


def test_nobody_there_is_told_and_the_next_scenario_is_played(daemon: Daemon, audio: Path, tmp_path: Path) -> None:
    file = scenario(tmp_path)
    status, said, _ = play("ws://127.0.0.1:1/", daemon.hub_path, audio, [file, file])
    assert status == 1
    assert said.count("127.0.0.1:1 refuses connections") == 2
