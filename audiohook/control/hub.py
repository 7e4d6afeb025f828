"""The hub as a program with threads has it: `attach()`, the streams that are there, and many of them in one loop.

What is read, and how, is in `attachment.py`; here a thread rests where there is nothing to hand out.
"""

from collections.abc import Iterator
from typing import Any, Literal, Self, overload

from audiohook.control.attachment import Attachment, Where, find_hub
from audiohook.memory.block import Block
from audiohook.memory.options import BlockOptions
from audiohook.memory.place import Gaps, Start
from audiohook.memory.resampled import Dtype
from audiohook.memory.stream import Stream
from audiohook.memory.waiting import Pause, rested


def attach(path: str | None = None) -> "Hub":
    """Attach to a running daemon's memory, read-only.

    `path` is its hub socket; without one `AUDIOHOOK_HUB`, then the default places. Raises HubUnavailable.
    """
    return Hub(find_hub(path))


class Hub(Attachment[Stream]):
    """One daemon's streams. A context manager; closing it leaves views that are still held valid.

    Loops that follow raise WriterGone once no process of the daemon is left.
    """

    def _make_stream(self, slot: int, card: dict[str, Any]) -> Stream:
        return Stream(self._arena, slot, card, self._desk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the desk and end every loop over this hub. Never fails; more often does nothing."""
        self.stop_following()
        self._desk.close()

    def streams(self, *, follow: bool = False, ended: bool = False) -> Iterator[Stream]:
        """Yield the streams that are live or PARKED now, with `ended` also those that ended and can still be read.

        With `follow` goes on with each stream as it begins, until the hub is closed; one that was over before it was
        seen is still yielded. The return of a stream that has been yielded is not: `blocks()` of that one goes on into
        it. Without `follow` every stream is listed, also one that is the return of another.
        """
        return rested(self._stream_steps(follow=follow, ended=ended), Pause.rest)

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
        where: Where[Stream] | None = ...,
    ) -> Iterator[tuple[Stream, Block]]: ...

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
        where: Where[Stream] | None = ...,
    ) -> Iterator[tuple[Stream, Block | None]]: ...

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
        where: Where[Stream] | None = None,
    ) -> Iterator[tuple[Stream, Block | None]]:
        """Yield `(stream, block)` over all live streams, in one loop, until the hub is closed.

        `start` is for the streams that are there now; those that begin later are read from their first frame. A stream
        that this loop falls behind on goes on at the oldest frame still there; `stream.lost_frames` says what it lost.
        A peer that comes back has a stream of its own here, whose frames count on; `continues` is the one before it.
        `gaps`, `copy`, `rate` and `dtype` as for `Stream.blocks`.
        `ended`: also the streams that had ended before, as far as they can still be read.
        `ends`: yield `(stream, None)` once behind the last block of each stream, also of one that had no audio.
        `where`: a function that is asked once for each stream whether to read it.

        Raises WriterGone, after the rest of every stream, once no process of the daemon is left.
        """
        options = BlockOptions(frames, start, gaps, copy, rate, dtype)
        options.check()
        return rested(self._block_steps(options, ended=ended, ends=ends, where=where), Pause.rest)

    def events(self, *, follow: bool = False, oldest: bool = True) -> Iterator[dict[str, Any]]:
        """Yield lifecycle events as dictionaries, in the order in which they were written, as far as clocks tell.

        `oldest` begins with what the event rings still hold. What was overwritten before it was read shows up as
        `{"event": "lapped", "row": r, "lost": n}`. With `follow` goes on until the hub is closed.
        """
        return rested(self._event_steps(follow=follow, oldest=oldest), Pause.rest)
