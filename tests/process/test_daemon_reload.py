"""Reloading the daemon in place: who keeps which calls, for how long, and what holds from then on.

That nothing is refused, dropped, lost or left behind is the row `reload` of tests/faults/test_faults_short.py.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.process.reloads import (
    PATIENT,
    Code,
    calls_on,
    ctl,
    generations,
    reload,
    reload_events,
    wait_generations,
)
from tests.support.daemon import Daemon, kill
from tests.support.peer import Peer, Talking, call, decoded

StartDaemon = Callable[..., Daemon]


def test_an_old_generation_keeps_its_calls_and_a_new_one_takes_new_ones(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(*PATIENT)
    with Talking() as talking:
        old = calls_on(daemon, 0, 1)  # a worker without a call retires at once
        for number, peer in enumerate(old):
            talking.add(peer, number)
        reload(daemon, 1)
        assert sorted(generations(daemon).values()) == [0, 0, 1, 1]
        new = [call(daemon.address) for _ in range(4)]
        cards = [daemon.hub.open(participant_id=peer.participant_id).card() for peer in [*old, *new]]
        assert [card["generation"] for card in cards] == [0] * len(old) + [1] * 4
        _, page = ctl(daemon, "status")
        assert "generation 1 takes new calls: 2 workers, 4 calls" in page
        assert f"generation 0 keeps its calls to their end: 2 workers, {len(old)} calls" in page
        heard = len(old[0].sent)
        daemon.wait(lambda: all(len(peer.sent) > heard + 25 for peer in old), "more packets of the old calls")
        for peer in old:
            stream = daemon.hub.open(participant_id=peer.participant_id)
            assert talking.take(peer).close() == 1000
            assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))
        for peer in new:
            assert peer.close() == 1000
    wait_generations(daemon, 1)
    (event,) = reload_events(daemon)
    assert (event["generation"], event["draining"], event["uid"]) == (1, 1, os.geteuid())
    assert daemon.stop() == 0


def test_more_generations_than_may_drain_end_the_oldest_properly(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(*PATIENT, "server.workers=1", "server.max_generations=1")
    first = call(daemon.address)
    reload(daemon, 1)
    second = call(daemon.address)
    daemon.signal(signal.SIGHUP)
    assert first.read_close()[0] == 1012
    assert first.answer_close(1012) == "eof"
    daemon.wait_logged("generation 2 takes new calls")
    wait_generations(daemon, 1, 2)
    assert second.close() == 1000
    wait_generations(daemon, 2)
    assert daemon.counter("shutdown") == 1
    assert daemon.stop() == 0


def test_a_generation_is_ended_at_its_deadline(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(*PATIENT, "server.generation_deadline_seconds=0.5")
    peer = call(daemon.address)
    reload(daemon, 1)
    assert peer.read_close()[0] == 1012
    peer.answer_close(1012)
    wait_generations(daemon, 1)
    assert daemon.logged("has kept its calls for as long as it may")
    assert daemon.stop() == 0


def test_what_the_configuration_says_anew_holds_from_then_on(start_daemon: StartDaemon, tmp_path: Path) -> None:
    """Workers, listeners and rules; a listener that goes is closed when its last worker has retired."""
    file = tmp_path / "audiohookd.toml"
    file.write_text('[server]\nlisten = ["127.0.0.1:0", "[::1]:0"]\nworkers = 2\n')
    daemon = start_daemon(*PATIENT, arguments=("--config", str(file)), defaults=("memory.streams=16",))
    (before,) = daemon.logged(r"READY listen=(\S+),\[::1\]:(\d+) ")
    file.write_text('[server]\nlisten = ["127.0.0.2:0", "127.0.0.1:0"]\nworkers = 3\nallow = ["127.0.0.2"]\n')
    daemon.signal(signal.SIGHUP)
    (after,) = daemon.wait_logged(r"generation 1 takes new calls listen=127.0.0.2:(\d+),(\S+)")
    assert after[2] == before[1], "the listener that stays is the one that was there"
    wait_generations(daemon, 1)
    assert len(daemon.workers()) == 3
    with Peer(("127.0.0.2", int(after[1]))) as refused:
        assert refused.upgrade().status == 403
    with pytest.raises(ConnectionRefusedError):
        Peer(("::1", int(before[2])))
    assert daemon.stop() == 0


def test_a_hundred_hups_in_a_row(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(*PATIENT)
    peer = call(daemon.address)
    for _ in range(100):
        daemon.signal(signal.SIGHUP)
    daemon.wait_logged("generation . takes new calls")
    status, said = ctl(daemon, "reload")
    assert (status, "under way" in said) in ((0, False), (1, True)), said
    daemon.wait(lambda: len(reload_events(daemon)) == len(daemon.logged("are tried out")), "all reloads to end")
    assert {event["event"] for event in reload_events(daemon)} == {"reloaded"}
    assert peer.close() == 1000
    assert daemon.stop() == 0


def test_new_code_runs_after_it(start_daemon: StartDaemon, tmp_path: Path) -> None:
    code = Code(tmp_path)
    daemon = start_daemon(*PATIENT, environment=code.environment)
    code.change("worker/process.py", "worker accepts row=", "worker of the new code accepts row=")
    code.change("control/desk.py", '"the command line of this desk has ended"', '"ended"')
    desk = daemon.desk()
    reload(daemon, 1)
    assert len(daemon.logged("worker of the new code accepts row=. generation=1")) == 2
    daemon.wait(lambda: daemon.desk() != desk, "a desk of the new code")
    kill(daemon.workers()[2], signal.SIGKILL)
    daemon.wait_logged("worker of the new code accepts", 3)
    assert daemon.stop() == 0
