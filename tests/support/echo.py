"""The echo server (`tests/support/echo_server.py`) as a process of its own, for those who talk to it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SAID = "listening on 127.0.0.1:"


@contextmanager
def echo_server() -> Iterator[int]:
    """Run an echo server and yield its port; it has ended when the block has."""
    command = [sys.executable, "-m", "tests.support.echo_server", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said.startswith(_SAID):
                raise RuntimeError("the echo server did not start; its own words are above")
            yield int(said.removeprefix(_SAID))
            if process.poll() is not None:
                raise RuntimeError(f"the echo server ended by itself, with status {process.returncode}")
        finally:
            process.kill()
