"""Clients that command as fast as they can, or never listen: children are reaped, calls lose nothing, others get in."""

import json
import signal

import numpy as np
import pytest

from audiohook.control.commander import Commander
from tests.process.controlling import PlaceCalls, Program, StartDaemon, obedient, result, stream_id, worker_of
from tests.support.daemon import kill
from tests.support.peer import PACKET_FRAMES, Talking, call, decoded
from tests.support.reader import Reader

FLOODS = 4


def test_four_floods_hinder_neither_calls_nor_the_supervisor(start_daemon: StartDaemon) -> None:
    daemon = obedient(start_daemon, "server.workers=3")
    with Talking() as talking, Reader("streams", daemon.hub_path, PACKET_FRAMES) as reader:
        reader.wait_for("attached")
        peers = [call(daemon.address) for _ in range(6)]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        owners = {peer: worker_of(daemon, peer) for peer in peers}
        victim = owners[peers[0]]
        survivors = [peer for peer in peers if owners[peer] != victim]
        streams = {peer: stream_id(daemon, peer) for peer in peers}
        assert survivors
        floods = [
            Program("flood", daemon.hub_path, json.dumps({"do": "pause", "stream": streams[survivors[0]]})),
            Program("flood", daemon.hub_path, json.dumps({"do": "hold", "call": survivors[-1].call_id})),
            Program("flood", daemon.hub_path, json.dumps({"do": "mask", "stream": streams[peers[0]]})),
            Program("flood", daemon.hub_path, '{"do": "nonsense"}'),
        ]
        assert len(floods) == FLOODS
        for flood in floods:
            assert flood.stdout.readline() == "connected\n"
        done = daemon.counter("commands_done")
        daemon.wait(lambda: daemon.counter("commands_done") > done + 2000, "commands, very many")
        # In the middle of it: a worker dies, is reaped and replaced, and so is the desk's own work done.
        deaths = daemon.counter("worker_died")
        kill(victim, signal.SIGKILL)
        daemon.wait(lambda: daemon.counter("worker_died") > deaths, "the dead worker's streams, marked")
        daemon.wait(lambda: len(set(daemon.workers().values()) - {victim}) == 3, "its successor")
        with Commander(daemon.hub_path) as commander:
            assert result(commander.ask("resume", stream=streams[survivors[0]]))["text"] == "later"
        answers = [json.loads(flood.finish()) for flood in floods]
        for flood in floods:
            flood.__exit__()
        for peer in survivors:
            assert talking.take(peer).close() == 1000
        for peer in survivors:
            (event,) = reader.wait_for("read", participant=peer.participant_id)
            assert np.array_equal(reader.samples(event["stream"]), decoded(peer.sent))
            assert (event["jumps"], event["lost"], event["concealed"], event["gap_frames"]) == (0, 0, 0, 0)
    assert answers[0]["ok"] > 100
    assert answers[1]["ok"] > 100
    assert answers[2].keys() & {"gone", "stream_over"}, "what became of the victim's stream"
    assert set(answers[3]) == {"request_unknown"}


@pytest.mark.parametrize("request_text", ['{"do": "nonsense"}', '{"do": "unmask", "stream": "%s"}'])
def test_clients_that_never_listen_are_let_go(
    start_daemon: StartDaemon, place_calls: PlaceCalls, request_text: str
) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    text = request_text.replace("%s", stream_id(daemon, peer))
    stuffers = [Program("stuff", daemon.hub_path, text) for _ in range(FLOODS)]
    for stuffer in stuffers:
        assert stuffer.stdout.readline() == "connected\n"
    with Commander(daemon.hub_path) as commander:
        assert result(commander.ask("pause", stream=stream_id(daemon, peer)))["status"] == "ok"
    for stuffer in stuffers:
        assert stuffer.stdout.readline() == "ended\n"
        stuffer.__exit__()
    assert peer.close() == 1000


def test_clients_that_never_listen_are_let_go_while_the_supervisor_is_stopped(
    start_daemon: StartDaemon, place_calls: PlaceCalls
) -> None:
    """Their commands do not fit into the desk's line, and the answers that say so do not fit into their own."""
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream, desk = stream_id(daemon, peer), daemon.desk()
    request = {"do": "event", "stream": stream, "entity": {"type": "x", "data": "y" * 50_000}}
    kill(daemon.pid, signal.SIGSTOP)
    with (
        Program("stuff", daemon.hub_path, json.dumps(request)) as one,
        Program("stuff", daemon.hub_path, json.dumps(request)) as other,
    ):
        for line in ("connected\n", "ended\n"):
            assert one.stdout.readline() == other.stdout.readline() == line
    kill(daemon.pid, signal.SIGCONT)
    with Commander(daemon.hub_path) as commander:
        # Refused as busy while the line still holds what was stuffed into it.
        daemon.wait(
            lambda: result(commander.ask("pause", stream=stream))["status"] == "ok", "a command that gets through"
        )
    assert daemon.desk() == desk
    assert peer.close() == 1000
