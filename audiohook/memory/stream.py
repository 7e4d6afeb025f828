"""A stream for a program with threads: its blocks, and a thread that rests where there is none.

How a slot comes to be watched is the hub's business and passed in. What is read, and where it goes on, is in `view.py`
and `following.py`.
"""

from collections.abc import Iterator
from typing import Any, Protocol, Self

from audiohook.memory.arena import Arena
from audiohook.memory.block import Block
from audiohook.memory.following import Following
from audiohook.memory.options import BlockOptions, OnOverrun
from audiohook.memory.place import Gaps, Start
from audiohook.memory.resampled import Dtype
from audiohook.memory.view import StreamView
from audiohook.memory.waiting import Pause, rested


class Watcher(Protocol):
    """Who can have a slot's own word woken: the hub's client. `watch` says whether the slot is watched now."""

    def watch(self, slot: int, epoch: int) -> bool: ...

    def unwatch(self, slot: int, epoch: int) -> None: ...

    def check(self) -> None: ...


class Stream(StreamView):
    """A stream for a program with threads. A context manager, which gives the watch back that `blocks()` asked for."""

    def __init__(self, arena: Arena, slot: int, card: dict[str, Any], watcher: Watcher) -> None:
        super().__init__(arena, slot, card)
        self._watcher = watcher

    def _related(self, card: dict[str, Any]) -> Self:
        return type(self)(self._arena, card["slot"], card, self._watcher)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._watcher.unwatch(self.slot, self.epoch)

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
    ) -> Iterator[Block]:
        """Yield the stream's audio in blocks of `frames` frames until the stream is over; the last may be shorter.

        If its peer leaves and may come back (PARKED), the loop waits, and goes on in the stream in which the peer
        returns: frames count on, the time between is a gap, and the block before it may be shorter. `continued_by` is
        that stream, for what else there is to be known of it.

        `start`: "live" (what is published from this call on), "oldest" (what is still there), or a frame index.
        `gaps`: zeros for them, jump over them (blocks are joined across), or raise GapFound at the first one (the loop
        has ended then: go on with `start` at the gap's end).
        `on_overrun`: raise Overrun when this reader has fallen behind, also when the previous block was overwritten
        while it was in use; or go on at the oldest frame still there (what was lost adds up in `lost_frames`).
        `copy`: blocks that own their samples instead of views.
        `rate`, `dtype`: resampled to `rate` Hz, and as "int16" or "float32" (full scale is 1.0). Such blocks own their
        samples, which may be written to; `frames` counts frames at `rate`, while `start`, `first_frame` and gaps go on
        to count the stream's own. Up to 0.12 s behind (soxr works in pieces). Needs the extra `resample`, unless `rate`
        is the stream's own. Only the very last such block may be shorter, however often the peer came back.

        Raises WriterGone, after the rest of what was published, if the daemon was killed as a whole.
        """
        options = BlockOptions(frames, start, gaps, copy, rate, dtype)
        return self._blocks(Following(self, options, on_overrun))

    def _blocks(self, following: Following[Self]) -> Iterator[Block]:
        key = following.key

        def rest(pause: Pause) -> None:
            nonlocal key
            if key != following.key:  # the watch goes with the loop from one stream to the next
                self._watcher.unwatch(*key)
                key = following.key
            if pause.commit is None:
                pause.rest()
            elif not pause.rest(watched=self._watcher.watch(*key)):
                # Perhaps nothing has come; perhaps it has and nobody wakes us, because the desk that watched is dead.
                self._watcher.check()

        try:
            yield from rested(following.steps(), rest)
        finally:
            self._watcher.unwatch(*key)
