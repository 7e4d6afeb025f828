"""A machine for tests: systemd as PID 1 of namespaces of its own, with our unit files, and the way in.

Needs root, cgroup2 and overlayfs; `why_not` says what is missing. The network is the host's, so peers connect as to any
daemon, and the hub is reached through `/proc/PID/root`.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import audiohook

BOOT = Path(__file__).with_name("boot.sh")
UNIT = "audiohookd.service"
SEEN = sorted({str(Path(__file__).parents[2]), sys.prefix, sys.base_prefix} - {"/usr"})
"""This repository, and the interpreter with its packages."""
PATIENCE_S = 60.0
LOOK_S = 0.02
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup")
TOOLS = ("unshare", "nsenter", "setpriv", "pivot_root", "systemctl", "journalctl")

Result = TypeVar("Result")


def cgroup2() -> Path | None:
    """Return where cgroup2 is mounted; a hybrid hierarchy has it beside the controllers of version 1."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(where)
    return None


def why_not() -> str:
    """Return why there can be no such machine here, nothing if there can."""
    if os.geteuid() != 0:
        return "only root may make the namespaces that systemd runs in"
    if not Path("/lib/systemd/systemd").exists():
        return "there is no systemd on this machine"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {', '.join(missing)} on this machine"
    group = cgroup2()
    if group is None:
        return "there is no cgroup2 that could be written to"
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlayfs"
    tried = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    return f"namespaces are refused: {tried.stderr.strip()}" if tried.returncode else ""


class Machine:
    """Booted on entering, switched off on leaving."""

    def __init__(self, folder: Path, units: Path) -> None:
        self._folder = folder
        self._units = units
        self._group = (cgroup2() or folder) / f"audiohook-test-{os.getpid()}"
        self._outer: subprocess.Popen[bytes] | None = None
        self.pid = 0
        """PID 1's, as the host has it."""

    def __enter__(self) -> "Machine":
        base = self._folder / "machine"
        base.mkdir()
        self._group.mkdir()
        enter = f'echo $$ > {self._group}/cgroup.procs; exec unshare {" ".join(NAMESPACES)} --fork --kill-child "$@"'
        with (self._folder / "boot.log").open("wb") as log:
            self._outer = subprocess.Popen(
                ["bash", "-c", enter, "bash", "bash", str(BOOT), str(base), str(self._units), *SEEN],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            self.pid = self.wait(self._first_process, "a first process")
            self.wait(lambda: self.run("systemctl", "is-active", "all.target", check=False) == "active", "all.target")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._outer is not None:
            self._outer.kill()  # --kill-child: PID 1 goes with it, and with that every process of the namespace
            self._outer.wait(PATIENCE_S)
        folders = [Path(root) for root, _, _ in os.walk(self._group)]
        self.wait(lambda: not any((one / "cgroup.procs").read_text() for one in folders), "the end of every process")
        for one in reversed(folders):
            one.rmdir()

    def _first_process(self) -> int:
        outer = self._outer
        assert outer is not None
        assert outer.poll() is None, (self._folder / "boot.log").read_text()
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        names = [int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "systemd\n"]
        return names[0] if names else 0

    # ---------------------------------------------------------------------------------------- commands

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside; return what it wrote. With `check` it must succeed."""
        enter = ["nsenter", "--target", str(self.pid), *NAMESPACES, *command]
        done = subprocess.run(enter, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}\n{self.log()}"
        return done.stdout.strip()

    def status(self, *command: str) -> int:
        """Run a command inside; return its exit status."""
        enter = ["nsenter", "--target", str(self.pid), *NAMESPACES, *command]
        return subprocess.run(enter, capture_output=True, check=False, timeout=PATIENCE_S).returncode

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run("systemctl", "show", "--property", name, "--value", UNIT)

    def log(self) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", UNIT, check=False)

    def wait(self, condition: Callable[[], Result | None], awaited: str) -> Result:
        """Return what `condition` returns as soon as that is true."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            if result := condition():
                return result
            assert time.monotonic() < deadline, f"{awaited} did not come\n{self.log() if self.pid else ''}"
            time.sleep(LOOK_S)

    # ---------------------------------------------------------------------------------------- the daemon

    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    def processes(self) -> list[int]:
        """Return the living processes in the unit's cgroup, by the pids of the machine."""
        folder = self.show("ControlGroup")
        if not folder:
            return []
        text = self.run("cat", f"/sys/fs/cgroup{folder}/cgroup.procs", check=False)
        alive = {int(name) for name in self.run("ls", "/proc").split() if name.isdigit()}
        return [pid for line in text.splitlines() if (pid := int(line)) in alive]

    def kill(self, number: int, pid: int) -> None:
        self.run("kill", f"-{number}", str(pid))

    def attach(self) -> audiohook.Hub:
        """Attach to the hub that the machine has at its usual place."""
        return audiohook.attach(f"/proc/{self.pid}/root/run/audiohook/hub.sock")
