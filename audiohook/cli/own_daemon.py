"""A daemon of our own: audiohookd in a folder of its own, on loopback and a port of the kernel's choice, with no file.

For commands that try something out. It has its own memory files and its own hub, so it disturbs none that runs, but for
the processors. On leaving the `with` block it is gone.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from audiohook.errors import AudiohookError

READY_WITHIN_SECONDS = 30.0
STOP_WITHIN_SECONDS = 20.0
LOOK_SECONDS = 0.02


class OwnDaemon:
    """`settings` as for --set. `nice` as in nice(1): added to this process' own."""

    def __init__(self, *settings: str, nice: int = 0) -> None:
        # Not below var/: the name of a Unix socket has 107 bytes at most.
        self._folder = tempfile.TemporaryDirectory(prefix="audiohook-")
        self._log = Path(self._folder.name) / "log"
        chosen = ('server.listen=["127.0.0.1:0"]', f'hub.path="{self._folder.name}/hub.sock"', *settings)
        command = ["nice", "-n", str(nice), sys.executable, "-P", "-m", "audiohook.cli.audiohookd"]
        command += ["--config", os.devnull, *(part for setting in chosen for part in ("--set", setting))]
        with self._log.open("wb") as log:
            # A process group of its own: Ctrl-C is for the command, which ends it properly.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
        self.url = self.hub_path = ""

    def __enter__(self) -> "OwnDaemon":
        try:
            self.url, self.hub_path = announced(self._process, self._log)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        end(self._process)
        self._folder.cleanup()


def announced(process: "subprocess.Popen[bytes]", log: Path) -> tuple[str, str]:
    """Return the URL and the hub that a daemon announces in its log; AudiohookError with its own words if it ends."""
    give_up = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < give_up:
        text = log.read_text(errors="replace")
        found = re.search(r"READY listen=(\S+) hub=(\S+)", text)
        if found:
            return f"ws://{found[1]}/", found[2]
        if process.poll() is not None:
            said = "".join(text.splitlines()[-1:])
            raise AudiohookError(f"a daemon of our own ended with {process.returncode}: {said}")
        time.sleep(LOOK_SECONDS)
    raise AudiohookError(f"a daemon of our own was not ready within {READY_WITHIN_SECONDS:g} s")


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process of ours, which has a while to do so by itself."""
    process.terminate()
    try:
        process.wait(STOP_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
