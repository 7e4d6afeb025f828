"""The conformance tools: found or installed once, under `var/conformance/`, at the versions pinned beside this file.

The Autobahn test suite is what the world measures WebSockets with, and needs Python 2.7; `kosoku` drives the same cases
from Python 3. An installation is remade when its pins change or when it was not finished.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
INSTALL_SECONDS = 600


class ToolError(Exception):
    """A tool cannot be installed or does not end; the message says where its output is."""


def find_python2() -> str | None:
    """Return a Python 2.7 that runs, or None: $PYTHON2, the search path, then what pyenv has installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        os.environ.get("PYTHON2", ""),
        shutil.which("python2.7") or "",
        *sorted(str(path) for path in pyenv.glob("versions/2.7.*/bin/python2.7")),
    ]
    return next((path for path in candidates if path and _is_python2(path)), None)


def _is_python2(path: str) -> bool:
    # Asked and not believed: pyenv puts a `python2.7` on the path that runs only where that version was chosen.
    try:
        asked = subprocess.run(
            [path, "-c", "import sys; print(sys.version_info[:2] == (2, 7))"], capture_output=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.stdout.strip() == b"True"


@dataclass(frozen=True)
class Installer:
    """Makes environments in `folder`; what the tools print goes to `folder`/install.log."""

    folder: Path

    def wstest(self, python2: str) -> Path:
        """Return the Autobahn test suite's command."""
        return self._cached("autobahn", lambda home: self._install_autobahn(home, python2)) / "bin" / "wstest"

    def kosoku(self) -> Path:
        """Return kosoku's command."""
        return self._cached("kosoku", self._install_kosoku) / "bin" / "kosoku"

    def _install_autobahn(self, home: Path, python2: str) -> None:
        helper = self._cached("virtualenv", self._install_virtualenv)
        self._run([str(helper / "bin" / "virtualenv"), "--python", python2, str(home)])
        self._pip(home, "autobahn")

    def _install_virtualenv(self, home: Path) -> None:
        self._run([sys.executable, "-m", "venv", str(home)])
        self._pip(home, "virtualenv")

    def _install_kosoku(self, home: Path) -> None:
        self._run([sys.executable, "-m", "venv", str(home)])
        self._pip(home, "kosoku")

    def _pip(self, home: Path, name: str) -> None:
        pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
        self._run([*pip, "--requirement", str(HERE / f"{name}.txt")])

    def _cached(self, name: str, install: Callable[[Path], None]) -> Path:
        home = self.folder / name
        pins = (HERE / f"{name}.txt").read_text(encoding="utf-8")
        stamp = home / "installed"
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != pins:
            print(f"installing {name} into {home} (once)", flush=True)
            shutil.rmtree(home, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            install(home)
            stamp.write_text(pins, encoding="utf-8")
        return home

    def _run(self, command: list[str]) -> None:
        run_logged(command, self.folder / "install.log", INSTALL_SECONDS)


def run_logged(command: list[str], log: Path, seconds: float, good_statuses: tuple[int, ...] = (0,)) -> None:
    """Run `command` with its output in `log`; ToolError if it fails or is not done after `seconds`."""
    with log.open("wb") as output:
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            raise ToolError(f"{command[0]} was not done after {seconds} s; see {log}") from None
        except OSError as error:
            raise ToolError(f"{command[0]}: {error.strerror}") from None
    if ended.returncode not in good_statuses:
        raise ToolError(f"{command[0]} ended with status {ended.returncode}; see {log}")
