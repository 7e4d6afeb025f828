"""What tests of the asynchronous reader share: reading as a coroutine, waiting for conditions, and what may be left."""

import asyncio
import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import numpy as np

import audiohook
from tests.support.daemon import LOOK_S, PATIENCE_S, descriptors
from tests.support.peer import Samples


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Hold that no thread and no descriptor of a reader outlives what is done within."""
    open_before = len(descriptors(os.getpid()))
    yield
    deadline = time.monotonic() + PATIENCE_S
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("audiohook")]:
        assert time.monotonic() < deadline, left
        time.sleep(LOOK_S)
    gc.collect()  # what tracebacks hold
    assert len(descriptors(os.getpid())) <= open_before


async def until(condition: Callable[[], Any], awaited: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{awaited} did not come"
        await asyncio.sleep(LOOK_S)


def run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(main, 2 * PATIENCE_S)

    asyncio.run(limited())


class Heard:
    """What one loop over one stream has had."""

    def __init__(self) -> None:
        self.blocks: list[audiohook.Block] = []

    def take(self, block: audiohook.Block) -> None:
        self.blocks.append(block)

    @property
    def samples(self) -> Samples:
        return np.concatenate([np.zeros(0, np.int16), *(block.samples[:, 0] for block in self.blocks)])

    async def read(self, stream: audiohook.AsyncStream, **options: Any) -> None:
        async for block in stream.blocks(**options):
            self.take(block)


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """Note how long each turn of the event loop takes to come round, for as long as the block lasts."""
    turns: list[float] = []

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            turns.append(time.monotonic() - before)

    task = asyncio.create_task(tick())
    try:
        yield turns
    finally:
        task.cancel()
