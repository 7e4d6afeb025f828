"""Reloads that must not happen: the daemon goes on with the code and the configuration that it has, and says why."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.reloads import (
    PATIENT,
    Code,
    calls_on,
    ctl,
    generations,
    held,
    reload,
    reload_events,
    wait_generations,
)
from tests.support.daemon import Daemon, kill
from tests.support.peer import Peer, call

StartDaemon = Callable[..., Daemon]


def refused(daemon: Daemon, *words: str) -> None:
    """Ask for a reload that is refused in these words: in the answer, the log and the event ring."""
    before, workers, desk = held(daemon), daemon.workers(), daemon.desk()
    count = len(reload_events(daemon))
    status, said = ctl(daemon, "reload")
    assert status == 1, said
    (event,) = reload_events(daemon)[count:]
    assert event["event"] == "reload_failed"
    for word in words:
        assert word in said
        assert word in event["why"]
        assert daemon.logged(f"not reloaded: .*{word}")
    assert daemon.workers() == workers
    daemon.wait(lambda: held(daemon) == before, f"the descriptors of before: {before}")
    assert daemon.desk() == desk
    assert call(daemon.address).close() == 1000


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        ("worker/process.py", "import no_such_library\n", ("no_such_library", "audiohook/worker/process.py, line")),
        ("session/context.py", "def broken(:\n", ("SyntaxError", "context.py")),
        ("supervisor/handover.py", "VERSION = 2\n", ("in version 1, this code reads 2", "restart")),
        ("memory/layout.py", "CARD_STRIDE += 64\n", ("CARD_STRIDE", "a restart is needed")),
        ("control/desk.py", "raise SystemExit(9)\n", ()),
        ("net/loop.py", "import os\nos._exit(7)\n", ("trial process ended with 7",)),
    ],
)
def test_code_that_cannot_take_over(
    start_daemon: StartDaemon, tmp_path: Path, module: str, text: str, words: tuple[str, ...]
) -> None:
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, environment=code.environment)
    peer = call(daemon.address)
    code.append(module, text)
    refused(daemon, *words)
    assert peer.close() == 1000
    assert daemon.stop() == 0


def test_a_configuration_that_is_wrong_and_one_that_needs_a_restart(start_daemon: StartDaemon, tmp_path: Path) -> None:
    file = tmp_path / "audiohookd.toml"
    file.write_text("")
    daemon = start_daemon(*PATIENT, arguments=("--config", str(file)), defaults=('server.listen=["127.0.0.1:0"]',))
    workers = len(daemon.workers())
    for text, words in (
        ("[server]\nhang_seconds = 'long'\n", ("server.hang_seconds", "must be")),
        ("[server\n", ("line 1",)),
        ("[auth]\nkeys_file = '/nowhere/keys'\n", ("/nowhere/keys",)),
        ("[memory]\nstreams = 32\n", ("memory.streams", "a restart is needed")),
        ("[memory]\nring_seconds = 2\n", ("memory.ring_seconds", "a restart is needed")),
        (f"[server]\nworkers = {2 * workers + 1}\nmax_generations = 3\n", ("server.workers", "a restart is needed")),
        ("[hub]\nread = ['user:nobody-of-this-name']\n", ("hub.read",)),
    ):
        file.write_text(text)
        refused(daemon, *words)
    file.unlink()
    refused(daemon, "cannot be read")
    assert daemon.stop() == 0


def test_new_code_that_dies_when_it_takes_over_is_left_for_the_old(start_daemon: StartDaemon, tmp_path: Path) -> None:
    """What no trial can find: it works there, and not here. The files of the old code are gone by then."""
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, environment=code.environment)
    peer = call(daemon.address)
    code.change("cli/resuming.py", "    belongings = take_on", "    handover.nonsense\n    belongings = take_on")
    refused(daemon, "AttributeError", "audiohook/cli/resuming.py, line")
    assert daemon.logged("the code could not take over: AttributeError")
    code.remove()
    refused(daemon, "ImportError: half an upgrade", "audiohook/__init__.py, line 1")
    assert peer.close() == 1000
    kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_logged("worker accepts row=0", 2)
    kill(daemon.desk(), signal.SIGKILL)
    daemon.wait_logged("desk ready", 2)
    code.restore()
    reload(daemon, 1)
    assert daemon.stop() == 0


def test_new_workers_that_never_serve_leave_the_old_ones(start_daemon: StartDaemon, tmp_path: Path) -> None:
    """Row 2 of the new generation accepts, and the call that it has taken by then goes on; row 3 does not boot."""
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, "memory.streams=64", environment=code.environment)
    old = [call(daemon.address) for _ in range(2)]
    code.change(
        "worker/process.py",
        "    worker = Worker(",
        "    import time\n"
        "    if seat.row == 3:\n"
        f"        while not os.path.exists({str(tmp_path / 'go')!r}):\n"
        "            time.sleep(0.01)\n"
        "        raise BootError('no, thanks')\n"
        "    worker = Worker(",
    )
    code.change(
        "worker/process.py", "from audiohook.errors import SHUTDOWN", "from audiohook.errors import BootError, SHUTDOWN"
    )
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged("worker accepts row=2 generation=1")
    peers = calls_on(daemon, 2)
    (tmp_path / "go").touch()
    daemon.wait_logged("not reloaded: worker 3 cannot boot: no, thanks")
    daemon.wait(lambda: 3 not in daemon.workers(), "the end of the one that does not boot")
    assert generations(daemon) == {0: 0, 1: 0, 2: 1}
    assert [event["event"] for event in reload_events(daemon)] == ["reload_failed"]
    more = [call(daemon.address) for _ in range(6)]
    rows = {daemon.hub.open(participant_id=peer.participant_id).card()["row"] for peer in more}
    assert rows <= {0, 1}
    for peer in [*old, *peers, *more]:
        assert peer.close() == 1000
    wait_generations(daemon, 0)
    code.change("worker/process.py", "if seat.row == 3:", "if False:")
    reload(daemon, 2)
    assert daemon.stop() == 0


def test_new_workers_that_are_late_or_killed(start_daemon: StartDaemon, tmp_path: Path) -> None:
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, "server.boot_seconds=5", environment=code.environment)
    hangs = (
        f"    with open({str(tmp_path / 'pids')!r}, 'a') as file:\n        print(os.getpid(), file=file, flush=True)\n"
    )
    code.change("worker/process.py", "    worker = Worker(", f"{hangs}    signal.pause()\n    worker = Worker(")
    status, said = ctl(daemon, "reload")
    assert (status, "did not become ready within 5 s" in said) == (1, True), said
    kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_logged("worker accepts row=. generation=0", 3)
    daemon.signal(signal.SIGHUP)
    late = daemon.wait(lambda: (tmp_path / "pids").read_text().split()[2:], "a new worker, after two that were late")
    kill(int(late[0]), signal.SIGKILL)
    daemon.wait_logged("not reloaded: worker . was killed by signal 9")
    daemon.wait(lambda: set(daemon.workers()) == {0, 1}, "the old workers, and no other")
    assert call(daemon.address).close() == 1000
    assert daemon.stop() == 0


def test_an_old_worker_that_dies_during_a_reload(start_daemon: StartDaemon, tmp_path: Path) -> None:
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, environment=code.environment)
    go = tmp_path / "go"
    waits = (
        f"    import time\n    while not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n    worker = Worker("
    )
    code.change("worker/process.py", "    worker = Worker(", waits)
    peers = calls_on(daemon, 0, 1)
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged("re-executes itself")
    kill(daemon.workers()[1], signal.SIGKILL)
    daemon.wait_logged("worker 1 was killed by signal 9")
    assert call(daemon.address).close() == 1000
    go.touch()
    daemon.wait_logged("generation 1 takes new calls")
    lost = daemon.counter("worker_died")
    assert 0 < lost < len(peers)
    assert sorted(generations(daemon).values()) == [0, 1, 1]
    for peer in peers:
        peer.socket.close()
    wait_generations(daemon, 1)
    assert daemon.stop() == 0


@pytest.mark.parametrize("moment", ["are tried out", "re-executes itself", "worker accepts row=2"])
def test_a_stop_during_a_reload_is_a_stop(start_daemon: StartDaemon, moment: str) -> None:
    daemon = start_daemon(*PATIENT)
    peer = call(daemon.address)
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged(moment)
    daemon.signal(signal.SIGTERM)
    daemon.wait_logged("SIGTERM received")
    assert peer.close() == 1000
    assert daemon.wait_exit() == 0
    assert not daemon.processes(), daemon.log


def test_a_second_reload_while_one_is_under_way(start_daemon: StartDaemon, tmp_path: Path) -> None:
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, environment=code.environment)
    go = tmp_path / "go"
    code.append("net/loop.py", f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged("are tried out")
    assert ctl(daemon, "reload") == (1, "audiohookctl: not reloaded: a reload is under way\n")
    assert ctl(daemon, "scale", "3") == (1, "audiohookctl: a reload is under way\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged("another one follows")
    go.touch()
    daemon.wait_logged("generation 2 takes new calls")
    assert [event["event"] for event in reload_events(daemon)] == ["reloaded"] * 2
    with Peer(daemon.address) as peer:
        assert peer.upgrade().accepted
    assert daemon.stop() == 0


def test_no_code_at_all_leaves_a_caretaker_until_there_is_some(start_daemon: StartDaemon, tmp_path: Path) -> None:
    """Neither the new code nor the old one starts: the workers serve on, and the next HUP brings a supervisor back."""
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, environment=code.environment)
    peer = call(daemon.address)
    # The library is the same for both, and breaks after the trial.
    marker = tmp_path / "broken"
    code.change("cli/trial.py", "    report_ready(fds", f"    open({str(marker)!r}, 'w').close()\n    report_ready(fds")
    (tmp_path / "h11.py").write_text(
        f"import os, sys\nif os.path.exists({str(marker)!r}):\n    raise ImportError('half an upgrade')\n"
        "sys.path.remove(os.path.dirname(__file__))\ndel sys.modules['h11']\nimport h11\nsys.modules['h11'] = h11\n"
        "sys.path.insert(0, os.path.dirname(__file__))\n"
    )
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged("no code can be started")
    assert call(daemon.address).close() == 1000
    (tmp_path / "h11.py").unlink()
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged("generation 1 takes new calls")
    assert peer.close() == 1000
    wait_generations(daemon, 1)
    assert daemon.stop() == 0
