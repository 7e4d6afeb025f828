"""A real audiohookd for tests: started in a folder of its own on a port of the kernel's choice, looked into, ended.

Whatever a test does, on leaving the `with` block no process of the daemon is left and its log holds no traceback; what
fails, fails with the log's text. Waits for conditions, with a generous deadline, never for a while.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import audiohook
from audiohook.memory import layout

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40.0
LOOK_S = 0.01

DEFAULTS = ('server.listen=["127.0.0.1:0"]', "server.workers=2", "memory.streams=16")
"""Settings that a test may override, or leave out to have them in a file."""

Result = TypeVar("Result")


class Daemon:
    """A supervisor with its workers and its desk, in a session of their own, by which they are found."""

    def __init__(
        self,
        *settings: str,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        module: str = "audiohook.cli.audiohookd",
        defaults: tuple[str, ...] = DEFAULTS,
    ):
        # Not pytest's tmp_path: the name of a Unix socket has 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="audiohook-"))
        self.folder.chmod(0o755)
        self.log_path = self.folder / "log"
        self._hub: audiohook.Hub | None = None
        chosen = [*defaults, f"hub.path={self.folder}/hub.sock", *settings]
        command = [sys.executable, "-P", "-m", module, "--config", os.devnull, *arguments]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(part for setting in chosen for part in ("--set", setting))],
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._hub is not None:
            self._hub.close()
        try:
            while left := self.processes():
                for pid in left:
                    kill(pid, signal.SIGKILL)
                self._process.poll()
            self._process.wait(PATIENCE_S)
            text = self.log
        finally:
            shutil.rmtree(self.folder)
        print(text)  # captured: shown if the test fails
        if error is not None:
            return
        assert "Traceback" not in text, text
        assert "internal error" not in text, text

    # ---------------------------------------------------------------------------------------- what it says

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def logged(self, pattern: str) -> list[re.Match[str]]:
        """Return every match of a regular expression in the log."""
        return list(re.finditer(pattern, self.log))

    def wait_logged(self, pattern: str, count: int = 1) -> list[re.Match[str]]:
        return self.wait(lambda: found if len(found := self.logged(pattern)) >= count else None, f"log: {pattern}")

    def wait(self, condition: Callable[[], Result | None], awaited: str, seconds: float = PATIENCE_S) -> Result:
        """Return what `condition` returns as soon as that is true."""
        deadline = time.monotonic() + seconds
        while True:
            if result := condition():
                return result
            assert time.monotonic() < deadline, f"{awaited} did not come; it is {result!r}\n{self.log}"
            time.sleep(LOOK_S)

    def wait_ready(self) -> "Daemon":
        def ready() -> list[re.Match[str]]:
            assert self._process.poll() is None, f"it ended with {self._process.returncode}\n{self.log}"
            return self.logged("READY listen=")

        self.wait(ready, "READY")
        return self

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.logged(r"READY listen=(\S+) ")[0][1].rpartition(":")
        return host, int(port)

    @property
    def url(self) -> str:
        return f"ws://{self.address[0]}:{self.address[1]}/"

    @property
    def hub_path(self) -> str:
        return self.logged(r"READY .* hub=(\S+) ")[0][1]

    # ---------------------------------------------------------------------------------------- its processes

    @property
    def pid(self) -> int:
        return self._process.pid

    def processes(self) -> list[int]:
        """Return the pid of every living process of this daemon."""
        return [pid for pid, session in sessions() if session == self.pid]

    def workers(self) -> dict[int, int]:
        """Return the pid of the worker of each row that has one, as the arena's worker table says."""
        words, sizes = self.hub.arena.words, self.hub.arena.geometry
        pids = {row: words[layout.row_word(sizes, row, "pid")] for row in range(sizes.rows)}
        return {row: pid for row, pid in pids.items() if pid}

    def desk(self) -> int:
        """Return the pid of the desk, once there is one that has been exec'ed."""

        def found() -> list[int]:
            return [pid for pid in self.processes() if b"audiohook.control.desk" in command_line(pid)]

        return self.wait(found, "a desk")[0]

    def signal(self, number: int) -> None:
        kill(self.pid, number)

    def wait_exit(self) -> int:
        """Return the supervisor's exit code (negative: the signal), as soon as it has ended."""
        self.wait(lambda: self._process.poll() is not None, "the daemon's end")
        return self._process.returncode

    def wait_all_gone(self) -> None:
        self.wait(lambda: not self.processes(), "the end of every process")

    def stop(self) -> int:
        """SIGTERM; return the exit code. Nothing of it may be left then."""
        self.signal(signal.SIGTERM)
        code = self.wait_exit()
        assert not self.processes(), self.log
        return code

    # ---------------------------------------------------------------------------------------- its memory

    @property
    def hub(self) -> audiohook.Hub:
        """This process' own attachment, made at its first use."""
        if self._hub is None:
            self._hub = audiohook.attach(self.hub_path)
        return self._hub

    def row(self, name: str) -> list[int]:
        """Return one word of the worker table, of every row."""
        arena = self.hub.arena
        return [arena.words[layout.row_word(arena.geometry, row, name)] for row in range(arena.geometry.rows)]

    def counter(self, name: str) -> int:
        """Return a counter, summed over all workers that there ever were."""
        arena = self.hub.arena
        return sum(arena.words[layout.counter_word(arena.geometry, row, name)] for row in range(arena.geometry.rows))

    def counters(self) -> Counter[str]:
        """Return every counter that is not 0."""
        return Counter({name: value for name in layout.COUNTERS if (value := self.counter(name))})

    def slot_states(self) -> Counter[str]:
        return Counter(layout.STREAM_STATES[state] for state in self.hub.arena.states().tolist())

    def live(self) -> int:
        """Return how many accepted connections are open, over all workers."""
        return sum(self.row("live"))

    def locked_slots(self) -> list[int]:
        """Return the slots whose lock is held, once for each holder."""
        held: list[int] = []
        for pid in {*self.workers().values(), self.pid}:
            for fd in descriptors(pid):
                if "audiohook:locks" in link(pid, fd):
                    lines = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
                    for first, last in re.findall(r"OFDLCK.* (\d+) (\d+)$", lines, re.MULTILINE):
                        held += range(int(first), int(last) + 1)
        return held

    def watched(self) -> list[int]:
        """Return the slots whose watch word is set: what the desk has asked the workers to wake."""
        fd = next(fd for fd in descriptors(self.pid) if "audiohook:watch" in link(self.pid, fd))
        with open(f"/proc/{self.pid}/fd/{fd}", "rb") as words:
            read = memoryview(words.read(self.hub.arena.geometry.slots * 8)).cast("Q")
        return [slot for slot, word in enumerate(read) if word]

    def stream_lines(self, kind: str) -> list[str]:
        """Return the stream id of every log line that says that a stream has started, or ended."""
        return [match[1] for match in self.logged(rf"stream {kind} stream=(\S+) ")]

    def stream_events(self, kind: str) -> list[str]:
        return [event["stream"] for event in self.events() if event["event"] == kind]

    def events(self) -> list[dict[str, Any]]:
        return list(self.hub.events())

    def descriptors_of_all(self) -> Counter[str]:
        """Return how many descriptors the supervisor and each worker has, by what they are."""
        counts: Counter[str] = Counter()
        for name, pid in (("supervisor", self.pid), *((f"worker {row}", pid) for row, pid in self.workers().items())):
            counts.update(f"{name} {re.sub(r'[0-9]+', '', link(pid, fd))}" for fd in descriptors(pid))
        return counts


def sessions() -> list[tuple[int, int]]:
    """Return (pid, session) of every process that is not a zombie."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, _, _, session = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state not in "ZX":
                found.append((int(name), int(session)))
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def descriptors(pid: int) -> list[int]:
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


def link(pid: int, fd: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return "closed meanwhile"


def kill(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there. SIGSTOP returns when every thread of it stands still.

    The signal alone does not say so: one thread has to run to take it and tell the others, which go on until then.
    On a busy machine that is milliseconds, in which a reader has read two blocks more.
    """
    try:
        os.kill(pid, number)
        deadline = time.monotonic() + PATIENCE_S
        while number == signal.SIGSTOP and set(thread_states(pid)) - set("TZX"):
            assert time.monotonic() < deadline, f"process {pid} does not stand still"
            time.sleep(LOOK_S)
    except ProcessLookupError:
        pass


def thread_states(pid: int) -> list[str]:
    """Return the state of each thread of a process, as /proc has it; none of a process that is gone."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            states.append(stat.read_text().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return states


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
