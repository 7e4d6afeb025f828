"""AudioHook v2 against the running daemon: what Genesys sends is what a reader finds, and when it was said."""

import json
import signal
from collections.abc import Callable

import numpy as np
import pytest

import audiohook
from audiohook.codec import l16
from audiohook.memory import layout
from audiohook.session.audiohook2_client import offer, probe
from audiohook.session.audiohook2_messages import ContinuedSession
from audiohook.wire.client import masked_frame
from tests.support.daemon import Daemon
from tests.support.genesys import BINARY, MASK, Genesys, new_caller

Start = Callable[..., Daemon]


def speech(frames: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed)
    return noise.integers(-20_000, 20_000, (frames, 2)).astype(np.int16)


def everything(stream: audiohook.Stream) -> np.ndarray:
    return np.concatenate([block.samples.copy() for block in stream.blocks(800, start="oldest")])


def test_every_sample_of_both_channels_is_read_back(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        for number, frames in enumerate((160, 800, 1, 1600, 799, 8000)):
            genesys.say(speech(frames, number))
        stream = daemon.wait(lambda: next(daemon.hub.streams(), None), "a stream")
        assert (stream.dialect, stream.codec, stream.sample_rate) == ("audiohook2", "pcmu", 8000)
        assert stream.channel_names == ("external", "internal")
        assert stream.call_id == genesys.caller.conversation_id
        (started,) = [event for event in daemon.events() if event["event"] == "stream_started"]
        assert started["correlation"] == genesys.caller.correlation_id
        assert daemon.logged(f"stream started .* correlation={genesys.caller.correlation_id}$")
        genesys.close()
        assert not genesys.client.faults
    assert np.array_equal(everything(stream), genesys.sent)
    assert stream.end_reason == "peer_closed"
    assert stream.totals.decoded == len(genesys.sent) == stream.totals.length
    assert daemon.stop() == 0


def test_discarded_and_paused_time_is_on_the_timeline(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        genesys.say(speech(800))
        genesys.client.discard(4000)
        genesys.say(speech(1600, 1))
        genesys.close()
    stream = daemon.hub.open(call_id=genesys.caller.conversation_id)
    assert stream.totals.gaps["discarded"] == 4000
    assert [(gap.first_frame, gap.frames, gap.cause) for gap in stream.gaps()] == [(800, 4000, "discarded")]
    heard = everything(stream)
    assert np.array_equal(heard[:800], genesys.sent[:800])
    assert not heard[800:4800].any()
    assert np.array_equal(heard[4800:], genesys.sent[800:])


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_l16_is_read_back_in_the_byte_order_that_is_set(start_daemon: Start, byte_order: l16.ByteOrder) -> None:
    daemon = start_daemon(f"audiohook2.l16_byte_order={byte_order}")
    with Genesys(daemon.address, offers=(offer("internal", media_format="L16"),)) as genesys:
        genesys.opened()
        samples = speech(800)[:, 0]
        genesys.socket.sendall(masked_frame(l16.encode(samples, byte_order), MASK, BINARY))
        genesys.client.audio_sent(len(samples))
        genesys.close()
        assert not genesys.client.faults
    stream = daemon.hub.open(call_id=genesys.caller.conversation_id)
    assert (stream.codec, stream.channel_names) == ("l16", ("internal",))
    assert np.array_equal(everything(stream)[:, 0], samples)


def test_what_a_peer_says_beside_its_audio_is_counted_and_in_no_log(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address, new_caller(ani="tel:+15551234567", ani_name="J. Doe")) as genesys:
        genesys.opened()
        genesys.client.error(415, "call from +15557654321")
        genesys.client.dtmf("7")
        genesys.client.update("de-DE")
        genesys.until("updated").close()
        assert not genesys.client.faults
    daemon.wait(lambda: daemon.counter("streams_ended") == 1, "the end")
    assert [daemon.counter(name) for name in ("peer_errors", "dtmf", "updates")] == [1, 1, 1]
    assert daemon.logged("reports an error code=415 ")
    assert not daemon.logged("15551234567|15557654321|Doe")  # not "555", which is in many an id
    assert daemon.hub.open(call_id=genesys.caller.conversation_id).card()["ani"] == "tel:+15551234567"


def test_a_session_without_media_is_a_stream_of_no_length(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address, offers=()) as genesys:
        genesys.opened().close()
        assert (genesys.client.media, genesys.client.faults) == (None, [])
    stream = daemon.hub.open(call_id=genesys.caller.conversation_id)
    assert (stream.codec, stream.totals.length, stream.end_reason) == ("none", 0, "peer_closed")


def test_a_stop_of_the_daemon_is_a_disconnect_and_the_peer_closes(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        genesys.say(speech(800))
        stream = daemon.wait(lambda: next(daemon.hub.streams(), None), "a stream")
        daemon.wait(lambda: stream.totals.length == 800, "the audio")
        daemon.signal(signal.SIGQUIT)
        genesys.until("disconnect").until("closed")
        assert not genesys.client.faults
    daemon.wait(lambda: stream.over, "the end")
    assert (stream.end_reason, stream.totals.length) == ("shutdown", 800)
    assert daemon.wait_exit() == 0


def test_the_probe_is_answered_and_is_no_call(start_daemon: Start) -> None:
    daemon = start_daemon()
    caller = probe(
        "30b0e395-84d3-4570-ac13-9a62d8f514c0",
        "d7934305-0972-4844-938e-9060eef73d05",
        "e160e428-53e2-487c-977d-96989bf5c99d",
    )
    with Genesys(daemon.address, caller) as genesys:
        genesys.opened().close()
        assert not genesys.client.faults
    daemon.wait(lambda: daemon.counter("probes") == 1, "the probe's counter")
    assert daemon.counter("streams_opened") == 0
    assert list(daemon.hub.streams(ended=True)) == []


def test_a_second_session_continues_the_first_without_overlap(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address) as first:
        first.opened()
        first.say(speech(8000))
        old = daemon.wait(lambda: next((s for s in daemon.hub.streams() if s.totals.length == 8000), None), "the audio")
        first.socket.close()
        daemon.wait(lambda: old.over, "the first session's end")
    entry = ContinuedSession(first.caller.session_id, 1, 1)
    with Genesys(daemon.address, None, continued=(entry,), first_frames=4000) as second:
        second.opened()
        stream = daemon.wait(lambda: next(daemon.hub.streams(), None), "the second stream")
        card = stream.card()
        assert (card["continues_slot"], card["continues_epoch"]) == (old.slot, old.epoch)
        assert (old.card()["continued_by_slot"], old.card()["continued_by_epoch"]) == (stream.slot, stream.epoch)
        assert stream.timeline.media_base == 8000
        second.close()


def test_the_newest_session_that_is_named_is_continued_and_no_other_organizations(start_daemon: Start) -> None:
    daemon = start_daemon()

    def placed(frames: int, first_frames: int = 0, named: tuple[str, ...] = (), **fields: str) -> audiohook.Stream:
        continued = tuple(ContinuedSession(session_id, 1, 1) for session_id in named)
        caller = new_caller(**fields)
        with Genesys(daemon.address, caller, continued=continued, first_frames=first_frames) as genesys:
            genesys.opened()
            genesys.say(speech(frames))
            genesys.close()
            assert not genesys.client.faults
        return daemon.hub.open(call_id=caller.conversation_id)

    older, newer = placed(800), placed(1600)
    named = (older.card()["session_id"], newer.card()["session_id"])
    third = placed(160, 1600, named)
    card = third.card()
    assert (card["continues_slot"], card["continues_epoch"]) == (newer.slot, newer.epoch)
    assert (third.timeline.media_base, third.totals.decoded) == (1600, 160)
    foreign = placed(160, 1600, named, organization_id="11111111-2222-4333-8444-555555555555")
    assert foreign.card()["continues_slot"] == layout.NO_SLOT


@pytest.fixture
def keys(tmp_path):  # type: ignore[no-untyped-def]
    path = tmp_path / "keys.toml"
    path.write_text(
        '[[key]]\norganization = "d7934305-0972-4844-938e-9060eef73d05"\napi_key = "SGVsbG8="\nsecret = ""\n'
    )
    path.chmod(0o600)
    return path


def test_only_known_keys_enter_and_a_new_one_does_without_a_restart(start_daemon: Start, keys) -> None:  # type: ignore[no-untyped-def]
    daemon = start_daemon(f'auth.keys_file="{keys}"')
    with Genesys(daemon.address) as stranger:
        answer = stranger.upgrade(api_key="c3RyYW5nZXI=")
        assert (answer.status, answer.body.strip()) == (401, b"unauthorized")
    with Genesys(daemon.address) as known:
        known.opened().close()
    keys.write_text(keys.read_text().replace("SGVsbG8=", "c3RyYW5nZXI="))
    daemon.wait_logged("keys file read again", len(daemon.workers()))
    with Genesys(daemon.address) as rotated:
        rotated.opened(api_key="c3RyYW5nZXI=").close()
    assert daemon.counter("unauthorized") == 1


def test_a_masked_stream_keeps_its_length_and_none_of_its_sound(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        genesys.say(speech(800))
        stream = daemon.wait(lambda: next(daemon.hub.streams(), None), "a stream")
        daemon.wait(lambda: stream.totals.length == 800, "the audio")
        masked = command(daemon, {"do": "mask", "stream": stream.stream_id})
        assert masked["ok"], masked
        genesys.say(speech(1600, 1))
        daemon.wait(lambda: stream.totals.length == 2400, "the masked audio")
        assert command(daemon, {"do": "unmask", "stream": stream.stream_id})["ok"]
        genesys.say(speech(160, 2))
        genesys.close()
    heard = everything(stream)
    assert stream.totals.gaps["masked"] == 1600
    assert np.array_equal(heard[:800], genesys.sent[:800])
    assert not heard[800:2400].any()
    assert np.array_equal(heard[2400:], genesys.sent[2400:])


def test_pause_resume_event_and_disconnect_reach_the_peer(start_daemon: Start) -> None:
    daemon = start_daemon()
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        genesys.say(speech(800))
        stream = daemon.wait(lambda: next(daemon.hub.streams(), None), "a stream")
        assert command(daemon, {"do": "pause", "stream": stream.stream_id})["ok"]
        genesys.until("pause")
        daemon.wait(lambda: stream.state == "PAUSED", "the pause")
        assert command(daemon, {"do": "resume", "stream": stream.stream_id})["ok"]
        genesys.until("resume")
        daemon.wait(lambda: stream.state == "LIVE", "the end of the pause")
        entity = {"type": "barge_in", "data": {}}
        assert command(daemon, {"do": "event", "stream": stream.stream_id, "entity": entity})["ok"]
        genesys.until("event")
        assert command(daemon, {"do": "disconnect", "stream": stream.stream_id})["ok"]
        genesys.until("disconnect").until("closed")
        assert not genesys.client.faults
    daemon.wait(lambda: stream.over, "the end")
    assert stream.end_reason == "disconnected"


def command(daemon: Daemon, request: dict[str, object]) -> dict[str, object]:
    """Ask the hub for something as `audiohookctl` does; return the answer."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hub:
        hub.settimeout(20)
        hub.connect(daemon.hub_path)
        hub.send(json.dumps(request).encode())
        answer: dict[str, object] = json.loads(hub.recv(65_536))
        return answer


def test_a_keys_file_that_others_can_read_stops_the_start_in_words(keys) -> None:  # type: ignore[no-untyped-def]
    keys.chmod(0o644)
    with Daemon(f'auth.keys_file="{keys}"') as daemon:
        assert daemon.wait_exit() == 2
        assert "chmod 600" in daemon.log
        assert "SGVsbG8=" not in daemon.log
