"""A start either serves or fails: in words, with an exit code, and leaving nothing behind."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import PATIENCE_S, ROOT, Daemon

StartDaemon = Callable[..., Daemon]


def run(*arguments: str, environment: dict[str, str] | None = None, limit: str = "") -> tuple[int, str]:
    """Run audiohookd to its end; return its exit code and what it said."""
    command = [sys.executable, "-P", "-m", "audiohook.cli.audiohookd", *arguments]
    if limit:
        command = ["/bin/sh", "-c", f'{limit} && exec "$0" "$@"', *command]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def settings(folder: Path, *more: str) -> list[str]:
    chosen = ['server.listen=["127.0.0.1:0"]', "memory.streams=4", f"hub.path={folder}/hub.sock", *more]
    return ["--config", os.devnull, *(part for setting in chosen for part in ("--set", setting))]


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, text = run(*settings(tmp_path, f'server.listen=["{address}"]'))
    assert code == 3
    assert f'cannot listen on "{address}"' in text
    assert "another program listens there" in text
    assert not (tmp_path / "hub.sock").exists()


def test_more_memory_than_there_is(tmp_path: Path) -> None:
    code, text = run(*settings(tmp_path, "memory.streams=16384", "memory.ring_seconds=3600"))  # 1.9 TB
    assert code == 3
    assert re.search(r"the arena needs \d+ MB and .* leaves \d+ MB; lower memory.streams or memory.ring_seconds", text)
    assert not (tmp_path / "hub.sock").exists()


def test_fewer_descriptors_than_streams(tmp_path: Path) -> None:
    code, text = run(*settings(tmp_path, "memory.streams=200"), limit="ulimit -n 128")
    assert code == 3
    assert "memory.streams = 200 needs" in text
    assert "the limit is 128" in text


def test_no_libopus(tmp_path: Path) -> None:
    """The package that opens libopus is there and finds none: as on a machine without it."""
    package = tmp_path / "opuslib" / "api"
    package.mkdir(parents=True)
    (tmp_path / "opuslib" / "__init__.py").touch()
    (package / "__init__.py").write_text("raise OSError('libopus.so.0: cannot open shared object file')")
    code, text = run(*settings(tmp_path), environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert code == 3
    assert "cannot start: libopus" in text
    assert "opuslib-next-bundled" in text
    assert not (tmp_path / "hub.sock").exists()


def test_hub_path_that_is_taken(tmp_path: Path, start_daemon: StartDaemon) -> None:
    (tmp_path / "hub.sock").write_text("somebody's notes")
    code, text = run(*settings(tmp_path))
    assert code == 3
    assert "is there and is no socket" in text
    assert (tmp_path / "hub.sock").read_text() == "somebody's notes"
    daemon = start_daemon()
    code, text = run(*settings(tmp_path, f"hub.path={daemon.hub_path}"))
    assert code == 3
    assert "another daemon listens at" in text
    assert daemon.hub.streams() is not None
    assert daemon.stop() == 0


def test_workers_that_cannot_boot_end_the_start_in_words(tmp_path: Path) -> None:
    code, text = run(*settings(tmp_path, "server.boot_seconds=0.1", "server.workers=8"))
    assert code == 3
    assert "did not become ready within 0.1 s" in text
    assert not (tmp_path / "hub.sock").exists()


def test_check_says_whether_the_configuration_is_good(tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text("[memory]\nstreams = 10\n")
    assert run("--config", str(good), "--check") == (0, f"audiohookd: {good}: configuration is good\n")
    bad = tmp_path / "bad.toml"
    bad.write_text("[memory]\nstreems = 10\n")
    code, text = run("--config", str(bad), "--check")
    assert code == 2
    assert str(bad) in text
    assert "memory.streems" in text
    code, text = run("--config", str(good), "--check", "--set", "memory.streams=none")
    assert code == 2
    assert "memory.streams" in text
    code, text = run("--config", str(tmp_path / "absent.toml"), "--check")
    assert code == 2
    assert "absent.toml" in text
    code, text = run("--config", os.devnull, "--check", "--set", 'server.listen=["0.0.0.0:8443"]')
    assert code == 2
    assert "allow_anonymous" in text
    code, text = run("--config", os.devnull, "--check", "--set", 'hub.read=["user:nobody-of-this-name"]')
    assert code == 2
    assert "hub.read[0]" in text
