"""A child whose loop stands still is found, its stacks are logged, it is killed and replaced; nobody else is."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from audiohook.control.commander import Commander
from tests.process.controlling import Asking
from tests.support.daemon import Daemon, kill
from tests.support.peer import Peer, Talking, call, decoded

StartDaemon = Callable[..., Daemon]

HANG_S = 1.5
HANG = (f"server.hang_seconds={HANG_S}", "memory.streams=64")


def hung(daemon: Daemon) -> list[dict[str, Any]]:
    return [event for event in daemon.events() if event["event"] == "worker_hung"]


def row_of(daemon: Daemon, peer: Peer) -> int:
    row: int = daemon.hub.open(participant_id=peer.participant_id).card()["row"]
    return row


def placed(daemon: Daemon, talking: Talking) -> dict[int, list[Peer]]:
    """Return calls that talk, by the row of their worker; each has some."""
    peers: dict[int, list[Peer]] = {row: [] for row in daemon.workers()}
    for number in range(8):
        peer = call(daemon.address)
        peers[row_of(daemon, peer)].append(peer)
        talking.add(peer, number)
    assert all(peers.values())
    return peers


def check_whole(daemon: Daemon, talking: Talking, peers: list[Peer]) -> None:
    for peer in peers:
        stream = daemon.hub.open(participant_id=peer.participant_id)
        assert talking.take(peer).close() == 1000
        assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))


def sticking(start_daemon: StartDaemon) -> Daemon:
    # NumPy is imported there before the daemon could say how many threads it may have.
    daemon = start_daemon(
        *HANG, "context.heartbeat_ms=600000", module="tests.process.sticking", environment={"OPENBLAS_NUM_THREADS": "1"}
    )
    (daemon.folder / "stuck").touch()
    return daemon


def stick(daemon: Daemon, peer: Peer, client: Asking) -> int:
    """Make a call's worker stick; return its pid."""
    stream = daemon.hub.open(participant_id=peer.participant_id)
    client.send("mask", stream=stream.stream_id)
    return daemon.workers()[stream.card()["row"]]


def test_a_stopped_worker_is_killed_and_replaced_and_costs_its_own_calls_only(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(*HANG)
    with Talking() as talking:
        peers = placed(daemon, talking)
        victim = daemon.workers()[0]
        streams = [daemon.hub.open(participant_id=peer.participant_id) for peer in peers[0]]
        began = time.monotonic()
        kill(victim, signal.SIGSTOP)
        while not hung(daemon):
            call(daemon.address).close()  # answered by the other one: a timeout of this peer fails the test
        assert time.monotonic() - began >= HANG_S - 0.25, "not before its time, less a tick or two"
        daemon.wait(lambda: daemon.workers().get(0) not in (None, victim), "the successor")
        daemon.wait(lambda: all(stream.over for stream in streams), "the mark on its streams")
        assert {(stream.state, stream.end_reason) for stream in streams} == {("ABORTED", "worker_died")}
        (event,) = hung(daemon)
        assert (event["of_row"], event["pid"]) == (0, victim)
        assert event["seconds"] >= HANG_S
        assert daemon.logged(rf"worker 0 is hung.* pid={victim} seconds=")
        assert daemon.logged("worker 0 was killed by signal 9")
        check_whole(daemon, talking, peers[1])
    assert daemon.counter("worker_died") == len(streams)
    daemon.wait(lambda: sorted(daemon.locked_slots()) == [], "every slot given back")
    assert daemon.stop() == 0


def test_the_stacks_of_a_stuck_worker_are_in_the_log_before_it_is_killed(start_daemon: StartDaemon) -> None:
    daemon = sticking(start_daemon)
    with call(daemon.address) as peer, Asking(daemon) as client:
        row, victim = row_of(daemon, peer), stick(daemon, peer, client)
        daemon.wait(lambda: daemon.workers().get(row) not in (None, victim), "the successor")
        assert client.receive()["results"][0]["status"] == "gone"
    stack, killed = daemon.logged(r"sticking.py\", line \d+ in stick_here"), daemon.logged("was killed by signal 9")
    assert stack[0].start() < killed[0].start()
    assert len(daemon.logged("most recent call first")) == 1
    assert daemon.stop() == 0


def test_one_that_goes_on_in_time_keeps_its_calls_and_another_takes_new_ones(start_daemon: StartDaemon) -> None:
    daemon = sticking(start_daemon)
    with Talking() as talking, Asking(daemon) as client:
        peers = placed(daemon, talking)
        slow = stick(daemon, peers[0][0], client)
        daemon.wait_logged("worker 0 still hangs")
        (daemon.folder / "stuck").unlink()
        assert client.receive()["ok"] is True
        daemon.wait(lambda: 2 in daemon.workers(), "another, in a free row")
        daemon.wait_logged("worker retires row=0")
        later = [call(daemon.address) for _ in range(10)]
        assert {row_of(daemon, peer) for peer in later} <= {1, 2}
        for peer in later:
            peer.close()
        check_whole(daemon, talking, [*peers[0], *peers[1]])
    daemon.wait(lambda: 0 not in daemon.workers(), "the end of the slow one")
    daemon.wait(lambda: slow not in daemon.processes(), "its process, gone and reaped")
    assert not daemon.logged("killed by signal")
    assert (daemon.counter("worker_died"), daemon.counter("draining")) == (0, 0)
    assert daemon.stop() == 0


def test_when_all_were_stopped_together_nobody_is_judged(start_daemon: StartDaemon) -> None:
    """As a suspended machine does it. The supervisor goes on first and sees heartbeats that are seconds old."""
    daemon = start_daemon(*HANG)
    with Talking() as talking:
        peers = placed(daemon, talking)
        everybody = [daemon.pid, daemon.desk(), *daemon.workers().values()]
        for pid in everybody:
            kill(pid, signal.SIGSTOP)
        time.sleep(1 + HANG_S)  # the time itself is what is tested
        kill(daemon.pid, signal.SIGCONT)
        daemon.wait_logged("the supervisor itself stood still")
        for pid in everybody:
            kill(pid, signal.SIGCONT)
        counts = {peer: len(peer.sent) for row in peers.values() for peer in row}
        daemon.wait(lambda: all(len(peer.sent) > count + 50 for peer, count in counts.items()), "a second of each call")
        assert [daemon.pid, daemon.desk(), *daemon.workers().values()] == everybody
        assert hung(daemon) == []
        check_whole(daemon, talking, [peer for row in peers.values() for peer in row])
    assert not daemon.logged("is hung|killed by signal")
    assert daemon.stop() == 0


def test_a_stopped_desk_is_replaced_and_no_call_notices(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(*HANG)
    with Talking() as talking:
        peers = placed(daemon, talking)
        workers, victim = daemon.workers(), daemon.desk()
        kill(victim, signal.SIGSTOP)
        daemon.wait_logged("desk ready", 2)
        assert daemon.desk() != victim
        with Commander(daemon.hub_path) as commander:
            assert commander.ask("attach")["ok"] is True
        assert daemon.workers() == workers
        check_whole(daemon, talking, [peer for row in peers.values() for peer in row])
    (event,) = [event for event in daemon.events() if event["event"] == "desk_hung"]
    assert event["pid"] == victim
    assert not os.path.exists(f"/proc/{victim}/exe")
    assert daemon.stop() == 0
