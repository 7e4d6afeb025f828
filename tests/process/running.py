"""Runs `supervised.py` and follows what it says. Waits for conditions, with a generous deadline, never for a while."""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PATIENCE_S = 60.0

Event = dict[str, Any]


def environment() -> dict[str, str]:
    """Return our environment with this checkout importable, and with Python's usual buffering."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**inherited, "PYTHONPATH": str(ROOT)}


def run_program(text: str) -> str:
    """Run a small program in a process of its own and return what it printed; it must exit with 0."""
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Running:
    """A supervisor with its children. On leaving the `with` block every process of it is gone."""

    def __init__(self, kind: str, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "supervised.py"), kind, *options],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout.fileno()
        self._unread = b""
        self.ended = False
        self.events: list[Event] = []

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for pid in [self.pid, *self.pids()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def pids(self) -> list[int]:
        """Return every child that has ever said who it is and is still a process of this session."""
        named = [event["pid"] for event in self.events if event["event"] in ("worker", "desk")]
        return [pid for pid in named if session_of(pid) == self.pid]

    def pid_of(self, row: int) -> int:
        """Return the latest pid of a row's worker."""
        return int([event["pid"] for event in self.events if event["event"] == "worker" and event["row"] == row][-1])

    def address(self) -> tuple[str, int]:
        host, _, port = self.wait_for("listening")[0]["address"].rpartition(":")
        return host, int(port)

    def seen(self, event: str, **fields: object) -> list[Event]:
        return [one for one in self.events if one["event"] == event and fields.items() <= one.items()]

    def logged(self, text: str) -> list[Event]:
        return [one for one in self.events if one["event"] == "log" and text in one["text"]]

    def wait_for(self, event: str, count: int = 1, **fields: object) -> list[Event]:
        """Return the events of this name with these fields, once there are `count` of them."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.seen(event, **fields)) < count:
            self._read(deadline, f"{count} x {event} {fields}")
        return self.seen(event, **fields)

    def wait_logged(self, text: str, count: int = 1) -> list[Event]:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.logged(text)) < count:
            self._read(deadline, f"{count} x log {text}")
        return self.logged(text)

    def wait_exit(self) -> int:
        """Return the supervisor's exit code, once it and everybody who shares its stdout are gone."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.ended:
            self._read(deadline, "the end", at_end=True)
        return self._process.wait(PATIENCE_S)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _read(self, deadline: float, awaited: str, at_end: bool = False) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            ready = selector.select(max(deadline - time.monotonic(), 0))
        data = os.read(self._stdout, 65536) if ready else b""
        if not data:
            self.ended = bool(ready)
            if not (at_end and ready):
                raise AssertionError(f"{awaited} did not come; there were {self.events}; {self._stderr_if_ended()}")
        *lines, self._unread = (self._unread + data).split(b"\n")
        self.events += [json.loads(line) for line in lines]

    def _stderr_if_ended(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read().decode() if self.ended else "still running"


def session_of(pid: int) -> int:
    """Return the session of a process, 0 if it is gone: a pid may have been given to a stranger since."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def ask(address: tuple[str, int]) -> tuple[int, int]:
    """Connect and return the (row, pid) of the worker that answered."""
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, int]:
    connection.settimeout(PATIENCE_S)
    text = b""
    while not text.endswith(b"\n"):
        piece = connection.recv(64)
        assert piece, "the connection ended without an answer"
        text += piece
    row, pid = text.split()
    return int(row), int(pid)
