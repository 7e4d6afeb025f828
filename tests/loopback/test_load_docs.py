"""The commands and the scenario of docs/load.md do what they say, as they stand but for the address."""

import os
import re
import shlex
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
TEXT = (ROOT / "docs" / "load.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
SCENARIOS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
ADDRESS = "ws://127.0.0.1:8443/"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running.wait_ready()


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    samples = np.random.default_rng(8).integers(-9000, 9000, 80_000).astype("<i2")
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return folder


def run(daemon: Daemon, words: list[str]) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(daemon.folder)}
    command = [sys.executable, "-m", "audiohook.cli.load", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_succeeds(daemon: Daemon, audio: Path, line: str) -> None:
    program, *words = shlex.split(line.replace(ADDRESS, daemon.url))
    assert program == "audiohook-load"
    done = run(daemon, [*words, *(["--audio", str(audio)] if words[0] == "run" else [])])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scenario_of_the_page_goes_as_it_says(daemon: Daemon, audio: Path, tmp_path: Path) -> None:
    (scenario,) = SCENARIOS
    (tmp_path / "story.toml").write_text(scenario)
    done = run(daemon, ["run", daemon.url, "--audio", str(audio), "--scenario", str(tmp_path / "story.toml")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok      story: a pause")


def test_every_option_of_the_commands_is_on_the_page(daemon: Daemon) -> None:
    shown = run(daemon, ["run", "--help"]).stdout + run(daemon, ["probe", "--help"]).stdout
    own = {"--help", "--hub", "--audio", "--seed", "--connects-per-second"}
    assert set(re.findall(r"(--[a-z][a-z0-9-]+)", shown)) - own <= set(re.findall(r"(--[a-z][a-z0-9-]+)", TEXT))
