"""The commands under a Python that lacks what they need: one line that says what, and what to do."""

import os
import subprocess
import sys

import pytest

from tests.support.daemon import ROOT

COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir() if path.is_file())


def run(command: str, **environment: str) -> tuple[int, str]:
    """Run a command of the checkout without any site-packages, as another Python would; return status and stderr."""
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "bin" / command), "--help"],
        env={**os.environ, "PYTHONPATH": "", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_package(command: str) -> None:
    expected = f"{command}: {sys.executable} has no module audiohook; install audiohook[server] there, "
    status, said = run(command)
    assert (status, said) == (1, f"{expected}or run the {command} of the environment that has it\n")


def test_without_what_the_package_needs() -> None:
    status, said = run("audiohook-load", PYTHONPATH=str(ROOT))
    assert status == 1
    assert said.count("\n") == 1
    assert said.startswith(f"audiohook-load: {sys.executable} has no module ")
    assert "no module audiohook;" not in said
