"""Makes what the peers need, under `var/bench/`: `.venv/bin/python -m tests.bench.peers.install`.

An environment for those in Python, at the versions of requirements.txt, and `node_modules` for the one in Node, at
those of package.json, whose Opus is compiled: that takes half a minute, a C++ compiler and Node's headers. An
installation is remade when its pins or the interpreter change, or when it was not finished. What cannot be had is said,
and its peers are left out; nothing else here installs anything.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.interop.tools import INSTALL_SECONDS, ToolError, run_logged

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FOLDER = ROOT / "var" / "bench"
PYTHON_HOME = FOLDER / "python"
PYTHON = PYTHON_HOME / "bin" / "python"
NODE_MODULES = FOLDER / "node_modules"
LOG = FOLDER / "install.log"
REMEDY = ".venv/bin/python -m tests.bench.peers.install"


def why_no_python() -> str | None:
    """Return why the peers in Python cannot run, or None."""
    return _why_not(PYTHON_HOME, _python_stamp())


def why_no_node() -> str | None:
    """Return why the peer in Node cannot run, or None."""
    return _missing("node") or _why_not(NODE_MODULES, _node_stamp())


def _why_not(home: Path, stamp: str) -> str | None:
    installed = home / "installed"
    if installed.is_file() and installed.read_text(encoding="utf-8") == stamp:
        return None
    return f"not installed, or not as pinned: {REMEDY}"


def _missing(*programs: str) -> str | None:
    missing = [program for program in programs if shutil.which(program) is None]
    return f"{' and '.join(missing)}: not on the search path" if missing else None


def _python_stamp() -> str:
    return f"{sys.version}\n{(HERE / 'requirements.txt').read_text(encoding='utf-8')}"


def _node_stamp() -> str:
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return version + (HERE / "package.json").read_text(encoding="utf-8")


def install_python() -> None:
    """Make the environment anew."""
    _run([sys.executable, "-m", "venv", str(PYTHON_HOME)])
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install"]
    _run([*pip, "--no-deps", "--requirement", str(HERE / "requirements.txt")])
    (PYTHON_HOME / "installed").write_text(_python_stamp(), encoding="utf-8")


def install_node() -> None:
    """Make `node_modules` anew."""
    missing = _missing("node", "npm")
    if missing:
        raise ToolError(missing)
    shutil.copy(HERE / "package.json", FOLDER)
    # From source: what is prebuilt comes from where no registry vouches for it, and not for every machine.
    _run(["npm", "install", "--prefix", str(FOLDER), "--no-package-lock", "--build-from-source"])
    (NODE_MODULES / "installed").write_text(_node_stamp(), encoding="utf-8")


def _run(command: list[str]) -> None:
    run_logged(command, LOG, INSTALL_SECONDS)


PARTS: tuple[tuple[str, Callable[[], str | None], Path, Callable[[], None]], ...] = (
    ("the peers in Python", why_no_python, PYTHON_HOME, install_python),
    ("the peer in Node", why_no_node, NODE_MODULES, install_node),
)


def install() -> list[str]:
    """Make what is not there as it should be; return a line for each part that cannot be had."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    notes = []
    for name, why_not, home, make in PARTS:
        if why_not() is None:
            continue
        print(f"installing what {name} needs into {home} (once)", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        try:
            make()
        except ToolError as error:
            notes.append(f"{name}: left out: {error}")
    return notes


def main() -> int:
    notes = install()
    for note in notes:
        print(note, file=sys.stderr)
    return 1 if notes else 0


if __name__ == "__main__":
    sys.exit(main())
