"""Calls whose peers leave and come back, as readers hear them beside a real daemon: one loop, every sample, the gap.

What memory holds of it, instant by instant, is in tests/unit/test_following.py and its neighbours.
"""

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import soxr

import audiohook
from audiohook.cli.audiohookctl import read_status
from audiohook.cli.status_page import render_status
from tests.support.awaiting import Heard, run, until
from tests.support.daemon import Daemon
from tests.support.peer import PACKET_FRAMES, RATE_HZ, Samples, call, call_again, decoded, packets_of
from tests.support.reader import Reader

StartDaemon = Callable[..., Daemon]

SAID = 30
"""Packets on each connection."""


class Call:
    """One peer's call, on one connection after the other."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.peers = [call(daemon.address)]
        self.head = daemon.hub.open(call_id=self.peers[0].call_id)

    @property
    def streams(self) -> list[audiohook.Stream]:
        """Every stream of the call, in order."""
        chain = [self.head]
        while (later := chain[-1].continued_by) is not None:
            chain.append(later)
        return chain

    def say(self) -> None:
        """Say the next packets, and wait until they can be read."""
        peer = self.peers[-1]
        peer.send_packets(packets_of(len(self.peers))[:SAID])
        self.daemon.wait(lambda: self.streams[-1].totals.packets == SAID, "every packet")

    def leave_for_a_hold(self) -> None:
        self.peers[-1].close(1000, "Hold")
        self._left_s = time.monotonic()
        self.daemon.wait(lambda: self.streams[-1].parked, "a PARKED stream")

    def come_back(self) -> None:
        """Be back after a while: what is less than two packets apart is no gap."""
        earlier = len(self.streams)
        self.daemon.wait(lambda: time.monotonic() - self._left_s > 0.1, "the end of the hold")
        self.peers.append(call_again(self.daemon.address, self.peers[0]))
        self.daemon.wait(lambda: len(self.streams) == earlier + 1, "the card that says so")

    def hang_up(self) -> None:
        self.peers[-1].close()

    def expected(self) -> tuple[Samples, list[int]]:
        """Return what must be heard, and the lengths of the gaps, once the call is over."""
        pieces, gaps = [], []
        for peer, stream in zip(self.peers, self.streams, strict=True):
            gap = stream.totals.gaps["held"]
            pieces += [np.zeros(gap, np.int16), decoded(peer.sent)]
            gaps.append(gap)
        assert all(gap % PACKET_FRAMES == 0 for gap in gaps)
        return np.concatenate(pieces), gaps


def gaps_of(blocks: list[audiohook.Block]) -> list[tuple[int, int, str, bool]]:
    """Return the gaps of a loop, those of neighbouring blocks joined."""
    found: list[tuple[int, int, str, bool]] = []
    for gap in (gap for block in blocks for gap in block.gaps):
        if found and found[-1][0] + found[-1][1] == gap.first_frame:
            first, frames, *_ = found.pop()
            found.append((first, frames + gap.frames, gap.cause, gap.measured))
        else:
            found.append((gap.first_frame, gap.frames, gap.cause, gap.measured))
    return found


@contextmanager
def reading(stream: audiohook.Stream, heard: Heard, **options: Any) -> Iterator[threading.Thread]:
    """Read a stream in a thread for as long as the block lasts, which must be until the loop has ended."""
    failed: list[BaseException] = []

    def loop() -> None:
        try:
            for block in stream.blocks(start="oldest", copy=True, **options):
                heard.take(block)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    yield thread
    thread.join(40)
    assert not thread.is_alive()
    assert not failed


def heard_all(heard: Heard, frames: int) -> bool:
    return len(heard.samples) >= frames


@pytest.mark.parametrize("frames", [37, 512])
def test_one_loop_hears_a_call_through_its_holds(start_daemon: StartDaemon, frames: int) -> None:
    daemon = start_daemon()
    made, heard = Call(daemon), Heard()
    with audiohook.attach(daemon.hub_path) as hub:
        with reading(hub.open(call_id=made.head.call_id), heard, frames=frames):
            for connection in range(3):
                made.say()
                if connection == 2:
                    break
                made.leave_for_a_hold()
                enough = len(made.streams) * SAID * PACKET_FRAMES
                daemon.wait(partial(heard_all, heard, enough), "what had been said, before anybody is back")
                daemon.wait(lambda: daemon.watched() == [made.streams[-1].slot], "the watch on the parked stream")
                made.come_back()
                daemon.wait(lambda: daemon.watched() == [made.streams[-1].slot], "the watch on the next stream")
            made.hang_up()
        expected, gaps = made.expected()
        assert np.array_equal(heard.samples, expected)
        assert [(gap[1], *gap[2:]) for gap in gaps_of(heard.blocks)] == [(gap, "held", True) for gap in gaps[1:]]
        assert [gap >= RATE_HZ // 20 for gap in gaps] == [False, True, True], "0.1 s each, less the packets around it"
        assert [stream.state for stream in made.streams] == ["ENDED"] * 3
        assert [stream.taken_on for stream in made.streams] == [True, True, False]
        daemon.wait(lambda: not daemon.watched(), "the watch's end")


def test_a_parked_stream_is_awaited_though_its_worker_is_gone(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    made, heard = Call(daemon), Heard()
    with reading(made.head, heard):
        made.say()
        made.leave_for_a_hold()
        row = made.head.card()["row"]
        worker = daemon.workers()[row]
        os.kill(worker, signal.SIGKILL)
        daemon.wait(lambda: daemon.workers().get(row) not in (None, worker), "another worker")
        made.come_back()
        made.say()
        made.hang_up()
    expected, _ = made.expected()
    assert np.array_equal(heard.samples, expected)


def test_a_loop_ends_if_nobody_comes_back(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("context.reconnect_seconds=1")
    made, heard = Call(daemon), Heard()
    with reading(made.head, heard):
        made.say()
        made.peers[0].abort()
        daemon.wait(lambda: made.head.parked, "a PARKED stream")
    assert (made.head.state, made.head.taken_on, made.head.end_reason) == ("ENDED", False, "peer_vanished")
    assert np.array_equal(heard.samples, decoded(made.peers[0].sent))


def test_programs_that_follow_hear_a_call_once(start_daemon: StartDaemon) -> None:
    """A thread a stream: the return is no stream of its own. One loop over all of them: it is."""
    daemon = start_daemon()
    with Reader("streams", daemon.hub_path) as a_thread_each, Reader("hub", daemon.hub_path) as one_loop:
        for reader in (a_thread_each, one_loop):
            reader.wait_for("attached")
        made = Call(daemon)
        made.say()
        made.leave_for_a_hold()
        made.come_back()
        made.say()
        made.hang_up()
        first, second = (stream.stream_id for stream in made.streams)
        other = call(daemon.address)
        other.send_packets(packets_of(1)[:SAID])
        other.close()
        a_thread_each.wait_for("read", 2)
        expected, (_, gap) = made.expected()
        daemon.wait(lambda: len(one_loop.samples(second)) == gap + SAID * PACKET_FRAMES, "the second stream")
        for reader in (a_thread_each, one_loop):
            reader.finish()
        assert {event["stream"] for event in a_thread_each.seen("began")} == {
            first,
            daemon.hub.open(call_id=other.call_id).stream_id,
        }
        assert np.array_equal(a_thread_each.samples(first), expected)
        (read,) = a_thread_each.seen("read", stream=first)
        assert (read["end"], read["jumps"], read["lost"]) == (len(expected), 0, 0)
        assert np.array_equal(np.concatenate([one_loop.samples(first), one_loop.samples(second)]), expected)


def test_a_coroutine_hears_a_call_through_a_hold(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    made, heard, native = Call(daemon), Heard(), Heard()

    async def main() -> None:
        async with audiohook.attach_async(daemon.hub_path) as hub:
            streams = [hub.open(call_id=made.head.call_id) for _ in range(2)]
            options = ({"rate": 8000, "dtype": "float32"}, {"copy": True})
            reads = [
                asyncio.create_task(into.read(stream, start="oldest", **chosen))
                for into, stream, chosen in zip((heard, native), streams, options, strict=True)
            ]
            await asyncio.to_thread(made.say)
            await asyncio.to_thread(made.leave_for_a_hold)
            await until(lambda: len(native.samples) == SAID * PACKET_FRAMES, "what had been said")
            await until(lambda: daemon.watched() == [made.head.slot], "the watch")
            await asyncio.to_thread(made.come_back)
            await until(lambda: daemon.watched() == [made.streams[-1].slot], "the watch on the next stream")
            await asyncio.to_thread(made.say)
            await asyncio.to_thread(made.hang_up)
            await asyncio.gather(*reads)
            await until(lambda: not daemon.watched(), "the watch's end")

    run(main())
    expected, _ = made.expected()
    assert np.array_equal(native.samples, expected)
    floats = soxr.resample(expected.astype(np.float32) / 32_768, 16_000, 8000)
    assert np.array_equal(np.concatenate([block.samples[:, 0] for block in heard.blocks]), floats)
    assert {block.frames for block in heard.blocks[:-1]} == {512}


def test_the_status_says_how_long_a_stream_is_kept_and_where_it_goes_on(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    made = Call(daemon)

    made.say()
    made.leave_for_a_hold()
    (shown,) = read_status(daemon.hub)["streams"]
    assert (shown["state"], shown["end_reason"], shown["expected_seconds_left"]) == ("PARKED", "peer_closed", None)
    assert 3000 < shown["parked_seconds_left"] <= 3600
    page = render_status(read_status(daemon.hub))
    assert "1 parked" in page
    assert "  PARKED  " in page
    assert re.search("peer_closed, kept for (1 h 00|59) min", page)
    made.come_back()
    first, second = (stream.stream_id for stream in made.streams)
    shown = read_status(daemon.hub)["streams"]
    assert [one["parked_seconds_left"] for one in shown] == [None, None]
    assert [(one["continues"], one["continued_by"]) for one in shown] == [(None, second), (first, None)]
    page = render_status(read_status(daemon.hub))
    assert f"peer_closed, goes on in {second[:8]}" in page
    assert f"goes on from {first[:8]}" in page
    assert daemon.hub.open(call_id=made.head.call_id).stream_id == second, "the live one"
    made.hang_up()
    daemon.wait(lambda: made.streams[-1].over, "its end")
    assert daemon.hub.open(call_id=made.head.call_id).stream_id == first, "whose blocks are those of both"
