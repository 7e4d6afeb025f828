"""Where libopus comes from, and that opuslib takes it from there, in processes of their own."""

import ctypes
import ctypes.util
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from audiohook.codec import opus_library
from audiohook.codec.opus_library import libopus, opus_library_path
from audiohook.errors import BootError


def python(code: str, *options: str) -> str:
    finished = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout.strip()


def test_the_systems_library_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.0")
    assert opus_library_path() == "libopus.so.0"


def test_the_wheels_library_is_taken_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    path = Path(opus_library_path())
    assert path.is_absolute()
    assert path.parts[-3:] == ("opuslib_next", "_native", "libopus.so")
    assert ctypes.CDLL(str(path)).opus_decode


def test_neither_is_a_boot_error_that_names_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BootError, match=r"libopus0.*opuslib-next-bundled"):
        opus_library_path()


def test_a_library_that_cannot_be_opened_is_a_boot_error() -> None:
    said = python(
        "from audiohook.codec import opus_library\n"
        "opus_library.opus_library_path = lambda: '/nonexistent/libopus.so'\n"
        "try:\n    opus_library.libopus()\n"
        "except opus_library.BootError as error:\n    print(error)\n"
    )
    assert "/nonexistent/libopus.so" in said
    assert opus_library.REMEDY in said


@pytest.mark.parametrize("known_to_system", [False, True])
def test_opuslib_opens_the_path_that_was_chosen(known_to_system: bool, tmp_path: Path) -> None:
    """`find_library` is answered during opuslib's import only, and opuslib_next is never imported."""
    bundled = importlib.util.find_spec("opuslib_next")
    assert bundled is not None
    assert bundled.submodule_search_locations is not None
    wheel = Path(bundled.submodule_search_locations[0]) / "_native" / "libopus.so"
    system = tmp_path / "libopus.so.0"
    system.symlink_to(wheel)
    answer = str(system) if known_to_system else None
    said = python(
        "import ctypes.util, sys\n"
        f"ctypes.util.find_library = pretended = lambda name: {answer!r} if name == 'opus' else None\n"
        "from audiohook.codec.opus_library import libopus\n"
        "assert libopus() is libopus()\n"
        "assert ctypes.util.find_library is pretended\n"
        "assert 'opuslib_next' not in sys.modules\n"
        "print(libopus()._name)\n"
    )
    assert said == (answer or str(wheel))


def test_opuslib_is_imported_without_its_warnings(tmp_path: Path) -> None:
    """An empty bytecode cache makes Python compile opuslib anew, which is when its SyntaxWarnings come."""
    said = python(
        "import warnings\n"
        "from audiohook.codec.opus import libopus_version\n"
        "assert not [entry for entry in warnings.filters if entry[0] == 'ignore' and entry[2] is SyntaxWarning]\n"
        "print(libopus_version())\n",
        "-W",
        "error",
        "-X",
        f"pycache_prefix={tmp_path}",
    )
    assert said.startswith("libopus")


def test_functions_taken_by_item_are_ones_own() -> None:
    library = libopus()
    assert library["opus_decode"] is not library["opus_decode"]
