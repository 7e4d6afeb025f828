"""Whoever dies or stops between asking and answering, nobody hangs: the client is answered in words, in time."""

import os
import signal
import socket
import time

from audiohook.control import protocol
from audiohook.control.commander import Commander
from audiohook.control.errands import MAX_OF_A_CLIENT, MAX_STREAMS_OF_A_USER
from tests.process.controlling import HUNG_S, Asking, PlaceCalls, StartDaemon, obedient, result, stream_id, worker_of
from tests.support.daemon import Daemon, kill
from tests.support.peer import Peer


def reached(daemon: Daemon) -> None:
    """Wait until a worker has been asked what it will never answer."""
    daemon.wait_logged("asked to unmask")


def still_obeyed(daemon: Daemon, peer: Peer) -> None:
    with Commander(daemon.hub_path) as commander:
        assert result(commander.ask("pause", stream=stream_id(daemon, peer)))["value"] == worker_of(daemon, peer)


def two_workers(daemon: Daemon, place_calls: PlaceCalls) -> tuple[Peer, Peer]:
    """Return a call of each of two workers."""
    owners: dict[int, Peer] = {}
    for peer in place_calls(daemon, 8):
        owners.setdefault(worker_of(daemon, peer), peer)
    one, other = owners.values()
    return one, other


def test_a_worker_that_dies_before_it_answers(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    dies, stays = two_workers(daemon, place_calls)
    with Asking(daemon) as client:
        began_s = time.monotonic()
        client.send("unmask", stream=stream_id(daemon, dies))  # never answered
        reached(daemon)
        kill(worker_of(daemon, dies), signal.SIGKILL)
        answer = client.receive()
        assert (answer["slug"], result(answer)["text"]) == ("gone", "its worker ended before it answered")
        assert time.monotonic() - began_s < HUNG_S
        daemon.wait(lambda: daemon.slot_states()["ABORTED"], "the dead worker's streams")
        over = client.ask("pause", stream=stream_id(daemon, dies))
        assert over["slug"] == "stream_over"
    still_obeyed(daemon, stays)


def test_a_worker_that_dies_of_the_command(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    dies, stays = two_workers(daemon, place_calls)
    with Asking(daemon) as client:
        assert client.ask("disconnect", stream=stream_id(daemon, dies))["slug"] == "gone"
    still_obeyed(daemon, stays)


def test_the_last_words_of_a_worker_are_heard(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    """With commands unread behind the one that it answers: tests/process/test_control_lines.py."""
    daemon = obedient(start_daemon)
    dies, stays = two_workers(daemon, place_calls)
    with Asking(daemon) as client:
        answer = client.ask("event", stream=stream_id(daemon, dies), entity={"type": "last words", "data": 0})
        assert (result(answer)["status"], result(answer)["text"]) == ("ok", "said and done")
    daemon.wait_logged("was killed by signal 9")
    still_obeyed(daemon, stays)


def test_a_stopped_worker_costs_five_seconds_and_the_others_nothing(
    start_daemon: StartDaemon, place_calls: PlaceCalls
) -> None:
    daemon = obedient(start_daemon)
    stopped, well = two_workers(daemon, place_calls)
    stream, worker = stream_id(daemon, stopped), worker_of(daemon, stopped)
    kill(worker, signal.SIGSTOP)
    with Asking(daemon) as client:
        began_s = time.monotonic()
        client.send("pause", stream=stream)
        still_obeyed(daemon, well)
        answer = client.receive()
        assert 5 <= time.monotonic() - began_s < HUNG_S
        assert answer["slug"] == "no_answer"
        assert "it may still be carried out" in answer["error"]
        kill(worker, signal.SIGCONT)
        daemon.wait(lambda: daemon.counter("commands_done") == 2, "the late one, carried out after all")
        assert client.ask("pause", stream=stream)["ok"] is True, "and its late answer is not taken for this one's"


def test_a_desk_that_dies_before_it_answers(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream, desk = stream_id(daemon, peer), daemon.desk()
    with Asking(daemon) as client:
        client.send("unmask", stream=stream)
        reached(daemon)
        kill(desk, signal.SIGKILL)
        assert "closed the connection" in client.receive()["unavailable"]
        daemon.wait_logged("desk ready", 2)
        assert client.ask("pause", stream=stream)["ok"] is True, "by the new desk"
    assert not daemon.logged("worker .* was killed")
    assert peer.close() == 1000


def test_a_stopped_desk_costs_its_clients_time_and_nothing_else(
    start_daemon: StartDaemon, place_calls: PlaceCalls
) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream, desk = stream_id(daemon, peer), daemon.desk()
    with Asking(daemon) as client:
        assert client.ask("pause", stream=stream)["ok"] is True
        kill(desk, signal.SIGSTOP)
        client.send("pause", stream=stream)
        assert "no answer in 8 s" in client.receive()["unavailable"]
        kill(desk, signal.SIGCONT)
        assert client.ask("pause", stream=stream)["ok"] is True
    assert peer.close() == 1000


def test_a_client_that_dies_before_it_is_answered(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream = stream_id(daemon, peer)
    for _ in range(20):
        with Asking(daemon) as client:
            for verb in ("unmask", "resume", "pause"):
                client.send(verb, stream=stream)
            os.kill(client.pid, signal.SIGKILL)
    still_obeyed(daemon, peer)
    assert peer.close() == 1000


def test_what_dead_clients_had_under_way_keeps_no_room(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    asked = [stream_id(daemon, peer) for peer in two_workers(daemon, place_calls)]
    for number in range(MAX_STREAMS_OF_A_USER // MAX_OF_A_CLIENT + 2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(daemon.hub_path)
            for _ in range(MAX_OF_A_CLIENT):
                client.send(protocol.encode({"do": "unmask", "stream": asked[number % 2]}))
            daemon.wait_logged("asked to unmask", (number + 1) * MAX_OF_A_CLIENT)
    with Commander(daemon.hub_path) as commander:
        for stream in asked:
            assert result(commander.ask("pause", stream=stream))["status"] == "ok"


def test_a_stopped_supervisor_is_told_in_words_and_goes_on(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream = stream_id(daemon, peer)
    with Asking(daemon) as client:
        kill(daemon.pid, signal.SIGSTOP)
        assert client.ask("pause", stream=stream)["slug"] == "no_answer"
        kill(daemon.pid, signal.SIGCONT)
        assert client.ask("pause", stream=stream)["ok"] is True
    assert peer.close() == 1000


def test_a_supervisor_that_dies_ends_commands_and_no_call(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream = stream_id(daemon, peer)
    with Asking(daemon) as client:
        client.send("unmask", stream=stream)
        reached(daemon)
        kill(daemon.pid, signal.SIGKILL)
        assert "unavailable" in client.receive()
        daemon.wait_logged("the command line of this worker has ended")
        assert "unavailable" in client.ask("pause", stream=stream)
    assert peer.close() == 1000
