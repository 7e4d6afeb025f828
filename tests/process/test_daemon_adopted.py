"""Commands for the calls of a daemon that was killed: the next one's, over the lines that the service manager keeps."""

import fcntl
import signal
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audiohook.control.commander import Commander
from audiohook.supervisor.switchboard import STRANDED_TEXT
from tests.process.controlling import Asking, result, stream_id
from tests.support.daemon import Daemon, kill
from tests.support.genesys import Genesys
from tests.support.peer import Peer, Talking, call, packets_of
from tests.support.service_manager import ServiceManager

StartDaemon = Callable[..., Daemon]

PATIENT = ("context.heartbeat_ms=600000", "context.first_audio_ms=600000")


@pytest.fixture
def manager(tmp_path: Path, start_daemon: StartDaemon) -> Iterator[ServiceManager]:
    with ServiceManager(tmp_path, start_daemon) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> tuple[str, ...]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return (f'server.listen=["127.0.0.1:{port}"]', f"hub.path={tmp_path}/hub.sock", *PATIENT)


def killed(daemon: Daemon) -> None:
    daemon.signal(signal.SIGKILL)
    assert daemon.wait_exit() == -signal.SIGKILL


def ask(daemon: Daemon, do: str, **fields: object) -> dict[str, object]:
    with Commander(daemon.hub_path) as commander:
        return result(commander.ask(do, **fields))


def unread_bytes(manager: ServiceManager, row: int) -> int:
    """Return how much of what was sent down a worker's line it has not read, in the kernel's accounts of memory."""
    (fd,) = [fd for name, fd in manager.store if name == f"audiohook-line-{row}"]
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def row_of(daemon: Daemon, peer: Peer) -> int:
    row: int = daemon.hub.open(participant_id=peer.participant_id).card()["row"]
    return row


def test_every_command_reaches_a_call_that_the_killed_daemon_had(
    manager: ServiceManager, settings: tuple[str, ...]
) -> None:
    first = manager.start(*settings)
    with Genesys(first.address) as genesys, Talking() as talking:
        genesys.opened()
        peers = [call(first.address) for _ in range(3)]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        held, ended, taken = peers
        at_genesys = first.hub.open(call_id=genesys.caller.conversation_id).stream_id
        killed(first)

        second = manager.start(*settings)
        masked = ask(second, "mask", stream=stream_id(second, held), seconds_back=0.1)
        assert (masked["status"], ask(second, "unmask", stream=stream_id(second, held))["status"]) == ("ok", "ok")
        assert ask(second, "hold", call=held.call_id)["status"] == "ok"
        second.wait(lambda: second.hub.open(participant_id=held.participant_id).state == "HELD", "HELD")
        assert ask(second, "unhold", call=held.call_id)["status"] == "ok"
        assert ask(second, "end", call=ended.call_id)["status"] == "ok"
        assert ended.read_close()[0] == 1000
        assert ask(second, "pause", stream=at_genesys)["status"] == "ok"
        genesys.until("pause")

        # Over a reload the line is kept as others are, and over a second kill the store still has it.
        second.signal(signal.SIGHUP)
        second.wait_logged("generation 2 takes new calls")
        second.wait_logged("desk ready", 2)
        assert ask(second, "unmask", stream=stream_id(second, held))["status"] == "ok"
        killed(second)
        third = manager.start(*settings)
        assert ask(third, "disconnect", stream=at_genesys)["status"] == "ok"
        genesys.until("disconnect")
        assert ask(third, "disconnect", stream=stream_id(third, taken))["status"] == "ok"
        assert taken.read_close()[0] is not None
        for peer in (ended, taken):
            talking.take(peer)
        assert talking.take(held).close() == 1000
        third.wait(lambda: row_of(third, held) not in third.workers(), "the orphans' end")
    assert third.stop() == 0
    assert not [name for name in manager.names() if "line" in name], "of whoever is gone nothing is kept"


def test_an_answer_to_the_killed_supervisor_is_not_taken_for_one_to_the_next(
    manager: ServiceManager, settings: tuple[str, ...]
) -> None:
    first = manager.start(*settings)
    with call(first.address) as peer:
        peer.send_packets(packets_of(1)[:50])
        stream = first.hub.open(participant_id=peer.participant_id)
        first.wait(lambda: stream.latest(10.0).samples.shape[0] > 0, "audio")
        row = row_of(first, peer)
        worker = first.workers()[row]
        kill(worker, signal.SIGSTOP)
        with Asking(first) as asking:
            asking.send("mask", stream=stream_id(first, peer))
            one = first.wait(lambda: unread_bytes(manager, row), "the command in the worker's line")
            killed(first)
        second = manager.start(*settings)
        with Asking(second) as asking:
            asking.send("hold", call=peer.call_id)
            second.wait(lambda: unread_bytes(manager, row) > one, "both commands in the worker's line")
            kill(worker, signal.SIGCONT)
            held = result(asking.receive())
        # The mask's answer would have named its first frame.
        assert (held["status"], held["value"]) == ("ok", 0)
        assert ask(second, "unmask", stream=stream_id(second, peer))["status"] == "ok"
        assert peer.close() == 1000
    assert second.stop() == 0


def test_where_the_line_is_lost_the_refusal_says_so_and_the_call_goes_on(
    manager: ServiceManager, settings: tuple[str, ...]
) -> None:
    first = manager.start(*settings)
    with call(first.address) as peer:
        killed(first)
        manager.store = [one for one in manager.store if "line" not in one[0]]
        second = manager.start(*settings)
        refused = ask(second, "mask", stream=stream_id(second, peer))
        assert (refused["status"], refused["text"]) == ("not_available", STRANDED_TEXT)
        # As after a reload, which takes on what is known of the line.
        second.signal(signal.SIGHUP)
        second.wait_logged("generation 2 takes new calls")
        second.wait_logged("desk ready", 2)
        assert ask(second, "mask", stream=stream_id(second, peer))["status"] == "not_available"
        peer.send_packets(packets_of(1)[:10])
        assert peer.close() == 1000
        second.wait(lambda: row_of(second, peer) not in second.workers(), "the orphan's end")
    assert second.stop() == 0
