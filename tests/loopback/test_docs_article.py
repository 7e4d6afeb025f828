"""The configuration and the commands of docs/article.md do what the page says, as they stand but for the address."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from audiohook.load.speech_source import write_wav
from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
TEXT = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
(CONFIGURATION,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
ADDRESS = "ws://127.0.0.1:8443/"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    file = tmp_path_factory.mktemp("configuration") / "audiohookd.toml"
    file.write_text(CONFIGURATION)
    with Daemon(arguments=("--config", str(file))) as running:
        yield running.wait_ready()


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    samples = np.random.default_rng(8).integers(-9000, 9000, 80_000).astype("<i2")
    write_wav(folder / "noise.wav", 8000, samples.tobytes())
    return folder


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) == TEXT.count("audiohook-load") - TEXT.count("`audiohook-load")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_succeeds(daemon: Daemon, audio: Path, line: str) -> None:
    program, verb, *words = shlex.split(line.replace(ADDRESS, daemon.url))
    assert program == "audiohook-load"
    if verb == "run":
        words += ["--audio", str(audio)]
    done = subprocess.run(
        [sys.executable, "-m", "audiohook.cli.load", verb, *words],
        cwd=ROOT,
        env={**os.environ, "RUNTIME_DIRECTORY": str(daemon.folder)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {stream.sample_rate for stream in daemon.hub.streams(ended=True)} == {8000}
