"""How loops of the asynchronous reader end: cancelled, left, told of a loss, or because the daemon is gone."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import audiohook
from tests.support.awaiting import Heard, leaving_nothing, run, until
from tests.support.daemon import Daemon
from tests.support.peer import Talking, call, decoded, packets_of

StartDaemon = Callable[..., Daemon]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    with leaving_nothing():
        yield


def test_a_cancelled_task_gives_the_watch_back(start_daemon: StartDaemon) -> None:
    """Whether it waits for a block, or uses one; and not before the last reader of the stream has ended."""
    daemon = start_daemon()

    async def hold(stream: audiohook.AsyncStream, held: asyncio.Event) -> None:
        async for _ in stream.blocks(320, start="oldest"):
            held.set()
            await asyncio.Event().wait()

    async def main() -> None:
        with call(daemon.address) as peer:
            peer.send_packets(packets_of(1)[:5])
            async with audiohook.attach_async(daemon.hub_path) as hub:
                stream = hub.open(call_id=peer.call_id)
                await until(lambda: stream.totals.packets == 5, "every packet")
                held = asyncio.Event()
                tasks = [asyncio.create_task(Heard().read(stream, frames=320)) for _ in range(2)]
                await until(lambda: daemon.watched() == [stream.slot], "a watch")
                tasks[0].cancel()
                await asyncio.gather(tasks[0], return_exceptions=True)
                using = asyncio.create_task(hold(stream, held))
                await held.wait()
                assert daemon.watched() == [stream.slot]
                tasks[1].cancel()
                using.cancel()
                await asyncio.gather(*tasks, using, return_exceptions=True)
                assert all(task.cancelled() for task in (*tasks, using))
                await until(lambda: not daemon.watched(), "the watch's end")
            peer.close()

    run(main())


def test_leaving_the_hub_ends_its_loops(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()

    async def follow(hub: audiohook.AsyncHub) -> str:
        async for _ in hub.streams(follow=True):
            pass
        return "ended"

    async def main() -> None:
        with call(daemon.address) as peer:
            async with audiohook.attach_async(daemon.hub_path) as hub:
                stream = hub.open(call_id=peer.call_id)
                reading = asyncio.create_task(Heard().read(stream))
                following = asyncio.create_task(follow(hub))
                await until(lambda: daemon.watched(), "a watch")
            with pytest.raises(audiohook.HubUnavailable, match="was closed"):
                await reading
            assert await following == "ended"
            await hub.close()
            with pytest.raises(audiohook.HubUnavailable, match="was closed"):
                await Heard().read(stream)
            daemon.wait(lambda: not daemon.watched(), "the watch's end")
            peer.close()

    run(main())


def test_a_desk_that_died_is_asked_anew(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()

    async def main() -> None:
        with Talking() as talking:
            peer = call(daemon.address)
            talking.add(peer, 1)
            heard = Heard()
            async with audiohook.attach_async(daemon.hub_path) as hub:
                stream = hub.open(call_id=peer.call_id)
                reading = asyncio.create_task(heard.read(stream, frames=320, start="oldest", copy=True))
                await until(daemon.watched, "a watch")
                os.kill(daemon.desk(), signal.SIGKILL)
                daemon.wait_logged("desk ready", 2)
                before = len(heard.blocks)
                await until(lambda: daemon.watched() == [stream.slot], "a watch by the new desk")
                await until(lambda: len(heard.blocks) > before + 20, "20 blocks more")
                talking.take(peer).close()
                await reading
        assert np.array_equal(heard.samples, decoded(peer.sent))

    run(main())


def test_a_daemon_that_is_killed_ends_every_loop_after_its_last_frame(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()

    async def main() -> None:
        with call(daemon.address) as peer:
            peer.send_packets(packets_of(1)[:35])
            one, all_of_them = Heard(), Heard()

            async def everything(hub: audiohook.AsyncHub) -> None:
                async for _, block in hub.blocks(512, start="oldest"):
                    all_of_them.take(block)

            async with audiohook.attach_async(daemon.hub_path) as hub:
                stream = hub.open(call_id=peer.call_id)
                await until(lambda: stream.totals.packets == 35, "every packet")
                loops = [
                    asyncio.create_task(one.read(stream, start="oldest", dtype="float32")),
                    asyncio.create_task(everything(hub)),
                ]
                for pid in daemon.processes():
                    os.kill(pid, signal.SIGKILL)
                outcomes = await asyncio.gather(*loops, return_exceptions=True)
                assert [type(outcome) for outcome in outcomes] == [audiohook.WriterGone] * 2
                expected = decoded(peer.sent)
                assert np.array_equal(one.samples * 32_768, expected)
                assert np.array_equal(all_of_them.samples, expected), "the rest of a stream comes before the error"

    run(main())


def test_peers_are_never_touched(start_daemon: StartDaemon) -> None:
    """An event loop that stands still for seconds slows nobody, and is told what it lost."""
    daemon = start_daemon("memory.ring_seconds=2")

    async def main() -> None:
        peer = call(daemon.address)
        async with audiohook.attach_async(daemon.hub_path) as hub:
            stream = hub.open(call_id=peer.call_id)
            blocks = stream.blocks(320, start="oldest")
            peer.send_packets(packets_of(1)[:10])
            first = await anext(blocks)
            peer.send_packets(packets_of(1)[10:240])
            daemon.wait(lambda: stream.totals.packets == 240, "every packet, while the event loop stands still")
            assert not first.still_valid()
            with pytest.raises(audiohook.Overrun) as caught:
                await anext(blocks)
            assert caught.value.next_frame is not None
            assert caught.value.lost_frames == caught.value.next_frame
        peer.close()

    run(main())
