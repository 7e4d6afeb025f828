"""The daemon under a service manager: what it says when, what it keeps there, and what a start makes of that."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from audiohook.memory import layout
from tests.support.daemon import Daemon, kill
from tests.support.peer import Peer, Talking, call, decoded
from tests.support.service_manager import ServiceManager

StartDaemon = Callable[..., Daemon]

MEMORY = ["audiohook-arena", "audiohook-locks", "audiohook-read_only", "audiohook-watch"]


@pytest.fixture
def manager(tmp_path: Path, start_daemon: StartDaemon) -> Iterator[ServiceManager]:
    with ServiceManager(tmp_path, start_daemon) as made:
        yield made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listen_at(port: int) -> str:
    return f'server.listen=["127.0.0.1:{port}"]'


def test_a_life_is_told_in_order(manager: ServiceManager) -> None:
    daemon = manager.start()
    daemon.wait(lambda: manager.heard("READY=1"), "READY=1")
    (ready,) = manager.heard("READY=1")
    stored = manager.heard("FDSTORE=1")
    assert len(stored) == 8
    assert max(stored) < ready, "stored before it serves: a supervisor that is killed then loses nothing"
    assert manager.messages[ready] == "READY=1\nSTATUS=serving: 2 workers accept; 0 connections\n"
    peer = call(daemon.address)
    daemon.wait(lambda: manager.heard("STATUS=serving: 2 workers accept; 1 connections"), "STATUS")
    assert peer.close() == 1000
    assert daemon.stop() == 0
    (stopping,) = manager.heard("STOPPING=1")
    assert manager.heard("STATUS=stopped\n")[0] > stopping
    assert manager.messages[-1] == "BARRIER=1\n"
    assert manager.heard("WATCHDOG=1") == [], "nobody asked for it"


def test_a_reload_is_told_from_its_beginning_to_its_outcome(manager: ServiceManager) -> None:
    daemon = manager.start()
    daemon.signal(signal.SIGHUP)
    daemon.wait(lambda: len(manager.heard("READY=1")) == 2, "READY=1 after the reload")
    (begun,) = manager.heard("RELOADING=1\nMONOTONIC_USEC=")
    assert manager.heard("READY=1")[0] < begun < manager.heard("READY=1")[1]
    daemon.wait(lambda: len(manager.store) == 8, "the lines of the old workers to be forgotten")
    assert daemon.stop() == 0


def test_the_watchdog_starves_when_every_worker_stands_still(tmp_path: Path, start_daemon: StartDaemon) -> None:
    with ServiceManager(tmp_path, start_daemon, watchdog_seconds=1) as manager:
        daemon = manager.start("server.hang_seconds=60")
        daemon.wait(lambda: len(manager.heard("WATCHDOG=1")) > 5, "signs of life")
        workers = list(daemon.workers().values())
        for pid in workers:
            kill(pid, signal.SIGSTOP)
        # The supervisor goes on: its own loop is not what was asked for.
        daemon.wait(lambda: daemon.row("heartbeat_ns") and stands_still(daemon, manager), "the last sign of life")
        for pid in workers:
            kill(pid, signal.SIGCONT)
        fed = len(manager.heard("WATCHDOG=1"))
        daemon.wait(lambda: len(manager.heard("WATCHDOG=1")) > fed + 3, "signs of life again")
        assert daemon.stop() == 0


def stands_still(daemon: Daemon, manager: ServiceManager) -> bool:
    """Return whether no sign of life came while the supervisor ticked for longer than an interval."""
    arena = daemon.hub.arena
    word = layout.row_word(arena.geometry, arena.geometry.supervisor_row, "heartbeat_ns")
    before, fed = arena.words[word], len(manager.heard("WATCHDOG=1"))
    daemon.wait(lambda: arena.words[word] > before + 1_500_000_000, "15 ticks")
    return len(manager.heard("WATCHDOG=1")) == fed


def test_without_a_manager_nothing_is_said(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(environment={"NOTIFY_SOCKET": ""})
    assert daemon.stop() == 0
    assert not daemon.logged("notified")


def test_a_manager_that_is_gone_costs_nothing_but_a_line(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(environment={"NOTIFY_SOCKET": "@audiohook-test-nobody-listens-here"})
    peer = call(daemon.address)
    assert peer.close() == 1000
    assert daemon.stop() == 0
    assert len(daemon.logged("systemd cannot be notified")) == 1


# ---------------------------------------------------------------------------------------- sockets of the unit


def test_the_unit_s_sockets_are_accepted_on_by_all_workers(manager: ServiceManager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        daemon = manager.start(sockets=[("audiohookd.socket", one), ("audiohookd.socket", two)])
        with Talking():
            peers = [call(listener.getsockname()) for listener in (one, two) for _ in range(8)]
            rows = {daemon.hub.open(participant_id=peer.participant_id).card()["row"] for peer in peers}
            assert rows == {0, 1}
            for peer in peers:
                assert peer.close() == 1000
        assert not [name for name in manager.names() if "listen" in name], "they are systemd's"
        daemon.signal(signal.SIGHUP)
        daemon.wait_logged("generation 1 takes new calls")
        assert call(two.getsockname()).close() == 1000
        assert daemon.stop() == 0


def datagram(_: Path) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def unix(folder: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(folder / "unix"))
    made.listen()
    return made


def one_connection(_: Path) -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = socket.create_connection(listener.getsockname())
        listener.accept()[0].close()
        return made


def public(_: Path) -> socket.socket:
    return socket.create_server(("0.0.0.0", 0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (datagram, "is no stream socket: write ListenStream="),
        (unix, "is of another family than IPv4 or IPv6"),
        (one_connection, "does not listen: one connection was passed; write Accept=no"),
        (public, "the socket unit: server.listen.*not a loopback address"),
    ],
)
def test_other_sockets_are_refused_in_words(
    manager: ServiceManager, tmp_path: Path, make: Callable[[Path], socket.socket], words: str
) -> None:
    with make(tmp_path) as passed, manager.attempt(sockets=[("odd.socket", passed)]) as daemon:
        assert daemon.wait_exit() == 3
        assert daemon.logged(words)


# ---------------------------------------------------------------------------------------- the store


def test_after_a_kill_the_next_supervisor_takes_on_memory_listeners_and_workers(manager: ServiceManager) -> None:
    listen = listen_at(free_port())
    first = manager.start(listen)
    hub = f"hub.path={first.hub_path}"
    old = first.workers()
    with Talking() as talking:
        peers = [call(first.address) for _ in range(6)]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        (gone,) = [call(first.address)]
        assert gone.close() == 1000
        streams = [first.hub.open(participant_id=peer.participant_id) for peer in peers]
        arena = first.hub.arena.arena_id
        first.signal(signal.SIGKILL)
        assert first.wait_exit() == -signal.SIGKILL

        # Nobody accepts at this moment, and nobody is refused.
        waiting = Peer(first.address)
        second = manager.start(listen, hub)
        assert waiting.upgrade().accepted
        assert second.hub.arena.arena_id == arena
        assert "the memory of the daemon before is taken on" in second.log
        assert second.workers() == {**old, 2: second.workers()[2], 3: second.workers()[3]}
        assert {row: second.row("generation")[row] for row in range(4)} == {0: 0, 1: 0, 2: 1, 3: 1}
        ended = second.hub.open(participant_id=gone.participant_id)
        assert np.array_equal(ended.latest(60).samples[:, 0], decoded(gone.sent))

        # The calls of the dead daemon go on where they were, untouched by twenty of the new one.
        newcomers = [call(second.address) for _ in range(9)]
        rows = {second.hub.open(participant_id=peer.participant_id).card()["row"] for peer in newcomers}
        assert rows == {2, 3}
        count = min(len(peer.sent) for peer in peers)
        second.wait(lambda: all(len(peer.sent) > count + 20 for peer in peers), "more packets of the old calls")
        for peer, stream in zip(peers, streams, strict=True):
            assert talking.take(peer).close() == 1000
            assert np.array_equal(stream.latest(60).samples[:, 0], decoded(peer.sent))
            assert stream.card()["end_reason"] == "peer_closed"
        second.wait(lambda: sorted(second.workers()) == [2, 3], "the orphans' end")
        second.wait_logged("of a daemon that was killed, has ended", 2)
        for peer in [waiting, *newcomers]:
            assert peer.close() == 1000
    assert second.stop() == 0
    first.wait_all_gone()


def test_a_stop_leaves_no_orphan(manager: ServiceManager) -> None:
    listen = listen_at(free_port())
    first = manager.start(listen)
    with Talking() as talking:
        peers = [call(first.address) for _ in range(4)]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        first.signal(signal.SIGKILL)
        first.wait_exit()
        second = manager.start(listen, f"hub.path={first.hub_path}")
        second.signal(signal.SIGQUIT)
        for peer in peers:
            assert peer.read_close() == (1012, "service restart")
            talking.take(peer).answer_close(1012)
    assert second.wait_exit() == 0
    assert not first.processes()


def test_an_orphan_that_is_killed_costs_its_own_calls_only(manager: ServiceManager) -> None:
    listen = listen_at(free_port())
    first = manager.start(listen)
    peers = [call(first.address) for _ in range(6)]
    first.signal(signal.SIGKILL)
    first.wait_exit()
    second = manager.start(listen, f"hub.path={first.hub_path}")
    victim = second.hub.open(participant_id=peers[0].participant_id).card()["row"]
    rows = {peer: second.hub.open(participant_id=peer.participant_id).card()["row"] for peer in peers}
    kill(second.workers()[victim], signal.SIGKILL)
    second.wait_logged(f"worker {victim}, of a daemon that was killed, has ended")
    states = {peer: second.hub.open(participant_id=peer.participant_id).card()["state"] for peer in peers}
    for peer in peers:
        assert states[peer] == (layout.ABORTED if rows[peer] == victim else layout.LIVE)
        if rows[peer] == victim:
            peer.abort()
        else:
            assert peer.close() == 1000
    assert second.stop() == 0


def test_a_start_that_fails_leaves_orphans_their_calls(manager: ServiceManager) -> None:
    listen = listen_at(free_port())
    first = manager.start(listen)
    peers = [call(first.address) for _ in range(3)]
    first.signal(signal.SIGKILL)
    first.wait_exit()
    with manager.attempt(listen, f"hub.path={first.hub_path}", "server.boot_seconds=0.1") as second:
        assert second.wait_exit() == 3, "the desk alone needs longer"
    for peer in peers:
        assert peer.close() == 1000
    first.wait_all_gone()


def test_a_restart_refuses_nobody_and_keeps_what_was_heard(manager: ServiceManager) -> None:
    listen = listen_at(free_port())
    first = manager.start(listen)
    peer = call(first.address)
    talked = call(first.address)
    with Talking() as talking:
        talking.add(talked, 1)
        first.wait(lambda: len(talked.sent) > 10, "ten packets")
        assert talking.take(talked).close() == 1000
    first.signal(signal.SIGQUIT)
    assert peer.read_close() == (1012, "service restart")
    waiting = [Peer(first.address) for _ in range(3)]
    peer.answer_close(1012)
    assert first.wait_exit() == 0
    waiting += [Peer(first.address) for _ in range(3)]
    second = manager.start(listen, f"hub.path={first.hub_path}")
    for one in waiting:
        assert one.upgrade().accepted, "not one was refused, nor answered with 503"
        assert one.close() == 1000
    stream = second.hub.open(participant_id=talked.participant_id)
    assert np.array_equal(stream.latest(60).samples[:, 0], decoded(talked.sent))
    assert second.stop() == 0


def test_what_does_not_fit_any_more_is_given_up_in_words(manager: ServiceManager) -> None:
    first = manager.start(listen_at(free_port()))
    assert first.stop() == 0
    before = manager.names()
    second = manager.start(listen_at(free_port()), "memory.streams=17")
    assert "of the daemon before is given up, with what is in it: the configuration wants other" in second.log
    assert len(manager.store) == 8
    assert [name for name in manager.names() if name in MEMORY] == MEMORY
    assert [name for name in before if "listen" in name] != [name for name in manager.names() if "listen" in name]
    assert call(second.address).close() == 1000
    assert second.stop() == 0
