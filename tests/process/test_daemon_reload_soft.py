"""Caps and the log level change under calls, by a reload that brings no new generation; anything else brings one."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.process.controlling import Asking
from tests.process.reloads import PATIENT, Code, ctl, generations, held, reload_events, wait_generations
from tests.support.daemon import Daemon, kill
from tests.support.peer import Peer, Talking, call, decoded
from tests.support.service_manager import ServiceManager

StartDaemon = Callable[..., Daemon]

LISTEN = ('server.listen=["127.0.0.1:0"]', "server.workers=2", "memory.streams=16")


class Configured:
    """A daemon whose configuration is a file."""

    def __init__(self, folder: Path, start: Callable[..., Daemon], **options: Any) -> None:
        self._file = folder / "audiohookd.toml"
        self.write("")
        self.daemon = start(*PATIENT, arguments=("--config", str(self._file)), defaults=LISTEN, **options)

    def write(self, text: str) -> None:
        self._file.write_text(text)

    def reload(self, text: str) -> str:
        """Have this loaded; return what audiohookctl says of it."""
        self.write(text)
        status, said = ctl(self.daemon, "reload")
        assert status == 0, f"{said}\n{self.daemon.log}"
        return said.removeprefix("reloaded: ").strip()


@pytest.fixture
def configured(tmp_path: Path, start_daemon: StartDaemon) -> Configured:
    return Configured(tmp_path, start_daemon)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def status_of_one_more(daemon: Daemon) -> int:
    with Peer(daemon.address) as surplus:
        return surplus.upgrade().status


def settle(daemon: Daemon) -> None:
    """Wait for the next sign of life of every worker: that is when it sees its log level."""
    now_ns = time.monotonic_ns()
    daemon.wait(lambda: all(daemon.row("heartbeat_ns")[row] > now_ns for row in daemon.workers()), "signs of life")


def test_a_cap_and_the_log_level_change_under_a_call(configured: Configured, stack: ExitStack) -> None:
    daemon = configured.daemon
    peer = stack.enter_context(call(daemon.address))
    processes, before = sorted(daemon.processes()), held(daemon)
    with Talking() as talking:
        talking.add(peer, 1)
        said = configured.reload('[admission]\nstreams_per_host = 2\n[log]\nlevel = "error"\n')
        assert said == (
            "generation 0 goes on with admission.streams_per_host = 2 (was 0), log.level = error (was info)"
        )
        second = stack.enter_context(call(daemon.address))
        assert status_of_one_more(daemon) == 503
        assert daemon.counter("host_full") == 1
        settle(daemon)
        heard = len(peer.sent)
        daemon.wait(lambda: len(peer.sent) > heard + 10, "more packets of the call")
        stream = daemon.hub.open(participant_id=peer.participant_id)
        assert talking.take(peer).close() == 1000
        assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))
    assert sorted(daemon.processes()) == processes, "the same supervisor, workers and desk"
    daemon.wait(lambda: held(daemon) == before, f"the descriptors of before: {before}")
    assert second.close() == 1000
    assert daemon.stop() == 0
    assert len(daemon.stream_lines("started")) == 1
    assert daemon.stream_lines("ended") == []


def test_who_logs_what_from_now_on(configured: Configured) -> None:
    """Workers look at each sign of life, the desk at each of its own."""
    daemon = configured.daemon
    configured.reload('[log]\nlevel = "error"\n')
    settle(daemon)
    assert call(daemon.address).close() == 1000
    configured.reload("")
    settle(daemon)
    second = call(daemon.address)
    assert second.close() == 1000
    daemon.wait(lambda: len(daemon.stream_lines("started")) == 1, "the line of the second call, and of no other")
    assert len(daemon.logged(f"stream started .*call={second.call_id}")) == 1
    assert daemon.stop() == 0
    assert daemon.logged("stopped exit_code=0"), "the supervisor's own"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_desk_logs_what_it_is_to_log(configured: Configured) -> None:
    daemon = configured.daemon
    strangers = itertools.count(20_001)

    def refused() -> bool:
        uid = next(strangers)
        with Asking(daemon, uid) as client:
            assert client.ask("unwatch", slot=0, epoch=1)["slug"] == "role_missing"
        return bool(daemon.logged(f"refused uid={uid} "))

    assert refused()
    configured.reload('[log]\nlevel = "error"\n')
    daemon.wait(lambda: not refused(), "silence")
    configured.reload("")
    daemon.wait(refused, "lines again")
    assert daemon.stop() == 0


def test_after_hup_the_event_says_what_has_changed(configured: Configured, stack: ExitStack) -> None:
    daemon = configured.daemon
    configured.write("[admission]\nstreams_per_worker = 1\nstreams_per_address = 1\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged("reloaded: generation 0 goes on with ")
    stack.enter_context(call(daemon.address))
    assert status_of_one_more(daemon) == 503
    configured.write("[admission]\nstreams_per_worker = 1\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_logged(r"reloaded: generation 0 goes on with admission.streams_per_address = 0 \(was 1\)")
    stack.enter_context(call(daemon.address))
    assert status_of_one_more(daemon) == 503
    assert daemon.counters()["worker_full"] == daemon.counters()["address_full"] == 1
    first, second = reload_events(daemon)
    assert first["changed"] == {"admission.streams_per_worker": 1, "admission.streams_per_address": 1}
    assert second["changed"] == {"admission.streams_per_address": 0}
    assert {(event["event"], event["generation"], event["signal"]) for event in (first, second)} == {
        ("reloaded", 0, "SIGHUP")
    }
    stack.close()
    assert daemon.stop() == 0


def test_workers_and_a_desk_that_are_started_later_have_it_too(configured: Configured) -> None:
    daemon = configured.daemon
    configured.reload('[admission]\nconnections_per_address = 1\n[log]\nlevel = "debug"\n')
    for pid in daemon.workers().values():
        kill(pid, signal.SIGKILL)
    kill(daemon.desk(), signal.SIGKILL)
    daemon.wait_logged("worker accepts row=", 4)
    daemon.wait_logged("desk ready", 2)
    assert ctl(daemon, "scale", "1")[0] == 0
    daemon.wait(lambda: len(daemon.workers()) == 1, "one worker")
    with call(daemon.address), Peer(daemon.address) as surplus:
        assert surplus.read_answer().status == 503
    said = configured.reload('[log]\nlevel = "debug"\n')
    assert said == "generation 0 goes on with admission.connections_per_address = 0 (was 1)", "compared with that"
    assert daemon.stop() == 0


def test_another_key_as_well_and_none_at_all_bring_a_new_generation(configured: Configured) -> None:
    daemon = configured.daemon
    both = "[admission]\nstreams_per_host = 1\n[http]\nmax_headers = 50\n"
    assert configured.reload(both).startswith("generation 1 takes new calls")
    assert configured.reload(both).startswith("generation 2 takes new calls")
    with call(daemon.address):
        assert status_of_one_more(daemon) == 503
    assert configured.reload("[http]\nmax_headers = 50\n").startswith("generation 2 goes on with")
    wait_generations(daemon, 2)
    assert [("changed" in event, event["generation"]) for event in reload_events(daemon)] == [
        (False, 1),
        (False, 2),
        (True, 2),
    ]
    assert daemon.stop() == 0


def test_changed_code_as_well_brings_a_new_generation(start_daemon: StartDaemon, tmp_path: Path) -> None:
    code = Code(tmp_path / "code")
    configured = Configured(tmp_path, start_daemon, environment=code.environment)
    code.append("worker/process.py", "# another release\n")
    assert configured.reload("[admission]\nstreams_per_host = 1\n").startswith("generation 1 takes new calls")
    assert configured.reload("[admission]\nstreams_per_host = 2\n").startswith("generation 1 goes on with")
    (code.folder / "audiohook" / "more.py").write_text("")
    assert configured.reload("[admission]\nstreams_per_host = 3\n").startswith("generation 2 takes new calls")
    assert configured.daemon.stop() == 0


def test_code_that_went_back_has_workers_of_another_image(start_daemon: StartDaemon, tmp_path: Path) -> None:
    """They do not look where this image writes: also a cap alone needs new ones then."""
    code = Code(tmp_path / "code")
    configured = Configured(tmp_path, start_daemon, environment=code.environment)
    daemon = configured.daemon
    code.change("cli/resuming.py", "    belongings = take_on", "    handover.nonsense\n    belongings = take_on")
    configured.write("[admission]\nstreams_per_host = 3\n")
    assert ctl(daemon, "reload")[0] == 1
    assert set(generations(daemon).values()) == {0}
    code.restore()
    assert configured.reload("[admission]\nstreams_per_host = 1\n").startswith("generation 1 takes new calls")
    with call(daemon.address):
        assert status_of_one_more(daemon) == 503
    assert configured.reload("[admission]\nstreams_per_host = 2\n").startswith("generation 1 goes on with")
    assert daemon.stop() == 0


def test_a_file_that_is_wrong_changes_nothing(configured: Configured) -> None:
    daemon = configured.daemon
    configured.write("[admission]\nstreams_per_host = 1\nwaiting_per_worker = 1\n")
    status, said = ctl(daemon, "reload")
    assert (status, "admission.waiting_per_worker" in said) == (1, True), said
    with call(daemon.address), call(daemon.address):
        assert daemon.counters()["host_full"] == 0
    assert daemon.stop() == 0


def test_systemd_hears_the_end_of_it(tmp_path: Path, start_daemon: StartDaemon) -> None:
    file = tmp_path / "audiohookd.toml"
    file.write_text("")

    def start(*settings: str, **options: Any) -> Daemon:
        return start_daemon(
            *PATIENT, *settings, **{**options, "arguments": ("--config", str(file)), "defaults": LISTEN}
        )

    with ServiceManager(tmp_path, start) as manager:
        daemon = manager.start()
        file.write_text('[log]\nlevel = "warning"\n')
        daemon.signal(signal.SIGHUP)
        daemon.wait(lambda: len(manager.heard("READY=1")) == 2, "READY=1 after the reload")
        (begun,) = manager.heard("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.heard("READY=1")[0] < begun < manager.heard("READY=1")[1]
        assert [event.get("changed") for event in reload_events(daemon)] == [{"log.level": "warning"}]
        assert daemon.stop() == 0
