"""The hub as a program with an event loop has it: `attach_async()`, with the semantics of `attach()`.

What is read, and how, is in `attachment.py` and `memory/stream.py`; here a coroutine awaits where there is nothing to
hand out. Two threads a hub: one sleeps for all of its coroutines, one talks with the desk. Invariants: the event loop
is never blocked, also while a loop catches up (it is given a turn every TURN_NS); a task that is cancelled leaves no
wait and no watch behind (tests/process/test_async_ends.py).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal, Self, TypeVar, overload

from audiohook.control.attachment import Attachment, Where, find_hub
from audiohook.control.desk_client import DeskClient
from audiohook.control.desk_thread import DeskThread
from audiohook.control.waiting_thread import WaitingThread
from audiohook.memory.arena import Arena
from audiohook.memory.block import Block
from audiohook.memory.following import Following
from audiohook.memory.options import BlockOptions, OnOverrun
from audiohook.memory.place import Gaps, Start
from audiohook.memory.resampled import Dtype
from audiohook.memory.view import StreamView
from audiohook.memory.waiting import Pause
from audiohook.units import NS_PER_MS

TURN_NS = 2 * NS_PER_MS
"""A loop that always has something to hand out gives the event loop a turn this often."""

Step = TypeVar("Step")


@asynccontextmanager
async def attach_async(path: str | None = None) -> AsyncIterator["AsyncHub"]:
    """Attach to a running daemon's memory, read-only, for the `async with` block.

    `path` as for `attach()`. Raises HubUnavailable.
    """
    thread = DeskThread()
    attaching = thread.submit(lambda: AsyncHub(find_hub(path), thread))
    try:
        hub = await asyncio.wrap_future(attaching)
    except BaseException:
        attaching.add_done_callback(_abandon)
        thread.close()
        raise
    try:
        yield hub
    finally:
        await hub.close()


def _abandon(attaching: "Future[AsyncHub]") -> None:
    """Leave a hub that nobody waits for any more: the task was cancelled while it attached."""
    if not attaching.cancelled() and attaching.exception() is None:
        attaching.result().leave()


async def awaited(
    steps: Iterator[Step | Pause], rest: Callable[[Pause], Awaitable[object]]
) -> AsyncGenerator[Step, None]:
    """Yield what `steps` yields, and await `rest` at each Pause."""
    turn_ns = time.monotonic_ns()
    for step in steps:
        if isinstance(step, Pause):
            await rest(step)
            turn_ns = time.monotonic_ns()
            continue
        yield step
        if time.monotonic_ns() - turn_ns > TURN_NS:
            await asyncio.sleep(0)
            turn_ns = time.monotonic_ns()


class AsyncStream(StreamView):
    """A stream for a program with an event loop."""

    def __init__(
        self, arena: Arena, slot: int, card: dict[str, Any], desk: DeskClient, threads: tuple[WaitingThread, DeskThread]
    ) -> None:
        super().__init__(arena, slot, card)
        self._desk = desk
        self._threads = self._waiting, self._asking = threads

    def _related(self, card: dict[str, Any]) -> Self:
        return type(self)(self._arena, card["slot"], card, self._desk, self._threads)

    def blocks(
        self,
        frames: int = 512,
        *,
        start: Start = "live",
        gaps: Gaps = "silence",
        on_overrun: OnOverrun = "raise",
        copy: bool = False,
        rate: int | None = None,
        dtype: Dtype = "int16",
    ) -> AsyncIterator[Block]:
        """Yield the stream's audio as `Stream.blocks` does."""
        options = BlockOptions(frames, start, gaps, copy, rate, dtype)
        return self._blocks(Following(self, options, on_overrun))

    async def _blocks(self, following: Following[Self]) -> AsyncIterator[Block]:
        key = following.key
        self._asking.want(key)

        async def rest(pause: Pause) -> None:
            nonlocal key
            if key != following.key:  # the watch goes with the loop from one stream to the next
                self._asking.release(self._desk, key)
                key = following.key
                self._asking.want(key)
            watched = pause.commit is not None and self._asking.watched(self._desk, key)
            await self._waiting.wait(pause.words(watched=watched), pause.timeout_ns)

        try:
            async with aclosing(awaited(following.steps(), rest)) as blocks:
                async for block in blocks:
                    yield block
        finally:
            self._asking.release(self._desk, key)


class AsyncHub(Attachment[AsyncStream]):
    """One daemon's streams. Made by `attach_async()`; what is not a loop (`open`) is called without `await`."""

    def __init__(self, path: str, asking: DeskThread) -> None:
        super().__init__(path)
        self._asking = asking
        self._waiting = WaitingThread(self._arena)

    def _make_stream(self, slot: int, card: dict[str, Any]) -> AsyncStream:
        return AsyncStream(self._arena, slot, card, self._desk, (self._waiting, self._asking))

    def leave(self) -> None:
        """Leave the desk. Waits for it: not in an event loop."""
        self._desk.close()

    async def close(self) -> None:
        """End every loop over this hub, its threads, and the connection to the desk. More often does nothing."""
        self.stop_following()
        self._waiting.close()
        if not self._asking.closed:
            leaving = self._asking.submit(self.leave)
            self._asking.close()
            await asyncio.wrap_future(leaving)

    def streams(self, *, follow: bool = False, ended: bool = False) -> AsyncIterator[AsyncStream]:
        """Yield streams as `Hub.streams` does."""
        return awaited(self._stream_steps(follow=follow, ended=ended), self._rest)

    @overload
    def blocks(
        self,
        frames: int = ...,
        *,
        start: Start = ...,
        gaps: Gaps = ...,
        copy: bool = ...,
        rate: int | None = ...,
        dtype: Dtype = ...,
        ended: bool = ...,
        ends: Literal[False] = ...,
        where: Where[AsyncStream] | None = ...,
    ) -> AsyncIterator[tuple[AsyncStream, Block]]: ...

    @overload
    def blocks(
        self,
        frames: int = ...,
        *,
        start: Start = ...,
        gaps: Gaps = ...,
        copy: bool = ...,
        rate: int | None = ...,
        dtype: Dtype = ...,
        ended: bool = ...,
        ends: Literal[True],
        where: Where[AsyncStream] | None = ...,
    ) -> AsyncIterator[tuple[AsyncStream, Block | None]]: ...

    def blocks(
        self,
        frames: int = 512,
        *,
        start: Start = "live",
        gaps: Gaps = "silence",
        copy: bool = False,
        rate: int | None = None,
        dtype: Dtype = "int16",
        ended: bool = False,
        ends: bool = False,
        where: Where[AsyncStream] | None = None,
    ) -> AsyncIterator[tuple[AsyncStream, Block | None]]:
        """Yield `(stream, block)` over all live streams as `Hub.blocks` does."""
        options = BlockOptions(frames, start, gaps, copy, rate, dtype)
        options.check()
        return awaited(self._block_steps(options, ended=ended, ends=ends, where=where), self._rest)

    def events(self, *, follow: bool = False, oldest: bool = True) -> AsyncIterator[dict[str, Any]]:
        """Yield lifecycle events as `Hub.events` does."""
        return awaited(self._event_steps(follow=follow, oldest=oldest), self._rest)

    async def _rest(self, pause: Pause) -> None:
        await self._waiting.wait(pause.bells, pause.timeout_ns)
