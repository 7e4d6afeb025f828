"""More workers and fewer, by signals and by `audiohookctl scale`, under calls: none is lost, none is refused."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.process.controlling import Asking
from tests.support.daemon import PATIENCE_S, ROOT, Daemon, kill
from tests.support.peer import Peer, Talking, call, decoded

StartDaemon = Callable[..., Daemon]

ROOM = "memory.streams=64"


def ctl(daemon: Daemon, *arguments: str) -> tuple[int, str]:
    """Run audiohookctl; return its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "audiohook.cli.audiohookctl", "--hub", daemon.hub_path, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def scalings(daemon: Daemon) -> list[dict[str, Any]]:
    return [event for event in daemon.events() if event["event"] == "scaled"]


def wait_accepting(daemon: Daemon, count: int) -> None:
    daemon.wait_logged("worker accepts", count)


def row_of(daemon: Daemon, peer: Peer) -> int:
    row: int = daemon.hub.open(participant_id=peer.participant_id).card()["row"]
    return row


def test_ttin_is_a_worker_more_and_ttou_one_less(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    first = daemon.workers()
    # To the whole group: a shell's job control knows these signals too, and what they do by default is stop a process.
    os.killpg(daemon.pid, signal.SIGTTIN)
    wait_accepting(daemon, 3)
    assert daemon.workers() == {**first, 2: daemon.workers()[2]}
    peers = [call(daemon.address) for _ in range(12)]
    assert {row_of(daemon, peer) for peer in peers} == {0, 1, 2}
    for peer in peers:
        peer.close()
    os.killpg(daemon.pid, signal.SIGTTOU)
    daemon.wait_logged("worker retires")
    daemon.wait(lambda: len(daemon.workers()) == 2, "the end of one without a call")
    up, down = scalings(daemon)
    assert (up["signal"], up["before"], up["workers"], up["started"]) == ("SIGTTIN", 2, 3, [2])
    assert (down["signal"], down["before"], down["workers"], len(down["leaving"])) == ("SIGTTOU", 3, 2, 1)
    assert daemon.stop() == 0


def test_the_last_worker_does_not_go_and_a_row_that_is_not_there_does_not_come(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("server.workers=1", "server.max_generations=1")
    daemon.signal(signal.SIGTTOU)
    daemon.wait_logged("not scaled to 0 workers: from 1 to 2 workers can be had")
    assert ctl(daemon, "scale", "3")[0] == 1
    status, said = ctl(daemon, "scale", "2")
    assert (status, said) == (0, "2 workers: there were 1; 1 started\n")
    wait_accepting(daemon, 2)
    daemon.signal(signal.SIGTTIN)
    daemon.wait_logged("not scaled to 3 workers")
    assert ctl(daemon, "scale", "2") == (0, "2 workers: there were 2\n")
    assert daemon.stop() == 0


def test_fewer_workers_keep_every_call_and_refuse_none(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("server.workers=3", ROOM)
    with Talking() as talking:
        peers = [call(daemon.address) for _ in range(15)]
        rows = {peer: row_of(daemon, peer) for peer in peers}
        assert set(rows.values()) == {0, 1, 2}
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        early = [Peer(daemon.address) for _ in range(6)]
        daemon.wait(lambda: daemon.live() == 21, "connections that have asked for nothing yet")
        with Asking(daemon) as client:
            answer = client.ask("scale", workers=1)
            assert (answer["ok"], answer["workers"]) == (True, 1)
            assert answer["text"] == "there were 3; 2 take no more calls and leave with their last one"
            (event,) = scalings(daemon)
            assert (event["uid"], event["pid"]) == (os.geteuid(), client.pid)
        daemon.wait_logged("worker retires", 2)
        assert all(peer.upgrade().accepted for peer in early), "also with a worker that retires"
        (stays,) = {0, 1, 2} - set(event["leaving"])
        later = [call(daemon.address) for _ in range(20)]
        assert {row_of(daemon, peer) for peer in later} == {stays}
        states = {row["row"]: row["state"] for row in json.loads(ctl(daemon, "status", "--json")[1])["rows"][:3]}
        assert states == {row: "accepting" if row == stays else "draining" for row in range(3)}
        assert len(daemon.workers()) == 3
        count = len(peers[0].sent)
        daemon.wait(lambda: all(len(peer.sent) > count + 25 for peer in peers), "more packets of every call")
        for peer in peers:
            stream = daemon.hub.open(participant_id=peer.participant_id)
            assert talking.take(peer).close() == 1000
            assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))
        for peer in [*early, *later]:
            assert peer.close() == 1000
    daemon.wait(lambda: set(daemon.workers()) == {stays}, "the end of those that retire")
    assert (daemon.counter("draining"), daemon.counter("worker_died")) == (0, 0)
    assert not daemon.logged("killed by signal")
    assert daemon.stop() == 0


def test_a_retiring_worker_that_is_killed_is_not_replaced_and_its_row_can_be_had_again(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon("server.workers=2", "server.max_generations=1", ROOM)
    peers = [call(daemon.address) for _ in range(10)]
    assert ctl(daemon, "scale", "1")[0] == 0
    (row,) = scalings(daemon)[0]["leaving"]
    assert ctl(daemon, "scale", "4") == (1, "audiohookctl: 1 of 4 rows are still drained: 3 workers are the most now\n")
    kill(daemon.workers()[row], signal.SIGKILL)
    daemon.wait(lambda: row not in daemon.workers(), "its end")
    assert ctl(daemon, "scale", "4")[0] == 0
    wait_accepting(daemon, 5)
    assert set(daemon.workers()) == {0, 1, 2, 3}
    assert daemon.counter("worker_died") > 0
    for peer in peers:
        peer.socket.close()
    assert daemon.stop() == 0


READER, OPERATOR = 20_001, 20_003


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_only_who_may_operate_scales(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(f'hub.read=["user:{READER}"]', f'hub.operate=["user:{OPERATOR}"]')
    with Asking(daemon, READER) as reader, Asking(daemon, OPERATOR) as operator:
        assert reader.ask("scale", workers=3)["slug"] == "role_missing"
        assert scalings(daemon) == []
        assert operator.ask("scale", workers=121)["slug"] == "request_malformed"
        assert operator.ask("scale", workers=9)["slug"] == "refused"
        assert operator.ask("scale", workers=3, ticket=5)["ticket"] == 5
        (event,) = scalings(daemon)
        assert (event["uid"], event["pid"]) == (OPERATOR, operator.pid)
    wait_accepting(daemon, 3)
    assert daemon.stop() == 0
