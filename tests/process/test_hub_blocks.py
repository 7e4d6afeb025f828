"""What `hub.blocks()` can be asked: ends, streams that are over, some streams only, copies, another rate."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soxr

import audiohook
from audiohook.control import attachment
from audiohook.units import NS_PER_S
from tests.support.daemon import Daemon
from tests.support.peer import Peer, Talking, call, decoded, packets_of

StartDaemon = Callable[..., Daemon]


def over(daemon: Daemon, packets: int, direction: str = "inbound") -> Peer:
    """Return a peer whose call is over, with its stream."""
    peer = call(daemon.address, direction=direction)
    peer.send_packets(packets_of(packets)[:packets])
    peer.close()
    stream = daemon.hub.open(call_id=peer.call_id)
    daemon.wait(lambda: stream.over, "the stream's end")
    return peer


def read(hub: audiohook.Hub, ends: int, **options: Any) -> dict[str, list[audiohook.Block | None]]:
    """Return what a loop hands out for each call, up to so many ends."""
    heard: dict[str, list[audiohook.Block | None]] = {}
    for stream, block in hub.blocks(512, start="oldest", ended=True, ends=True, **options):
        heard.setdefault(stream.call_id, []).append(block)
        ends -= block is None
        if not ends:
            break
    return heard


def test_each_stream_ends_once_behind_its_last_block(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    peers = [over(daemon, packets) for packets in (0, 3, 50)]
    heard = read(daemon.hub, 3)
    assert set(heard) == {peer.call_id for peer in peers}
    for peer in peers:
        *blocks, end = heard[peer.call_id]
        assert end is None
        assert sum(block.frames for block in blocks if block is not None) == len(peer.sent) * 320


def test_streams_that_were_over_are_read_only_if_asked_for(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    over(daemon, 20)
    live = call(daemon.address)
    live.send_packets(packets_of(1)[:20])
    heard = []
    for stream, block in daemon.hub.blocks(512, start="oldest", ends=True):
        if block is None:
            heard.append(stream.call_id)
            if len(heard) == 2:
                break
        elif stream.call_id == live.call_id and live.socket.fileno() >= 0:
            live.close()
            brief = over(daemon, 1)  # began after the loop did, and is over before it can be seen
    assert heard == [live.call_id, brief.call_id]


def test_only_some(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    peers = [over(daemon, 10, direction) for direction in ("inbound", "outbound")]
    asked: list[str] = []

    def where(stream: audiohook.Stream) -> bool:
        asked.append(stream.call_id)
        return bool(stream.direction == "outbound")

    assert set(read(daemon.hub, 1, where=where)) == {peers[1].call_id}
    assert sorted(asked) == sorted(peer.call_id for peer in peers), "once each"


def test_copies_and_another_rate(start_daemon: StartDaemon) -> None:
    daemon = start_daemon('context.paths={"/narrow" = {sample_rate = 8000, framing = "message"}}')
    with Peer(daemon.address, target="/narrow") as narrow:
        assert narrow.upgrade().accepted
        narrow.send_packets(packets_of(5)[:60])
        narrow.close()
    wide = over(daemon, 60)
    blocks = [block for block in read(daemon.hub, 2, copy=True)[wide.call_id] if block is not None]
    assert all(block.samples.flags.owndata and not block.is_view for block in blocks)
    heard = read(daemon.hub, 2, rate=16_000, dtype="float32")
    for peer, rate_hz in ((wide, 16_000), (narrow, 8000)):
        samples = np.concatenate([block.samples[:, 0] for block in heard[peer.call_id] if block is not None])
        expected = decoded(peer.sent, rate_hz).astype(np.float32) / 32_768
        assert np.array_equal(samples, expected if rate_hz == 16_000 else soxr.resample(expected, rate_hz, 16_000))


def test_wrong_arguments_are_refused_before_there_is_a_stream(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = start_daemon()
    for arguments, words in (
        ({"rate": 1}, "rate must be"),
        ({"dtype": "float64"}, "dtype must be"),
        ({"frames": 0}, "frames must be"),
        ({"start": "now"}, "start must be"),
        ({"gaps": "zeros"}, "gaps must be"),
    ):
        with pytest.raises(ValueError, match=words):
            daemon.hub.blocks(**arguments)  # type: ignore[call-overload]
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(ImportError, match=r"pip install 'audiohook\[resample\]'"):
        daemon.hub.blocks(rate=16_000)


def test_a_loop_over_a_daemon_that_was_killed_ends(start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while a worker writes on without its supervisor; and the rest of each stream comes first."""
    monkeypatch.setattr(attachment, "WRITER_GONE_NS", NS_PER_S // 2)  # a worker's heart beats ten times a second
    monkeypatch.setattr(attachment, "LOOK_FOR_WRITERS_NS", NS_PER_S // 10)
    daemon = start_daemon("server.workers=1")
    with audiohook.attach(daemon.hub_path) as hub, Talking() as talking:
        peer = call(daemon.address)
        stream = daemon.hub.open(call_id=peer.call_id)
        (worker,) = daemon.workers().values()
        (desk,) = [pid for pid in daemon.processes() if pid not in (worker, daemon.pid)]
        for pid in (daemon.pid, desk):
            os.kill(pid, signal.SIGKILL)
        heard: list[audiohook.Block | None] = []
        outcome: list[BaseException] = []

        def loop() -> None:
            try:
                for _, block in hub.blocks(512, ends=True, start="oldest", copy=True):
                    heard.append(block)
            except audiohook.WriterGone as gone:
                outcome.append(gone)

        thread = threading.Thread(target=loop)
        thread.start()
        talking.add(peer, 1)
        daemon.wait(lambda: len(peer.sent) > 100, "two seconds of audio")
        talking.take(peer)
        length = len(peer.sent) * 320
        daemon.wait(lambda: stream.totals.length == length, "every packet")
        assert thread.is_alive()
        assert None not in heard
        os.kill(worker, signal.SIGKILL)
        thread.join()
        peer.socket.close()
        assert [type(error) for error in outcome] == [audiohook.WriterGone]
        *blocks, end = heard
        assert end is None
        assert np.array_equal(
            np.concatenate([block.samples[:, 0] for block in blocks if block is not None]), decoded(peer.sent)
        )
