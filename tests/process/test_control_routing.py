"""Commands reach the worker that has the stream, every stream of a call, and nobody else; and the answers come back."""

import io
import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audiohook.cli import audiohookctl
from audiohook.control.commander import Commander
from tests.process.controlling import Asking, PlaceCalls, StartDaemon, obedient, result, stream_id, worker_of


def test_each_stream_is_commanded_at_its_own_worker(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon, "server.workers=3")
    peers = place_calls(daemon, 9)
    owners = [worker_of(daemon, peer) for peer in peers]
    assert len(set(owners)) > 1
    with Commander(daemon.hub_path) as commander:
        for peer, owner in zip(peers, owners, strict=True):
            stream = stream_id(daemon, peer)
            answer = commander.ask("pause", stream=stream[:13])
            assert answer["ok"] is True
            expected = {"stream": stream, "call": peer.call_id, "status": "ok", "value": owner, "text": ""}
            assert result(answer) == expected
            later = result(commander.ask("resume", stream=stream))
            assert (later["value"], later["text"]) == (owner, "later")
    assert daemon.counter("commands_done") == 2 * len(peers)
    for peer in peers:
        assert peer.close() == 1000


def test_every_verb_says_what_became_of_it_and_what_was_done_is_in_the_event_ring(
    start_daemon: StartDaemon, place_calls: PlaceCalls
) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream = stream_id(daemon, peer)
    with Asking(daemon) as client:
        assert result(client.ask("mask", stream=stream, seconds_back=1.5))["value"] == 1_500_000_000
        refused = client.ask("unhold", call=peer.call_id, ticket=5)
        assert (refused["ok"], refused["slug"], refused["ticket"]) == (False, "refused", 5)
        assert refused["error"] == f"stream {stream[:8]}: not now"
        unable = client.ask("end", call=peer.call_id)
        assert (unable["slug"], result(unable)["text"]) == ("not_available", "never here")
        entity = {"type": "transcript", "data": {"text": "grüezi"}}
        assert result(client.ask("event", stream=stream, entity=entity))["value"] == len(
            json.dumps(entity, ensure_ascii=False, separators=(",", ":")).encode()
        )
        events = [event for event in daemon.events() if event["event"] == "command"]
        assert [(event["verb"], event["stream"], event["call"]) for event in events] == [("mask", stream, peer.call_id)]
        assert (events[0]["uid"], events[0]["pid"], events[0]["argument"]) == (os.getuid(), client.pid, 1_500_000_000)
        assert "grüezi" not in json.dumps(daemon.events(), ensure_ascii=False)
    assert (daemon.counter("commands_done"), daemon.counter("commands_refused")) == (2, 2)
    assert peer.close() == 1000


def test_a_call_is_all_of_its_streams(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    peers = place_calls(daemon, 4)
    peers += place_calls(daemon, 2, call_id=peers[0].call_id)
    with Commander(daemon.hub_path) as commander:
        answer = commander.ask("hold", call=peers[0].call_id.upper())
        assert answer["ok"] is True
        mine = [peers[0], *peers[4:]]
        assert {one["stream"]: one["value"] for one in answer["results"]} == {
            stream_id(daemon, peer): worker_of(daemon, peer) for peer in mine
        }
        for peer in peers:
            assert peer.close() == 1000
        daemon.wait(lambda: daemon.live() == 0, "the end of every call")
        assert commander.ask("hold", call=peers[0].call_id)["slug"] == "stream_over"
        assert commander.ask("hold", call="unheard of")["slug"] == "no_such_call"


def test_several_streams_with_this_start_are_listed_and_none_is_touched(
    start_daemon: StartDaemon, place_calls: PlaceCalls
) -> None:
    daemon = obedient(start_daemon, "memory.streams=40")
    peers = place_calls(daemon, 33)  # there are 16 digits to begin with
    ids = sorted(stream_id(daemon, peer) for peer in peers)
    start = next(one[0] for one, after in itertools.pairwise(ids) if one[0] == after[0])
    with Commander(daemon.hub_path) as commander:
        answer = commander.ask("disconnect", stream=start)
        assert answer["slug"] == "ambiguous"
        assert answer["streams"] == [one for one in ids if one[0] == start][:20]
        assert all(one in answer["error"] for one in answer["streams"])
    assert (daemon.counter("commands_done"), daemon.live()) == (0, len(peers))


def test_a_worker_asks_another_through_the_supervisor(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    daemon = obedient(start_daemon)
    peers = place_calls(daemon, 8)
    owners = {worker_of(daemon, peer): peer for peer in peers}
    assert len(owners) == 2
    (first, asking), (second, asked) = owners.items()
    other = daemon.hub.open(participant_id=asked.participant_id)
    with Commander(daemon.hub_path) as commander:

        def take_over(epoch: int) -> tuple[str, int, str]:
            entity = {"type": "takeover", "data": {"slot": other.slot, "epoch": epoch}}
            answer = result(commander.ask("event", stream=stream_id(daemon, asking), entity=entity))
            return answer["status"], answer["value"], answer["text"]

        assert take_over(other.epoch) == ("ok", second, f"let go of slot {other.slot}")
        assert take_over(other.epoch + 1) == ("gone", 0, "the stream is over")
        assert first != second


def test_the_daemon_says_what_it_cannot_do(start_daemon: StartDaemon, place_calls: PlaceCalls) -> None:
    """The real daemon, with whatever its workers can do: one of the answers that there are, and none hangs."""
    daemon = start_daemon()
    (peer,) = place_calls(daemon, 1)
    with Commander(daemon.hub_path) as commander:
        answer = commander.ask("unmask", stream=stream_id(daemon, peer))
        assert result(answer)["status"] in ("ok", "refused", "not_available")
        assert answer["ok"] == (result(answer)["status"] == "ok")


Ctl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ctl:
    """Run audiohookctl in this process; return its exit status and what it wrote to stdout and stderr."""

    def run(path: str, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            status = audiohookctl.main(["--hub", path, *arguments])
        except SystemExit as usage:
            status = int(usage.code or 0)
        return (status, *capsys.readouterr())

    return run


def test_audiohookctl_in_words_and_exit_statuses(
    start_daemon: StartDaemon, place_calls: PlaceCalls, tmp_path: Path, ctl: Ctl
) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    stream = stream_id(daemon, peer)
    entity = tmp_path / "entity.json"
    entity.write_text('{"type": "transcript", "data": {}}')
    for arguments, stdin, status, out, err in (
        (("pause", stream[:8]), "", 0, f"{stream}: pause asked for\n", ""),
        (("resume", stream[:8]), "", 0, f"{stream}: resume asked for (later)\n", ""),
        (("mask", stream, "--last", "2"), "", 0, f"{stream}: masked from frame 2000000000 on\n", ""),
        (("hold", peer.call_id), "", 0, f"{stream}: on hold\n", ""),
        (("event", stream), '{"type": "x", "data": 1}', 0, f"{stream}: event sent\n", ""),
        (("event", stream, "--file", str(entity)), "", 0, f"{stream}: event sent\n", ""),
        (("unhold", peer.call_id), "", 1, "", f"audiohookctl: stream {stream}: refused: not now\n"),
        (("pause", "zz"), "", 1, "", "audiohookctl: stream must be the start of a stream's id\n"),
        (("hold", "nobody"), "", 1, "", "audiohookctl: no stream has this call id\n"),
    ):
        assert ctl(daemon.hub_path, *arguments, stdin=stdin) == (status, out, err)
    for arguments, stdin, status, words in (
        (("event", stream), '{"type": "x", "data": NaN}', 1, "the entity is not JSON"),
        (("event", stream), "[" * 100_000, 1, "the entity is not JSON"),
        (("event", stream), '{"type": "x"}', 1, "an object with type and data"),
        (("event", stream, "--file", "/nowhere"), "", 1, "/nowhere"),
        (("mask", stream, "--last", "nan"), "", 2, "--last"),
        (("pause",), "", 2, "STREAM"),
    ):
        returned, out, err = ctl(daemon.hub_path, *arguments, stdin=stdin)
        assert (returned, out) == (status, "")
        assert words in err
    status, out, _ = ctl(daemon.hub_path, "hold", peer.call_id, "--json")
    assert (status, result(json.loads(out))["stream"]) == (0, stream)
    status, out, _ = ctl(daemon.hub_path, "unhold", peer.call_id, "--json")
    assert (status, json.loads(out)["slug"]) == (1, "refused")


def test_audiohookctl_without_a_hub(tmp_path: Path, ctl: Ctl) -> None:
    status, out, err = ctl(str(tmp_path / "hub"), "pause", "3f")
    assert (status, out) == (1, "")
    assert err.startswith("audiohookctl: no hub at ")
