"""The desk, and readers, may die or be stopped at any time: calls and other readers do not notice."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import audiohook
from tests.support.daemon import ROOT, Daemon, kill
from tests.support.peer import PACKET_FRAMES, Peer, Talking, call, decoded, packets_of
from tests.support.reader import Reader

StartDaemon = Callable[..., Daemon]


def new_desk(daemon: Daemon, old: int) -> int:
    return daemon.wait(lambda: pid if (pid := daemon.desk()) != old else None, "another desk") or 0


def test_killed_desk_disturbs_neither_calls_nor_attached_readers(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with Talking() as talking, Reader("streams", daemon.hub_path, PACKET_FRAMES) as reader:
        reader.wait_for("attached")
        peers = [call(daemon.address) for _ in range(4)]
        slots = [daemon.hub.open(participant_id=peer.participant_id).slot for peer in peers]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        daemon.wait(lambda: set(daemon.watched()) == set(slots), "the watch on every stream")
        for death in range(1, 4):
            desk = daemon.desk()
            kill(desk, signal.SIGKILL)
            # Who attaches just now waits for the next desk.
            audiohook.attach(daemon.hub_path).close()
            daemon.wait_logged("desk ready", death + 1)
            assert new_desk(daemon, desk) != desk
            daemon.wait(lambda: set(daemon.watched()) == set(slots), "the watch on every stream, from a new desk")
        with Reader("streams", daemon.hub_path) as late:
            late.wait_for("began", len(peers))
            for peer in peers:
                assert talking.take(peer).close() == 1000
            for one in (reader, late):
                one.wait_for("read", len(peers))
                for peer in peers:
                    (event,) = one.seen("read", participant=peer.participant_id)
                    assert np.array_equal(one.samples(event["stream"]), decoded(peer.sent))
                    assert (event["jumps"], event["lost"]) == (0, 0)
    daemon.wait(lambda: daemon.watched() == [], "the end of every watch")
    assert not talking.broken


def delays_ms(blocks: list[tuple[float, float]]) -> float:
    """Return the middle delay between a packet's arrival and its reader's having it, of the last blocks."""
    return statistics.median((had - arrived) / 1e6 for had, arrived in blocks)


def test_a_reader_is_woken_promptly_while_the_desk_is_stopped_and_after_its_death(start_daemon: StartDaemon) -> None:
    """Looking every 250 ms, which is what a reader falls back to if nobody wakes it, has a middle delay of 125 ms."""
    daemon = start_daemon("server.workers=1")
    with Talking() as talking:
        peer = call(daemon.address)
        talking.add(peer, 1)
        with audiohook.attach(daemon.hub_path) as hub, hub.open(call_id=peer.call_id) as stream:
            blocks = stream.blocks(frames=PACKET_FRAMES)

            def read(count: int) -> list[tuple[float, float]]:
                return [(time.monotonic_ns(), next(blocks).arrival_ns) for _ in range(count)]

            def prompt(what: str) -> None:
                daemon.wait(lambda: delays_ms([*read(25)]) < 60, what)

            prompt("a prompt reader, watched")
            desk = daemon.desk()
            kill(desk, signal.SIGSTOP)
            prompt("a prompt reader, beside a stopped desk")
            kill(desk, signal.SIGKILL)
            daemon.wait_logged("desk ready", 2)
            daemon.wait(lambda: read(5) and daemon.watched() == [stream.slot], "the watch from a new desk")
            prompt("a prompt reader, watched by a new desk")
        talking.take(peer).close()


def test_a_stopped_desk_does_not_hold_up_the_reader_of_a_new_stream(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with Reader("streams", daemon.hub_path, PACKET_FRAMES) as reader:
        reader.wait_for("attached")
        desk = daemon.desk()
        kill(desk, signal.SIGSTOP)
        with call(daemon.address) as peer:
            peer.send_packets(packets_of(7)[:20])
            (event,) = reader.wait_for("began")
            # The reader waits for more now, and would ask the desk; what comes meanwhile must reach it all the same.
            for packet in packets_of(7)[20:60]:
                peer.send_packets([packet])
            length = len(peer.sent) * PACKET_FRAMES
            # A reader that waits for the desk's answer would wait 5 s at the first packet, and again at others.
            daemon.wait(lambda: len(reader.samples(event["stream"])) == length, "every sample, without the desk", 4.0)
            assert Path(f"/proc/{desk}/stat").read_text().rpartition(")")[2].split()[0] == "T"
            peer.close()
            reader.wait_for("read")
            assert np.array_equal(reader.samples(event["stream"]), decoded(peer.sent))
        kill(desk, signal.SIGCONT)


def test_killed_reader_leaves_no_watch_behind(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with call(daemon.address) as peer, Reader("streams", daemon.hub_path) as stays:
        stays.wait_for("attached")
        slot = daemon.hub.open(call_id=peer.call_id).slot
        daemon.wait(lambda: daemon.watched() == [slot], "the watch")
        with Reader("streams", daemon.hub_path) as dies:
            dies.wait_for("attached")
            os.kill(dies.pid, signal.SIGKILL)
        peer.send_packets(packets_of(2)[:80])
        assert daemon.watched() == [slot], "the other reader still waits for this stream"
        os.kill(stays.pid, signal.SIGKILL)
        daemon.wait(lambda: daemon.watched() == [], "the end of the watch")
        assert peer.close() == 1000


def test_the_number_of_watched_streams_is_bounded_and_the_others_are_read_all_the_same(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon("hub.max_watched=2")
    with Reader("streams", daemon.hub_path, PACKET_FRAMES) as reader:
        reader.wait_for("attached")
        peers = [call(daemon.address) for _ in range(5)]
        for number, peer in enumerate(peers):
            for packet in packets_of(number)[:30]:
                peer.send_packets([packet])
        daemon.wait(lambda: len(daemon.watched()) == 2, "two watches")
        for peer in peers:
            peer.close()
        reader.wait_for("read", len(peers))
        for peer in peers:
            (event,) = reader.seen("read", participant=peer.participant_id)
            assert np.array_equal(reader.samples(event["stream"]), decoded(peer.sent))
    daemon.wait(lambda: daemon.watched() == [], "the end of every watch")


@pytest.mark.parametrize("garbage", [b"", b"x", b"{}", b"[]", b'{"do":"drain"}', b'{"do":"watch"}', b"[" * 60_000])
def test_a_client_that_talks_nonsense_is_answered_and_harms_nobody(start_daemon: StartDaemon, garbage: bytes) -> None:
    daemon = start_daemon()
    desk = daemon.desk()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(30)
        client.connect(daemon.hub_path)
        client.send(garbage)
        answer = client.recv(65_536)
        assert answer == b"" if not garbage else b'"ok":false' in answer
    assert daemon.desk() == desk
    with Peer(daemon.address) as peer:
        assert peer.upgrade().accepted
        assert [stream.call_id for stream in daemon.hub.streams()] == [peer.call_id]
        peer.close()


INTRUDERS = """
import os, socket, sys
from audiohook.control import protocol
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
held = []
for _ in range(6):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(sys.argv[1])
    client.send(protocol.encode({"do": "attach"}))
    assert b"may not read here" in client.recv(65536)
    held.append(client)
print("refused", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_takes_nobodys_place(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("hub.max_clients=2")
    with subprocess.Popen(
        [sys.executable, "-c", INTRUDERS, daemon.hub_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as intruders:
        assert intruders.stdout is not None
        assert intruders.stdout.readline() == b"refused\n"
        with audiohook.attach(daemon.hub_path), audiohook.attach(daemon.hub_path):
            assert len(daemon.logged("refused uid=65534 .* role=read")) == 1, "a line a minute, not one a try"
        intruders.communicate()
