"""Who leaves a `context` call and comes back: parked, continued, replaced, ended. Real daemon, real workers and peers.

The rows of docs/context-dialect.md, "Life".
"""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import audiohook
from audiohook.control.commander import Commander
from audiohook.session.context_client import upgrade_headers
from tests.support.daemon import Daemon, kill
from tests.support.peer import PACKET_FRAMES, RATE_HZ, Peer, decoded, packets_of

PACKETS = packets_of(0)
PACKET_NS = 20_000_000


PEERS: list[Peer] = []


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    while PEERS:
        PEERS.pop().socket.close()


class Caller:
    """One participant's direction of a call, on as many connections as it likes."""

    def __init__(self, daemon: Daemon, call_id: str | None = None, direction: str | None = "inbound") -> None:
        self.daemon = daemon
        self.call_id = call_id or str(uuid.uuid4())
        self.participant_id = str(uuid.uuid4())
        self.direction = direction

    def dial(self, session_id: str = "a-session") -> Peer:
        """Connect and send the request; the answer is still to be read."""
        headers = upgrade_headers(
            call_id=self.call_id,
            session_id=session_id,
            user_id="a-user",
            participant_id=self.participant_id,
            direction=self.direction or "inbound",
        )
        said = [(name, value) for name, value in headers if self.direction or name != "x-genesys-direction"]
        peer = Peer(self.daemon.address, headers=said)
        PEERS.append(peer)
        peer.send(peer.request)
        return peer

    def connect(self, session_id: str = "a-session") -> Peer:
        peer = self.dial(session_id)
        assert peer.read_answer().accepted
        return peer

    def streams(self) -> list[audiohook.Stream]:
        """Every stream of this participant that can still be read, the oldest first."""
        mine = [s for s in self.daemon.hub.streams(ended=True) if s.participant_id == self.participant_id]
        return sorted(mine, key=lambda stream: stream.opened_monotonic_ns)

    def stream(self, number: int, state: str) -> audiohook.Stream:
        """Wait for the participant's stream of this number to be in a state."""

        def there() -> audiohook.Stream | None:
            streams = self.streams()
            return streams[number] if number < len(streams) and streams[number].state == state else None

        return self.daemon.wait(there, f"stream {number} {state}")

    def say(self, peer: Peer, count: int) -> None:
        """Send packets and wait until they are readable."""
        before = self.daemon.counter("packets")
        peer.send_packets(PACKETS[:count])
        self.daemon.wait(lambda: self.daemon.counter("packets") - before == count, "the packets")


def told(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    return [event for event in daemon.events() if event["event"] == kind]


def check_return(caller: Caller, cause: str, spoken_before: int = 5, spoken_after: int = 5) -> None:
    """Hold the two streams of a caller who left and came back against one another, and what is in them."""
    daemon = caller.daemon
    old, new = caller.stream(0, "ENDED"), caller.stream(1, "LIVE")
    assert old.totals.length == spoken_before * PACKET_FRAMES
    card, before = new.card(), old.card()
    assert (card["continues_slot"], card["continues_epoch"]) == (old.slot, old.epoch)
    assert (before["continued_by_slot"], before["continued_by_epoch"]) == (new.slot, new.epoch)
    assert card["media_base"] == spoken_before * PACKET_FRAMES
    (gap,) = new.gaps()
    assert (gap.first_frame, gap.cause, gap.measured) == (spoken_before * PACKET_FRAMES, cause, True)
    assert gap.frames % PACKET_FRAMES == 0
    spans = [new.timeline.span_at(gap.first_frame + gap.frames, new.timeline.newest())]  # type: ignore[arg-type]
    measured_ns = spans[0].arrival_ns - before["last_packet_ns"]
    assert gap.frames // PACKET_FRAMES == round(measured_ns / PACKET_NS) - 1
    totals = new.totals
    assert totals.length == gap.frames + spoken_after * PACKET_FRAMES
    assert totals.gaps[cause] == gap.frames
    heard = new.latest(seconds=spoken_after * PACKET_FRAMES / RATE_HZ).samples[:, 0]
    assert np.array_equal(heard, decoded(PACKETS[:spoken_after]))
    (ended,) = [event for event in told(daemon, "stream_ended") if event["stream"] == old.stream_id]
    assert (ended["continued_by"], ended["length_frames"]) == (new.stream_id, spoken_before * PACKET_FRAMES)
    started = [event for event in told(daemon, "stream_started") if event["stream"] == new.stream_id]
    assert started[0]["continues"] == old.stream_id


def wait_a_moment() -> None:
    """Long enough for a gap to be measured: a lower bound only."""
    time.sleep(0.1)


def test_a_peer_that_leaves_for_a_hold_goes_on_where_it_left(start_daemon: Any) -> None:
    daemon = start_daemon()
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 5)
    assert peer.close(1000, "Hold") == 1000
    old = caller.stream(0, "PARKED")
    assert (old.end_reason, old.close_code, old.over) == ("peer_closed", 1000, False)
    assert np.array_equal(old.latest(seconds=1).samples[:, 0], decoded(PACKETS[:5])), "its audio stays readable"
    assert old.card()["parked_until_ns"] - time.monotonic_ns() > 3500 * 10**9
    wait_a_moment()
    back = caller.connect()
    caller.say(back, 5)
    check_return(caller, "held")
    assert [event["reason"] for event in told(daemon, "parked")] == ["peer_closed"]
    counted = ("parked", "returned", "streams_ended", "peer_closed")
    assert [daemon.counter(name) for name in counted] == [1, 1, 1, 1]
    assert back.close() == 1000
    daemon.wait(lambda: daemon.live() == 0, "the end")


@pytest.mark.parametrize("end", ["no close frame", "reset", "going away"])
def test_a_peer_that_is_lost_goes_on_where_it_was_lost(start_daemon: Any, end: str) -> None:
    caller = Caller(start_daemon())
    peer = caller.connect()
    caller.say(peer, 5)
    if end == "reset":
        peer.abort()
    elif end == "going away":
        assert peer.close(1001) == 1001
    else:
        peer.socket.close()
    caller.stream(0, "PARKED")
    wait_a_moment()
    back = caller.connect()
    caller.say(back, 5)
    check_return(caller, "lost")
    back.close()


def test_nobody_comes_back_and_the_stream_ends_with_its_reason(start_daemon: Any) -> None:
    daemon = start_daemon("context.reconnect_seconds=0.2", "context.hold_ttl_seconds=0.2")
    for leave, reason, code in ((lambda peer: peer.abort(), "peer_vanished", None), (hold, "peer_closed", 1000)):
        caller = Caller(daemon)
        peer = caller.connect()
        caller.say(peer, 3)
        leave(peer)
        stream = caller.stream(0, "ENDED")
        assert (stream.end_reason, stream.close_code) == (reason, code)
        (ended,) = [event for event in told(daemon, "stream_ended") if event["stream"] == stream.stream_id]
        assert (ended["reason"], ended["length_frames"], ended["packets"]) == (reason, 3 * PACKET_FRAMES, 3)
        assert [event["stream"] for event in told(daemon, "parked")][-1] == stream.stream_id
        later = caller.connect()
        caller.say(later, 1)
        assert caller.stream(1, "LIVE").card()["media_base"] == 0, "another call for whoever listens"
        later.close()


def hold(peer: Peer) -> None:
    peer.close(1000, "Hold")


def test_an_ordinary_end_is_an_end(start_daemon: Any) -> None:
    daemon = start_daemon()
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 3)
    peer.close(1000, "bye")
    assert caller.stream(0, "ENDED").end_reason == "peer_closed"
    assert daemon.counter("parked") == 0
    assert caller.connect().close() == 1000
    assert caller.streams()[-1].card()["continues_slot"] == 0xFFFFFFFF


def test_the_newest_connection_wins_on_whatever_worker(start_daemon: Any) -> None:
    daemon = start_daemon("server.workers=2")
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 2)
    rows = {caller.stream(0, "LIVE").card()["row"]}
    for number in range(1, 40):
        newer = caller.connect()
        assert peer.read_close() == (4409, "a newer connection of this call")
        assert peer.answer_close(4409) == "eof"
        caller.say(newer, 2)
        older, live = caller.stream(number - 1, "ENDED"), caller.stream(number, "LIVE")
        assert older.end_reason == "superseded"
        assert (live.card()["continues_slot"], live.card()["continues_epoch"]) == (older.slot, older.epoch)
        rows.add(live.card()["row"])
        peer = newer
        if len(rows) == 2 and number > 3:
            break
        # A call in between moves the next one to the other worker, if placement has a say.
        Caller(daemon).connect()
    assert len(rows) == 2, "never did one worker take a stream over from the other"
    assert daemon.counter("superseded") == daemon.counter("returned") == number
    peer.close()


def test_a_connection_whose_worker_is_stopped_holds_nobody_up_for_long(start_daemon: Any) -> None:
    """The other worker is asked, does not answer, and the new stream begins without a predecessor."""
    daemon = start_daemon("server.workers=2")
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 2)
    row = caller.stream(0, "LIVE").card()["row"]
    stopped = daemon.row("pid")[row]
    kill(stopped, signal.SIGSTOP)
    try:
        back = caller.connect()
        back.send_packets(PACKETS[:4])
        stream = daemon.wait(lambda: next((s for s in caller.streams() if s.card()["row"] != row), None), "a stream")
        daemon.wait(lambda: stream.totals.length == 4 * PACKET_FRAMES, "its audio")
        assert stream.card()["continues_slot"] == 0xFFFFFFFF
    finally:
        kill(stopped, signal.SIGCONT)
    assert peer.read_close()[0] == 4409, "once it goes on, it closes the older one"
    assert back.close() == 1000


def test_another_participant_and_the_other_direction_are_other_streams(start_daemon: Any) -> None:
    """A transfer: streams of one call, linked by its id, and nobody closes anybody."""
    daemon = start_daemon()
    caller = Caller(daemon)
    others = [Caller(daemon, caller.call_id), Caller(daemon, caller.call_id, "outbound")]
    others[1].participant_id = caller.participant_id
    peers = [one.connect() for one in (caller, *others)]
    for peer in peers:
        caller.say(peer, 2)
    live = [stream for stream in daemon.hub.streams() if stream.call_id == caller.call_id]
    assert len(live) == 3
    assert {stream.card()["continues_slot"] for stream in live} == {0xFFFFFFFF}
    assert daemon.counter("superseded") == 0
    for peer in peers:
        assert peer.close() == 1000


def test_who_does_not_say_the_direction_replaces_only_the_same_session(start_daemon: Any) -> None:
    caller = Caller(start_daemon(), direction=None)
    first, second = caller.connect("one"), caller.connect("two")
    assert caller.daemon.counter("superseded") == 0, "they may be the two directions"
    newer = caller.connect("one")
    assert first.read_close()[0] == 4409
    first.answer_close(4409)
    assert newer.close() == second.close() == 1000


def test_the_cti_holds_a_call_that_goes_on_sending(start_daemon: Any) -> None:
    daemon = start_daemon()
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 4)
    with Commander(daemon.hub_path) as commander:
        assert commander.ask("hold", call=caller.call_id)["ok"] is True
        stream = caller.stream(0, "HELD")
        caller.say(peer, 6)
        assert commander.ask("unhold", call=caller.call_id)["ok"] is True
        assert stream.state == "LIVE"
        caller.say(peer, 4)
        totals = stream.totals
        assert (totals.length, totals.decoded) == (14 * PACKET_FRAMES, 8 * PACKET_FRAMES)
        (gap,) = stream.gaps()
        expected = audiohook.Gap(4 * PACKET_FRAMES, 6 * PACKET_FRAMES, "held")
        assert gap == expected
        assert totals.packets == 14
        assert commander.ask("end", call=caller.call_id)["ok"] is True
    assert peer.read_close() == (1000, "call ended")
    assert peer.answer_close(1000) == "eof"
    stream = caller.stream(0, "ENDED")
    assert stream.end_reason == "call_ended"
    kinds = [event["event"] for event in daemon.events() if event.get("stream") == stream.stream_id]
    assert kinds == [
        *("stream_started", "held", "command", "unheld", "command"),
        *("stream_ended", "command"),
    ]


def test_the_cti_commands_a_call_whose_peer_is_away(start_daemon: Any) -> None:
    daemon = start_daemon("context.reconnect_seconds=600")
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 2)
    peer.abort()
    parked = caller.stream(0, "PARKED")
    until_ns = parked.card()["parked_until_ns"]
    with Commander(daemon.hub_path) as commander:
        assert commander.ask("hold", call=caller.call_id)["ok"] is True
        assert parked.card()["parked_until_ns"] > until_ns + 2000 * 10**9, "a hold lasts longer than a reconnection"
        assert commander.ask("unhold", call=caller.call_id)["ok"] is True
        assert 0 < parked.card()["expected_until_ns"] - time.monotonic_ns() <= 10 * 10**9
        refused = commander.ask("mask", stream=parked.stream_id, seconds_back=0)
        assert refused["results"][0]["status"] == "not_available"
        assert parked.state == "PARKED"
        assert commander.ask("end", call=caller.call_id)["ok"] is True
        assert (parked.state, parked.end_reason) == ("ENDED", "call_ended")
        assert commander.ask("hold", call=caller.call_id)["slug"] == "stream_over"
    assert [event["verb"] for event in told(daemon, "command")] == ["hold", "unhold", "end"]


def test_a_call_on_hold_that_loses_its_peer_waits_as_long_as_a_hold(start_daemon: Any) -> None:
    daemon = start_daemon("context.reconnect_seconds=0")
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 5)
    with Commander(daemon.hub_path) as commander:
        assert commander.ask("hold", call=caller.call_id)["ok"] is True
    peer.abort()
    caller.stream(0, "PARKED")
    wait_a_moment()
    back = caller.connect()
    caller.say(back, 5)
    check_return(caller, "held")
    back.close()


def test_a_parked_stream_outlives_its_worker_and_goes_on_at_another(start_daemon: Any) -> None:
    daemon = start_daemon("server.workers=1")
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 5)
    peer.abort()
    caller.stream(0, "PARKED")
    pid = daemon.row("pid")[0]
    os.kill(pid, signal.SIGKILL)
    daemon.wait(lambda: daemon.row("pid")[0] not in (0, pid), "another worker")
    assert caller.streams()[0].state == "PARKED"
    back = caller.connect()
    caller.say(back, 5)
    check_return(caller, "lost")
    back.close()


def test_a_call_whose_worker_was_killed_goes_on_in_a_stream_that_says_so(start_daemon: Any) -> None:
    daemon = start_daemon("server.workers=1")
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 5)
    pid = daemon.row("pid")[0]
    os.kill(pid, signal.SIGKILL)
    aborted = caller.stream(0, "ABORTED")
    daemon.wait(lambda: daemon.row("pid")[0] not in (0, pid), "another worker")
    back = caller.connect()
    caller.say(back, 5)
    new = caller.stream(1, "LIVE")
    assert (new.card()["continues_slot"], new.card()["continues_epoch"]) == (aborted.slot, aborted.epoch)
    assert new.card()["media_base"] == 5 * PACKET_FRAMES
    assert new.gaps()[0].cause == "lost"
    back.close()
    peer.socket.close()


def test_when_there_is_no_other_slot_the_oldest_parked_stream_makes_room(start_daemon: Any) -> None:
    daemon = start_daemon("memory.streams=2")
    parked = [Caller(daemon), Caller(daemon)]
    for caller in parked:
        peer = caller.connect()
        caller.say(peer, 2)
        peer.abort()
        caller.stream(0, "PARKED")
    third = Caller(daemon)
    peer = third.connect()
    third.say(peer, 2)
    assert (parked[0].streams(), parked[1].streams()[0].state) == ([], "PARKED")
    ended = told(daemon, "stream_ended")
    assert [(event["call"], event["reason"]) for event in ended] == [(parked[0].call_id, "peer_vanished")]
    back = parked[1].connect()
    parked[1].say(back, 2)
    assert [stream.card()["media_base"] for stream in parked[1].streams()] == [0], "its own slot was the last one"
    assert back.close() == peer.close() == 1000


def test_a_stop_ends_whoever_is_parked(start_daemon: Any) -> None:
    daemon = start_daemon()
    caller = Caller(daemon)
    peer = caller.connect()
    caller.say(peer, 2)
    hold(peer)
    parked = caller.stream(0, "PARKED")
    assert daemon.stop() == 0
    assert (parked.state, parked.end_reason) == ("ENDED", "shutdown")
