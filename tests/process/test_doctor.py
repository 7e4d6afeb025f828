"""`audiohookctl doctor` on this machine: beside a daemon that is well, and where nearly everything is wrong."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import LONG_AGO, Authority
from tests.support.daemon import ROOT, Daemon

Start = Callable[..., Daemon]
DEADLINE_S = 60
AS_NOBODY = """
import email.parser, encodings.idna, os, sys
import audiohook.cli.doctor_probing
from audiohook.cli import audiohookctl
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(audiohookctl.main())
"""
"""Rights are given up when all is imported, which others need not be able to read."""


def doctor(*arguments: str, hub: str, folder: Path) -> tuple[int, str]:
    """Run it; return its exit status and what it printed."""
    command = [sys.executable, "-P", "-m", "audiohook.cli.audiohookctl", "--hub", hub, "doctor"]
    done = subprocess.run(
        [*command, "--config", os.devnull, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def checks(text: str) -> dict[str, dict[str, Any]]:
    """Return the findings of `--json`, by check; each has one here."""
    found = json.loads(text)["checks"]
    assert len({one["check"] for one in found}) == len(found)
    return {one["check"]: one for one in found}


def settings(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


def test_beside_a_daemon_that_is_well_nothing_fails(start_daemon: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.pair()
    keys = tmp_path / "keys.toml"
    keys.write_text("key = []\n")
    keys.chmod(0o600)
    same = ["memory.streams=16", f"auth.keys_file={keys}", *pair.settings, f"tls.probe_ca_file={authority.certificate}"]
    daemon = start_daemon(*same)
    listen = 'server.listen=["{}:{}"]'.format(*daemon.address)
    daemon.wait(lambda: len(daemon.workers()) == 2, "two workers")
    status, text = doctor("--json", *settings(listen, *same), hub=daemon.hub_path, folder=tmp_path)
    found = checks(text)
    assert {name for name, one in found.items() if one["level"] == "FAIL"} == set(), text
    assert status == 0
    well = {name for name, one in found.items() if one["level"] == "OK"}
    # Not judged: the clock, the core dumps and the backlog of the machine that runs this.
    assert well >= {"kernel", "python", "libopus", "descriptors", "memory", "keys", "certificate", "port", "workers"}
    assert found["port"]["text"].endswith("the daemon listens")
    assert found["workers"]["text"] == "2 of 2 accept"
    assert found["hub"]["text"] == f"the daemon (pid {daemon.pid}) serves"
    assert "(the daemon's)" in found["descriptors"]["text"]


def test_a_configuration_that_is_not_the_daemons_is_noticed(start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon()
    status, text = doctor("--json", *settings("memory.streams=17"), hub=daemon.hub_path, folder=tmp_path)
    found = checks(text)
    assert found["memory"]["level"] == "WARN"
    assert "16 streams" in found["memory"]["text"]
    assert found["port"]["level"] in ("WARN", "FAIL"), "8443 is not where it listens"
    assert status == (1 if found["port"]["level"] == "FAIL" else 0)


def test_everything_that_is_wrong_before_a_start_is_told_at_once(tmp_path: Path) -> None:
    keys, hub = tmp_path / "keys.toml", tmp_path / "hub.sock"
    keys.write_text("key = []\n")
    keys.chmod(0o644)
    hub.write_text("no socket")
    pair = Authority(tmp_path / "authority").pair(from_time=LONG_AGO, until_time="20200102000000Z")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wrong = settings(
            f'server.listen=["127.0.0.1:{taken.getsockname()[1]}"]',
            f"auth.keys_file={keys}",
            "memory.streams=16384",
            "memory.ring_seconds=3600",
            *pair.settings,
        )
        status, text = doctor("--json", *wrong, hub=str(hub), folder=tmp_path)
        found = checks(text)
        assert status == 1
        failed = {name for name, one in found.items() if one["level"] == "FAIL"}
        assert failed >= {"keys", "memory", "certificate", "port", "hub folder"}
        assert found["keys"]["remedy"].endswith(f"run: chmod 600 {keys}")
        assert "lower memory.streams" in found["memory"]["remedy"]
        assert "expired on 2020-01-02" in found["certificate"]["text"]
        assert "another program listens there" in found["port"]["text"]
        assert found["hub"]["level"] == "WARN"
        status, text = doctor(*wrong, hub=str(hub), folder=tmp_path)
    assert status == 1
    assert len(text.splitlines()) == len(found)
    assert text.count("FAIL") == len(failed)


def test_a_configuration_that_is_refused_is_told_with_file_key_value_and_remedy(tmp_path: Path) -> None:
    public = settings('server.listen=["0.0.0.0:8443"]')
    status, text = doctor("--json", *public, hub=str(tmp_path / "hub.sock"), folder=tmp_path)
    found = checks(text)
    assert status == 1
    assert found["configuration"]["level"] == "FAIL"
    assert found["configuration"]["remedy"].startswith("--set: server.listen[0] = '0.0.0.0:8443': not a loopback")
    assert "port" not in found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to see as another user does")
def test_a_user_who_may_not_read_the_hub_is_told_so(start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon()
    done = subprocess.run(
        [sys.executable, "-P", "-c", AS_NOBODY, "--hub", daemon.hub_path, "doctor", "--config", os.devnull, "--json"],
        cwd=daemon.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == ""
    found = checks(done.stdout)
    assert found["hub"]["level"] == "WARN"
    assert "hub.read" in found["hub"]["remedy"]
