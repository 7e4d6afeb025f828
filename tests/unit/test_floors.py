"""docs/architecture.md, "Floors": what may import what, that a reader needs NumPy only, and that files stay small.

The rules are in tests/support/floors.py. The checker is itself checked with planted violations.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import audiohook
from tests.support.floors import FLOORS, IMPURE, PURE_MODULES, SIDEWAYS, imports_of, sources, violations

FOLDER = Path(audiohook.__file__).parent
SOURCES = sources(FOLDER)

MAX_LINES = 400


def test_no_import_breaks_a_floor() -> None:
    assert len(SOURCES) > 60, "the walk found the package"
    assert violations(SOURCES) == []


def test_every_folder_has_a_floor() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= set(FLOORS)


def test_the_pure_modules_exist() -> None:
    assert set(SOURCES) >= PURE_MODULES


def test_sideways_never_goes_upwards_or_round() -> None:
    assert all(FLOORS[own] == FLOORS[other] for own, other in SIDEWAYS)
    assert not any(FLOORS[own] == 4 for own, _ in SIDEWAYS)
    reached = set(SIDEWAYS)
    while more := {(a, d) for a, b in reached for c, d in reached if b == c} - reached:
        reached |= more
    assert not any((other, own) in reached for own, other in reached)


PLANTED = [
    ("worker", "from audiohook.supervisor import policy", "audiohook.supervisor.policy"),
    ("supervisor", "import audiohook.worker.process", "audiohook.worker.process"),
    ("load", "from audiohook.worker.connection import Connection", "audiohook.worker.connection"),
    ("sinks", "from audiohook.observer import anything", "audiohook.observer"),
    ("worker", "def later():\n    from audiohook.load import plan", "audiohook.load.plan"),
    ("worker", "if TYPE_CHECKING:\n    from audiohook.cli.service import serve", "audiohook.cli.service"),
    ("supervisor", "from audiohook import cli", "audiohook.cli"),
    ("net", "from audiohook.control.hub import Hub", "audiohook.control.hub"),
    ("net", "import audiohook", "audiohook"),
    ("memory", "from audiohook.config import Config", "audiohook.config"),
    ("config", "from audiohook.memory import layout", "audiohook.memory.layout"),
    ("memory", "from audiohook.net.loop import Loop", "audiohook.net.loop"),
    ("wire", "from audiohook.session import context", "audiohook.session.context"),
    ("wire", "from audiohook.call import Call", "audiohook.call"),
    ("codec", "from audiohook.wire.request import Request", "audiohook.wire.request"),
    ("session", "from ..memory import layout", "audiohook.memory.layout"),
    ("session", "from audiohook.memory.arena import Arena", "audiohook.memory.arena"),
    ("memory", 'from importlib import import_module\nimport_module("audiohook.net.loop")', "audiohook.net.loop"),
    ("utils", "x = 1", "has no floor"),
    *((pure, f"import {name}", name) for name in sorted(IMPURE) for pure in ("wire", "session", "codec")),
    ("wire", "import os.path", "os.path"),
    ("wire", "from time import monotonic_ns", "time"),
    ("session", "def f():\n    import logging", "logging"),
]


@pytest.mark.parametrize(("folder", "text", "named"), PLANTED)
def test_a_planted_violation_is_found(folder: str, text: str, named: str) -> None:
    planted = f"audiohook.{folder}.planted"
    (found,) = violations({**SOURCES, planted: text})
    assert planted in found
    assert named in found


@pytest.mark.parametrize("module", sorted(PURE_MODULES | {"audiohook.call", "audiohook.errors", "audiohook.units"}))
def test_an_impure_import_in_a_pure_module_is_found(module: str) -> None:
    (found,) = violations({**SOURCES, module: f"{SOURCES[module]}\nfrom os import environ\n"})
    assert found == f"{module} is pure and imports os"


def test_a_pure_module_above_floor_1_may_not_lean_on_an_impure_one() -> None:
    planted = {**SOURCES, "audiohook.supervisor.policy": "from audiohook.net import loop"}
    assert violations(planted) == [
        "audiohook.supervisor.policy is pure and imports audiohook.net.loop, which is not",
    ]


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        ("control", "from audiohook.net.seat import report_ready"),
        ("session", "from audiohook.wire.request import Request"),
        ("worker", "from audiohook.net import loop\nfrom audiohook.memory import arena\nimport time, socket, logging"),
        ("load", "import audiohook\nfrom audiohook.wire import client"),
        ("cli", "from audiohook.worker.process import run_worker\nfrom audiohook.load import plan"),
        ("memory", "import mmap\nimport os\nfrom audiohook.errors import BootError"),
    ],
)
def test_what_is_allowed_is_not_found(folder: str, text: str) -> None:
    assert violations({**SOURCES, f"audiohook.{folder}.planted": text}) == []


def test_names_are_resolved_as_far_as_modules_go() -> None:
    text = (
        "from audiohook.memory import layout, nothing\nfrom audiohook import Gap\nimport numpy as np\nfrom . import row"
    )
    assert list(imports_of("audiohook.memory.planted", text, SOURCES)) == [
        "audiohook.memory.layout",
        "audiohook.memory",
        "audiohook",
        "numpy",
        "audiohook.memory.row",
    ]


# What a reader needs

ONLY_NUMPY = """
import sys

class OnlyNumpy:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in ("audiohook", "numpy"):
            return None
        raise ModuleNotFoundError(f"a reader does not have {name}", name=name)

sys.meta_path.insert(0, OnlyNumpy())
for name in ("wsproto", "h11", "opuslib", "psutil", "msgspec"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} was not held back")
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_readers_api_needs_numpy_only() -> None:
    run(
        ONLY_NUMPY
        + """
import audiohook
for name in audiohook.__all__:
    getattr(audiohook, name)
try:
    audiohook.attach("/nonexistent/hub.sock")
except audiohook.HubUnavailable as error:
    assert "/nonexistent/hub.sock" in str(error)
else:
    raise SystemExit("attached to nothing")
assert "numpy" in sys.modules
"""
    )


def test_importing_the_package_alone_imports_nothing_else() -> None:
    """The supervisor sets OPENBLAS_NUM_THREADS after this and before NumPy starts its threads."""
    run(
        """
import sys
import audiohook
ours = sorted(name for name in sys.modules if name.startswith("audiohook"))
assert ours == ["audiohook"], ours
assert "numpy" not in sys.modules
"""
    )


def test_the_api_is_what_it_says_and_nothing_else() -> None:
    assert sorted(audiohook.__all__) == sorted(audiohook._HOMES)
    for name in audiohook.__all__:
        assert getattr(audiohook, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Arena'"):
        audiohook.Arena  # noqa: B018


# Files


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_file_is_small_and_finished(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
