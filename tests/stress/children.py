"""Starts the other processes of the stress tests: fresh interpreters that inherit memory files, always ended by PID."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SECONDS = float(os.environ.get("AUDIOHOOK_STRESS_SECONDS", "3"))
"""How long each of these tests runs. A fault that shows once an hour needs more than the suite can give."""
PATIENCE_SECONDS = 60.0
CONTROL_SECONDS = max(60.0, SECONDS)
"""How long a control may look for the fault that it is known to have. It ends with the first one."""


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(HERE / script), *(str(argument) for argument in arguments)]


def environment() -> dict[str, str]:
    # One thread: some of these children fork, and OpenBLAS starts threads at import.
    return {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def running(script: str, *arguments: object, fds: Sequence[int], talk: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run a script of this folder beside the test; afterwards it is gone. Its failure is the test's.

    With `talk` the test can write to it.
    """
    child = subprocess.Popen(
        command(script, *arguments),
        pass_fds=fds,
        env=environment(),
        stdin=subprocess.PIPE if talk else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
        assert child.poll() in (None, 0), "the other process failed: " + child.communicate()[1]
    finally:
        child.kill()
        child.communicate()


def finished(script: str, *arguments: object, fds: Sequence[int], seconds: float) -> str:
    """Run a script of this folder to its end and return what it printed."""
    done = subprocess.run(
        command(script, *arguments),
        pass_fds=fds,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(seconds: float, enough: Callable[[], bool] = lambda: True) -> Iterator[int]:
    """Count for so long, and on a busy machine for longer, until there was `enough` to see."""
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < seconds or (
        not enough() and time.monotonic() - began < seconds + PATIENCE_SECONDS
    ):
        yield number
        number += 1
