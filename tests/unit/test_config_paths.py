"""The default places, and that readers reach them with the standard library alone."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import audiohook.config
from audiohook.config import default_hub_path, default_path, hub_path, load, paths


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "var/run/hub.sock"),
        ({"RUNTIME_DIRECTORY": "/run/audiohook"}, "/run/audiohook/hub.sock"),
        ({"RUNTIME_DIRECTORY": "/run/audiohook:/run/other"}, "/run/audiohook/hub.sock"),
        ({"RUNTIME_DIRECTORY": "/run/a", "XDG_RUNTIME_DIR": "/run/user/7"}, "/run/a/hub.sock"),
        ({"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/audiohook/hub.sock"),
        ({"XDG_RUNTIME_DIR": "relative"}, "var/run/hub.sock"),
        ({"XDG_RUNTIME_DIR": ""}, "var/run/hub.sock"),
    ],
)
def test_hub_path(environ: dict[str, str], path: str) -> None:
    assert default_hub_path(environ) == path
    assert hub_path(load(None, ["server.workers=1"]), environ) == path
    assert hub_path(load(None, ["server.workers=1", "hub.path=/srv/h"]), environ) == "/srv/h"


def test_default_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "audiohookd.toml"
    monkeypatch.setattr(paths, "SYSTEM_FILE", str(file))
    assert default_path() is None
    file.symlink_to("nowhere")
    assert default_path() == str(file)
    file.unlink()
    file.write_text("", encoding="utf-8")
    assert default_path() == str(file)
    monkeypatch.setattr(paths, "SYSTEM_FILE", str(file / "below-a-file"))
    assert default_path() is None


def test_a_system_file_behind_a_closed_directory_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    # A closed directory stops nobody who runs the tests as root, so the answer of lstat(2) is given by hand.
    def closed(_path: str) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "lstat", closed)
    assert default_path() == paths.SYSTEM_FILE


def test_readers_need_no_msgspec() -> None:
    code = (
        "import sys; sys.modules['msgspec'] = None\n"  # its import raises ImportError from here on
        "from audiohook.config import default_hub_path, hub_path, default_path, resolve_principals\n"
        "print(default_hub_path({}), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("var/run/hub.sock False\n", "")


def test_every_public_name_resolves_and_no_other_does() -> None:
    for name in audiohook.config.__all__:
        assert getattr(audiohook.config, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = audiohook.config.lod
