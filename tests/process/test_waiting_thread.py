"""The thread that waits for coroutines, with words of its own: each is told of its word, soon, and nothing is left."""

import asyncio
import ctypes
import threading
import time
from collections.abc import Awaitable

import pytest

from audiohook.control import waiting_thread
from audiohook.control.waiting_thread import MAX_WORDS, WaitingThread
from audiohook.errors import HubUnavailable
from audiohook.memory.syscalls import futex_wake
from audiohook.memory.waiting import MAX_WAIT_NS, Word
from audiohook.units import NS_PER_S

PATIENCE_S = 40.0


class Words:
    """Futexes in memory of this process."""

    def __init__(self, count: int) -> None:
        self._array = (ctypes.c_uint32 * count)()

    def word(self, number: int) -> Word:
        return ctypes.addressof(self._array) + 4 * number, self._array[number]

    def change(self, number: int) -> None:
        self._array[number] += 1
        futex_wake(ctypes.addressof(self._array) + 4 * number)


def run(main: Awaitable[None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(main, PATIENCE_S)

    asyncio.run(limited())
    assert not [thread for thread in threading.enumerate() if thread.name == "audiohook-wait"]


@pytest.mark.parametrize("count", [1, 2, MAX_WORDS + 50])
def test_each_wait_ends_when_its_word_changes(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_thread, "MAX_WAIT_NS", 60 * NS_PER_S)  # so that nothing but a wake-up ends one

    async def main() -> None:
        words, waiting = Words(count), WaitingThread(None)
        waits = [asyncio.create_task(waiting.wait((words.word(number),), 60 * NS_PER_S)) for number in range(count)]
        await asyncio.sleep(0)
        for number in reversed(range(count)):
            assert not waits[number].done()
            words.change(number)
            await waits[number]
        waiting.close()

    run(main())


def test_a_word_that_has_changed_already_is_not_waited_for() -> None:
    async def main() -> None:
        words, waiting = Words(1), WaitingThread(None)
        seen = words.word(0)
        words.change(0)
        for _ in range(100):
            await waiting.wait((seen,), MAX_WAIT_NS)
        waiting.close()

    began = time.monotonic()
    run(main())
    assert time.monotonic() - began < 100 * MAX_WAIT_NS / NS_PER_S / 2


def test_a_wait_that_nobody_wakes_ends_by_its_time() -> None:
    async def main() -> None:
        words, waiting = Words(1), WaitingThread(None)
        began = time.monotonic_ns()
        await asyncio.gather(*(waiting.wait((words.word(0),), timeout) for timeout in (1_000_000, 10 * NS_PER_S)))
        assert time.monotonic_ns() - began >= MAX_WAIT_NS, "no wait is shorter than asked for, and none is trusted"
        await waiting.wait((), 1_000_000)
        waiting.close()

    run(main())


def test_cancelled_waits_leave_nothing_and_close_ends_the_others() -> None:
    async def main() -> None:
        words, waiting = Words(3), WaitingThread(None)
        waits = [asyncio.create_task(waiting.wait((words.word(number),), MAX_WAIT_NS)) for number in range(3)]
        await asyncio.sleep(0)
        waits[0].cancel()
        await asyncio.gather(waits[0], return_exceptions=True)
        assert waits[0].cancelled()
        assert len(waiting._waits) == 2
        words.change(0)
        words.change(1)
        await waits[1]
        waiting.close()
        waiting.close()
        await waits[2]
        assert not waiting._waits
        with pytest.raises(HubUnavailable, match="was closed"):
            await waiting.wait((words.word(0),), MAX_WAIT_NS)

    run(main())


def test_event_loops_of_two_threads_share_it() -> None:
    words, waiting = Words(2), WaitingThread(None)
    done: list[int] = []

    def other(number: int) -> None:
        asyncio.run(waiting.wait((words.word(number),), MAX_WAIT_NS))
        done.append(number)

    threads = [threading.Thread(target=other, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    words.change(0)
    words.change(1)
    for thread in threads:
        thread.join(PATIENCE_S)
    waiting.close()
    assert sorted(done) == [0, 1]
