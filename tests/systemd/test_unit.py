"""conf/systemd/audiohookd.service at work: systemd starts, watches, restarts and stops the daemon, under calls."""

import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from audiohook.memory import layout
from tests.support.peer import Peer, Talking, call, decoded
from tests.systemd.machine import UNIT, Machine, why_not

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "systemd"
WHY_NOT = why_not()

pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT), pytest.mark.timeout(300)]

PEER_PATIENCE_S = 5.0
"""How long Genesys waits for the answer to its upgrade request."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT, SOCKET_PORT = free_port(), free_port()
ADDRESS = ("127.0.0.1", PORT)
SETTINGS = (
    f'server.listen=["127.0.0.1:{PORT}"]',
    "server.workers=2",
    "memory.streams=128",
    "server.drain_seconds=40",
    "server.overload_ms=10000",
)


def lay_out_units(folder: Path) -> None:
    """Put our units into a folder, with drop-ins for the paths of this repository."""
    for name in ("audiohookd.service", "audiohookd.socket"):
        shutil.copy(CONF / name, folder)
    (folder / "all.target").write_text("[Unit]\nDescription=all\n")
    python = f"{sys.executable} -P -m audiohook.cli"
    chosen = " ".join(f"--set '{setting}'" for setting in SETTINGS)
    (folder / f"{UNIT}.d").mkdir()
    (folder / f"{UNIT}.d" / "paths.conf").write_text(
        f"[Service]\nEnvironment=PYTHONPATH={ROOT}\n"
        f"ExecStart=\nExecStart={python}.audiohookd --config /dev/null {chosen}\n"
        f"ExecReload=\nExecReload={python}.audiohookctl reload\n"
    )
    if Path(sys.base_prefix).parts[1] in ("root", "home"):
        # ProtectHome= hides this interpreter, as it should.
        (folder / f"{UNIT}.d" / "interpreter.conf").write_text(
            f"[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths={sys.base_prefix} {ROOT}\n"
        )
    (folder / "audiohookd.socket.d").mkdir()
    (folder / "audiohookd.socket.d" / "port.conf").write_text(
        f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{SOCKET_PORT}\n"
    )
    shutil.copy(CONF / "audiohook.sysusers", folder)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("systemd")
    units = folder / "units"
    units.mkdir()
    lay_out_units(units)
    with Machine(folder, units) as booted:
        booted.run("systemd-sysusers", "/etc/systemd/system/audiohook.sysusers")
        yield booted


@pytest.fixture
def running(machine: Machine) -> Iterator[Machine]:
    """The unit, started; stopped after the test, and nothing may be left of it."""
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "start", UNIT)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    assert machine.processes() == [], machine.log()


def another_serves(machine: Machine, pid: int) -> bool:
    """Return whether the unit is active with another main process than `pid`."""
    return machine.show("ActiveState") == "active" and machine.main_pid() not in (0, pid)


def test_it_starts_serves_and_says_what_it_does(running: Machine) -> None:
    assert running.show("ActiveState") == "active"
    assert running.show("NFileDescriptorStore") == "8"
    peer = call(ADDRESS)
    running.wait(lambda: running.show("StatusText") == "serving: 2 workers accept; 1 connections", "the status")
    assert peer.close() == 1000
    owner = running.run("stat", "--format=%U", "/run/audiohook/hub.sock", f"/proc/{running.main_pid()}")
    assert owner.split() == ["audiohook", "audiohook"]
    limits = Path(f"/proc/{running.pid}/root/proc/{running.main_pid()}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]


def test_a_call_s_lines_are_found_by_its_id(running: Machine) -> None:
    peer = call(ADDRESS)
    assert peer.close() == 1000

    def lines() -> list[str]:
        found = running.run("journalctl", "--output=cat", f"CALL_ID={peer.call_id}")
        return found.splitlines() if "stream ended" in found else []

    started, ended = running.wait(lines, "the end of the stream in the journal")
    assert started.startswith("stream started stream=")
    (stream,) = {line.split("stream=")[1].split()[0] for line in (started, ended)}
    both = running.run("journalctl", "--output=export", f"STREAM={stream}")
    assert "\nREASON=peer_closed\n" in both
    rows = {line for line in both.splitlines() if line.startswith("WORKER_ROW=")}
    assert rows in ({"WORKER_ROW=0"}, {"WORKER_ROW=1"})


def test_a_reload_waits_for_its_outcome(running: Machine) -> None:
    pid = running.main_pid()
    with Talking() as talking:
        peer = call(ADDRESS)
        talking.add(peer, 1)
        running.run("systemctl", "reload", UNIT)
        assert "generation 1 takes new calls" in running.log()
        assert (running.main_pid(), running.show("NRestarts")) == (pid, "0")
        assert talking.take(peer).close() == 1000
    assert running.show("ActiveState") == "active"


def test_a_supervisor_that_is_killed_costs_no_call(running: Machine) -> None:
    pid, hub = running.main_pid(), running.attach()
    with Talking() as talking:
        peers = [call(ADDRESS) for _ in range(4)]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        streams = [hub.open(participant_id=peer.participant_id) for peer in peers]
        killed = time.monotonic()
        running.kill(signal.SIGKILL, pid)
        newcomer = call(ADDRESS)  # waits in the queue of the listener that systemd has
        assert time.monotonic() - killed < PEER_PATIENCE_S
        running.wait(
            lambda: running.show("ActiveState") == "active" and running.main_pid() not in (0, pid), "a restart"
        )
        again = running.attach()
        assert again.arena.arena_id == hub.arena.arena_id
        count = min(len(peer.sent) for peer in peers)
        running.wait(lambda: all(len(peer.sent) > count + 25 for peer in peers), "more packets")
        for peer, stream in zip(peers, streams, strict=True):
            assert talking.take(peer).close() == 1000
            running.wait(lambda stream=stream: stream.card()["state"] == layout.ENDED, "the stream's end")  # type: ignore[misc]
            assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))
        assert newcomer.close() == 1000
        again.close()
        hub.close()
    running.wait(lambda: len(running.processes()) == 4, "the orphans' end")  # supervisor, two workers, desk


def test_a_stop_ends_the_workers_of_a_daemon_that_was_killed_too(running: Machine) -> None:
    before = set(running.processes())
    with Talking() as talking:
        peers = [call(ADDRESS) for _ in range(4)]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        running.kill(signal.SIGKILL, running.main_pid())
        running.wait(lambda: running.show("StatusText").startswith("serving: 2 workers accept, "), "the new workers")
        assert before & set(running.processes())
        stopping = threading.Thread(target=running.run, args=["systemctl", "stop", UNIT])
        stopping.start()
        # A stop lets calls go on: nobody is sent away while there is time.
        running.wait(lambda: running.show("StatusText").startswith("stopping"), "the drain")
        assert stopping.is_alive()
        for peer in peers:
            assert talking.take(peer).close() == 1000
        stopping.join()
    assert running.processes() == []


def test_a_restart_refuses_nobody_and_keeps_what_was_heard(running: Machine) -> None:
    with Talking() as talking:
        heard, live = call(ADDRESS), call(ADDRESS)
        talking.add(heard, 1)
        running.wait(lambda: len(heard.sent) > 10, "ten packets")
        assert talking.take(heard).close() == 1000
        talking.add(live, 2)
        restarting = threading.Thread(target=running.run, args=["systemctl", "restart", UNIT])
        restarting.start()
        waits_s: list[float] = []
        while restarting.is_alive() or len(waits_s) < 5:
            begun = time.monotonic()
            with Peer(ADDRESS) as peer:
                assert peer.upgrade().accepted, "not one was refused, nor answered with 503"
                waits_s.append(time.monotonic() - begun)
            time.sleep(0.1)  # else they use up the slots, and what was heard is overwritten
        restarting.join()
    assert max(waits_s) < PEER_PATIENCE_S
    hub = running.attach()
    stream = hub.open(participant_id=heard.participant_id)
    assert np.array_equal(stream.latest(60).samples[:, 0], decoded(heard.sent))
    hub.close()


def test_a_supervisor_that_stands_still_is_killed_and_replaced(running: Machine) -> None:
    folder = Path(f"/proc/{running.pid}/root/run/systemd/system/{UNIT}.d")
    folder.mkdir(parents=True)
    try:
        (folder / "watchdog.conf").write_text("[Service]\nWatchdogSec=2\n")
        running.run("systemctl", "daemon-reload")
        running.run("systemctl", "restart", UNIT)
        pid = running.main_pid()
        with Talking() as talking:
            peer = call(ADDRESS)
            talking.add(peer, 1)
            running.wait(lambda: len(peer.sent) > 150, "three seconds: longer than the watchdog waits, so it is fed")
            assert running.main_pid() == pid
            running.kill(signal.SIGSTOP, pid)
            running.wait(lambda: "Watchdog timeout" in running.log(), "systemd's verdict")
            running.wait(lambda: another_serves(running, pid), "another supervisor")
            assert talking.take(peer).close() == 1000
        assert call(ADDRESS).close() == 1000
    finally:
        shutil.rmtree(folder)
        running.run("systemctl", "daemon-reload")


def test_sockets_of_a_unit_are_served(machine: Machine) -> None:
    machine.run("systemctl", "start", "audiohookd.socket", UNIT)
    try:
        address = ("127.0.0.1", SOCKET_PORT)
        assert call(address).close() == 1000
        with pytest.raises(ConnectionRefusedError):
            Peer(ADDRESS)
        pid = machine.main_pid()
        machine.kill(signal.SIGKILL, pid)
        assert call(address).close() == 1000
        machine.wait(lambda: machine.show("ActiveState") == "active", "a restart")
        machine.run("systemctl", "stop", UNIT)
        assert machine.processes() == []
        # The socket is systemd's own: whoever connects starts the service.
        assert call(address).close() == 1000
    finally:
        machine.run("systemctl", "stop", "audiohookd.socket", UNIT)


def test_a_configuration_that_is_wrong_is_not_tried_for_ever(machine: Machine) -> None:
    folder = Path(f"/proc/{machine.pid}/root/run/systemd/system/{UNIT}.d")
    folder.mkdir(parents=True)
    try:
        python = f"{sys.executable} -P -m audiohook.cli.audiohookd"
        (folder / "wrong.conf").write_text(
            f"[Service]\nExecStart=\nExecStart={python} --config /dev/null --set server.workers=-1\n"
        )
        machine.run("systemctl", "daemon-reload")
        assert machine.status("systemctl", "start", UNIT) == 1
        machine.wait(lambda: machine.show("ActiveState") == "failed", "the end")
        assert machine.show("ExecMainStatus") == "2"
        assert machine.show("NRestarts") == "0"
    finally:
        shutil.rmtree(folder)
        machine.run("systemctl", "daemon-reload")
