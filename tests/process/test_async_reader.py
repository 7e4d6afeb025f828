"""The asynchronous reader beside a real daemon: the same samples, no blocked event loop, nothing left behind."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing

import numpy as np
import pytest
import soxr

import audiohook
from tests.support.awaiting import Heard, leaving_nothing, run, ticking, until
from tests.support.daemon import Daemon, kill
from tests.support.peer import Talking, call, decoded, packets_of

StartDaemon = Callable[..., Daemon]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    with leaving_nothing():
        yield


# ------------------------------------------------------------------------------------------------ the same samples


@pytest.mark.parametrize("frames", [37, 512])
def test_one_stream_from_its_first_frame_to_its_end(start_daemon: StartDaemon, frames: int) -> None:
    daemon = start_daemon()

    async def main() -> None:
        with Talking() as talking:
            peer = call(daemon.address)
            talking.add(peer, 1)
            heard = Heard()
            async with audiohook.attach_async(daemon.hub_path) as hub:
                stream = hub.open(call_id=peer.call_id)
                reading = asyncio.create_task(heard.read(stream, frames=frames, start="oldest", copy=True))
                await until(lambda: len(heard.samples) > 16_000, "a second")
                assert daemon.watched() == [stream.slot], "the stream's own word wakes"
                talking.take(peer).close()
                await reading
                assert (stream.state, stream.end_reason, stream.totals.length) == (
                    "ENDED",
                    "peer_closed",
                    len(heard.samples),
                )
                await until(lambda: not daemon.watched(), "the watch's end")
            assert np.array_equal(heard.samples, decoded(peer.sent))

    run(main())


def test_every_loop_of_a_hub_at_once(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()

    async def main() -> None:
        by_stream: dict[str, Heard] = {}
        by_hub: dict[str, Heard] = {}
        ended: list[str] = []
        events: list[str] = []

        async def follow(hub: audiohook.AsyncHub) -> None:
            async with asyncio.TaskGroup() as tasks:
                async for stream in hub.streams(follow=True):
                    heard = by_stream[stream.stream_id] = Heard()
                    tasks.create_task(heard.read(stream, frames=320, start="oldest", copy=True))

        async def everything(hub: audiohook.AsyncHub) -> None:
            async for stream, block in hub.blocks(999, copy=True, ends=True):
                if block is None:
                    ended.append(stream.stream_id)
                else:
                    by_hub.setdefault(stream.stream_id, Heard()).take(block)

        async def listen(hub: audiohook.AsyncHub) -> None:
            async for event in hub.events(follow=True, oldest=False):
                events.append(event["event"])

        with Talking() as talking:
            async with audiohook.attach_async(daemon.hub_path) as hub:
                loops = [asyncio.create_task(loop(hub)) for loop in (follow, everything, listen)]
                await until(lambda: hub.arena and all(not loop.done() for loop in loops), "loops")
                await asyncio.sleep(0)
                peers = [call(daemon.address) for _ in range(4)]
                for number, peer in enumerate(peers):
                    talking.add(peer, number)
                await until(lambda: all(len(peer.sent) > 50 for peer in peers), "50 packets of each call")
                for peer in peers:
                    talking.take(peer).close()
                await until(lambda: len(ended) == 4 and events.count("stream_ended") == 4, "four ends")
                ids = {hub.open(call_id=peer.call_id).stream_id: peer for peer in peers}
                hub.stop_following()
                await asyncio.gather(*loops)
            for stream_id, peer in ids.items():
                expected = decoded(peer.sent)
                assert np.array_equal(by_stream[stream_id].samples, expected)
                assert np.array_equal(by_hub[stream_id].samples, expected)
            assert sorted(ended) == sorted(ids)
            assert events.count("stream_started") == 4

    run(main())


def test_resampled_as_floats(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()

    async def main() -> None:
        with call(daemon.address) as peer:
            peer.send_packets(packets_of(3)[:200])
            one, all_of_them = Heard(), Heard()
            async with audiohook.attach_async(daemon.hub_path) as hub:
                await until(lambda: hub.open(call_id=peer.call_id).totals.packets == 200, "every packet")
                peer.close()
                await one.read(hub.open(call_id=peer.call_id), start="oldest", rate=8000, dtype="float32")
                loop = hub.blocks(512, start="oldest", rate=8000, dtype="float32", ended=True, ends=True)
                async with aclosing(loop):  # type: ignore[type-var]
                    async for _, block in loop:
                        if block is None:
                            break
                        all_of_them.take(block)
        expected = soxr.resample(decoded(peer.sent).astype(np.float32) / 32_768, 16_000, 8000)
        for heard in (one, all_of_them):
            samples = np.concatenate([block.samples[:, 0] for block in heard.blocks])
            assert samples.dtype == np.float32
            assert np.array_equal(samples, expected)

    run(main())


# ------------------------------------------------------------------------------------------------ the event loop


def test_catching_up_leaves_the_event_loop_its_turns(start_daemon: StartDaemon) -> None:
    """There is always a next block, so nothing is ever awaited by itself."""
    daemon = start_daemon()

    async def main() -> None:
        with call(daemon.address) as peer:
            peer.send_packets(packets_of(1) * 4)
            async with audiohook.attach_async(daemon.hub_path) as hub:
                stream = hub.open(call_id=peer.call_id)
                await until(lambda: stream.totals.packets == 1000, "every packet")
                for loop in (stream.blocks(4, start=0), hub.blocks(4, start="oldest")):
                    turns = read = 0

                    async def other() -> None:
                        nonlocal turns
                        while True:
                            turns += 1
                            await asyncio.sleep(0)

                    task = asyncio.create_task(other())
                    async with aclosing(loop):  # type: ignore[type-var]
                        async for _ in loop:
                            read += 1
                            if read == 25_000:
                                break
                    task.cancel()
                    assert turns > 20

    run(main())


def test_a_desk_that_stands_still_blocks_no_event_loop(start_daemon: StartDaemon) -> None:
    """It is asked for a watch and does not answer for 5 s; the stream is read all the same."""
    daemon = start_daemon()

    async def main() -> None:
        with Talking() as talking:
            peer = call(daemon.address)
            talking.add(peer, 1)
            heard = Heard()
            async with audiohook.attach_async(daemon.hub_path) as hub:
                assert daemon.watched() == []
                kill(daemon.desk(), signal.SIGSTOP)
                async with ticking() as turns:
                    reading = asyncio.create_task(heard.read(hub.open(call_id=peer.call_id), frames=320))
                    await until(lambda: len(heard.blocks) > 20, "20 blocks")
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                    assert not daemon.watched()
                    kill(daemon.desk(), signal.SIGCONT)
                assert max(turns) < 2.5, "asking the desk takes 5 s"

    run(main())


def test_one_that_cannot_attach_is_cancelled_at_once_and_leaves_nothing(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()

    async def attach() -> None:
        async with audiohook.attach_async(daemon.hub_path):
            pass

    async def main() -> None:
        desk = daemon.desk()
        kill(desk, signal.SIGSTOP)
        async with ticking() as turns:
            attaching = asyncio.create_task(attach())
            await until(lambda: len(turns) > 5, "five turns")
            attaching.cancel()
            await asyncio.gather(attaching, return_exceptions=True)
            assert attaching.cancelled()
            assert max(turns) < 2.5
        kill(desk, signal.SIGCONT)

    run(main())


def test_no_hub_is_said_as_it_is_by_the_synchronous_form() -> None:
    async def main() -> None:
        with pytest.raises(audiohook.HubUnavailable, match="is audiohookd running"):
            async with audiohook.attach_async("/nowhere/hub.sock"):
                pass

    run(main())


def test_many_streams_each_with_a_task(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("memory.streams=64", "hub.max_watched=20")

    async def main() -> None:
        with Talking() as talking:
            peers = [call(daemon.address) for _ in range(40)]
            for number, peer in enumerate(peers):
                talking.add(peer, number)
            heard = [Heard() for _ in peers]
            async with audiohook.attach_async(daemon.hub_path) as hub:
                streams = [hub.open(call_id=peer.call_id) for peer in peers]
                tasks = [
                    asyncio.create_task(one.read(stream, frames=320, start="oldest", copy=True))
                    for one, stream in zip(heard, streams, strict=True)
                ]
                await until(lambda: len(daemon.watched()) == 20, "as many watches as the desk gives")
                await until(lambda: all(len(one.blocks) > 30 for one in heard), "30 blocks of each")
                assert sum(thread.name.startswith("audiohook") for thread in threading.enumerate()) == 2
                for peer in peers:
                    talking.take(peer).close()
                await asyncio.gather(*tasks)
            for one, peer in zip(heard, peers, strict=True):
                assert np.array_equal(one.samples, decoded(peer.sent))

    run(main())
