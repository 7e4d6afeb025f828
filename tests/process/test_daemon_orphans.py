"""`kill -9` of the supervisor: calls go on to their end, new connections go to the next daemon, and nothing remains."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import audiohook
from tests.support.daemon import Daemon, descriptors, kill, link
from tests.support.peer import Peer, Talking, call, decoded, packets_of
from tests.support.reader import Reader

StartDaemon = Callable[..., Daemon]


def listening(pid: int, port: int) -> bool:
    """Return whether a process still has a descriptor of a socket that listens on a port."""
    inodes = {link(pid, fd) for fd in descriptors(pid)}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port and f"socket:[{fields[9]}]" in inodes:
            return True
    return False


def test_orphans_keep_their_calls_and_leave_the_port_and_the_hub_to_the_next_daemon(start_daemon: StartDaemon) -> None:
    first = start_daemon("memory.streams=16")
    port, hub_path, desk = first.address[1], first.hub_path, first.desk()
    workers = first.workers()
    with Talking() as talking, Reader("streams", hub_path, 320) as reader:
        reader.wait_for("attached")
        peers = [call(first.address) for _ in range(6)]
        assert {first.hub.open(call_id=peer.call_id).card()["row"] for peer in peers} == set(workers)
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        reader.wait_for("began", len(peers))
        first.signal(signal.SIGKILL)
        assert first.wait_exit() == -signal.SIGKILL
        first.wait(lambda: sorted(first.processes()) == sorted(workers.values()), "the desk's end")
        assert desk not in first.processes()
        for pid in workers.values():
            first.wait(lambda pid=pid: not listening(pid, port), "the end of listening")  # type: ignore[misc]

        # The next one takes the port and the hub's name, and gets every connection from now on.
        second = start_daemon(f'server.listen=["127.0.0.1:{port}"]', f"hub.path={hub_path}", "memory.streams=32")
        newcomers = [call(second.address) for _ in range(20)]
        assert len(list(second.hub.streams())) == len(newcomers)
        count = min(len(peer.sent) for peer in peers)
        first.wait(lambda: all(len(peer.sent) > count + 20 for peer in peers), "more packets of the orphans' calls")
        for peer in peers:
            assert talking.take(peer).close() == 1000
        reader.wait_for("read", len(peers))
        for peer in peers:
            (event,) = reader.seen("read", participant=peer.participant_id)
            assert np.array_equal(reader.samples(event["stream"]), decoded(peer.sent))
            assert (event["state"], event["reason"], event["lost"]) == ("ENDED", "peer_closed", 0)
        first.wait_all_gone()
        assert not talking.broken
        for peer in newcomers:
            assert peer.close() == 1000
    assert second.stop() == 0
    assert sorted(first.stream_lines("started")) == sorted(first.stream_lines("ended"))


def test_orphans_end_their_calls_when_their_time_is_over(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("server.orphan_seconds=0.5")
    with Talking() as talking:
        peers = [call(daemon.address) for _ in range(6)]
        streams = [daemon.hub.open(call_id=peer.call_id) for peer in peers]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        daemon.wait(lambda: all(len(peer.sent) > 5 for peer in peers), "five packets of each call")
        daemon.signal(signal.SIGKILL)
        for peer in peers:
            # While it is talked to: the close frame must not be lost to a reset.
            assert peer.read_close() == (1012, "service restart")
        for peer in peers:
            assert talking.take(peer).answer_close(1012) == "eof"
    daemon.wait_all_gone()
    for stream in streams:
        assert (stream.state, stream.end_reason, stream.close_code) == ("ENDED", "shutdown", 1012)


def test_a_worker_without_calls_leaves_at_once(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    daemon.signal(signal.SIGKILL)
    daemon.wait_all_gone()
    assert Path(daemon.folder, "hub.sock").exists()
    second = start_daemon(f"hub.path={daemon.folder}/hub.sock")
    assert second.stop() == 0
    assert not Path(daemon.folder, "hub.sock").exists()


@pytest.mark.parametrize("listeners", [1, 2])
def test_connections_that_arrive_as_the_supervisor_dies_cost_no_call(start_daemon: StartDaemon, listeners: int) -> None:
    """The worker finds both in one batch: the end of its lifeline, upon which it lets its listeners go, and a listener
    that has a connection for it."""
    listen = ", ".join(f'"127.0.0.{number}:0"' for number in range(1, listeners + 1))
    daemon = start_daemon("server.workers=1", f"server.listen=[{listen}]")
    addresses = [
        (host, int(port))
        for host, _, port in (one.partition(":") for one in daemon.logged(r"READY listen=(\S+) ")[0][1].split(","))
    ]
    with call(addresses[0]) as peer:
        worker = daemon.workers()[0]
        kill(worker, signal.SIGSTOP)
        daemon.signal(signal.SIGKILL)
        daemon.wait_exit()
        late = [Peer(address) for address in addresses for _ in range(3)]
        kill(worker, signal.SIGCONT)
        peer.send_packets(packets_of(1)[:50])
        daemon.wait_logged("the supervisor is gone")
        stream = daemon.hub.open(call_id=peer.call_id)
        assert peer.close() == 1000
        assert np.array_equal(stream.latest(10.0).samples[:, 0], decoded(peer.sent))
        for one in late:
            one.socket.close()
    daemon.wait_all_gone()


def test_a_reader_is_told_when_everybody_was_killed_at_once(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with call(daemon.address) as peer, Reader("streams", daemon.hub_path, 320) as reader:
        peer.send_packets(packets_of(4)[:50])
        stream = daemon.hub.open(call_id=peer.call_id)
        (event,) = reader.wait_for("began")
        daemon.wait(lambda: len(reader.samples(event["stream"])) == 50 * 320, "every sample")
        doomed = daemon.processes()
        assert len(doomed) == 4
        for pid in doomed:
            kill(pid, signal.SIGKILL)
        daemon.wait_all_gone()
        # Nobody was left to mark it; what was published stays readable.
        assert (stream.state, stream.over) == ("LIVE", False)
        (gone,) = reader.wait_for("gone")
        assert "no sign of life" in gone["text"]
        (event,) = reader.wait_for("read")
        assert np.array_equal(reader.samples(event["stream"]), decoded(peer.sent))
        with pytest.raises(audiohook.WriterGone):
            list(stream.blocks(frames=320, start="oldest"))
        with pytest.raises(audiohook.HubUnavailable, match="no hub at"):
            audiohook.attach(daemon.hub_path)
