"""A stream as a reader has it: who it is, what it holds, and its audio in blocks.

Reads the arena and nothing else; how a slot comes to be watched is the hub's business and passed in. Invariants: a
reader owns its place and nobody else knows it; a block is never called valid if one of its samples may have been
overwritten; every frame between two blocks is either delivered, a gap, or counted in an `Overrun`.
"""

import time
from collections.abc import Iterator
from typing import Any, Protocol, Self

import numpy as np

from audiohook.errors import Overrun, WriterGone
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.block import Block, Cutter
from audiohook.memory.cards import card_version, read_card
from audiohook.memory.mirror import MirroredRing
from audiohook.memory.options import BlockOptions, OnOverrun
from audiohook.memory.place import Gaps, Place, Start
from audiohook.memory.resampled import Dtype, converted
from audiohook.memory.timeline import Gap, Recycled, Timeline, Totals
from audiohook.memory.waiting import MAX_WAIT_NS, CommitWait, Pause, Word, rested
from audiohook.units import NS_PER_S, frames_ns, seconds_ns

WRITER_GONE_NS = 5 * NS_PER_S
"""A live card whose owner's heartbeat (written ten times a second) is older than this has no writer any more."""


class Watcher(Protocol):
    """Who can have a slot's own word woken: the hub's client. `watch` says whether the slot is watched now."""

    def watch(self, slot: int, epoch: int) -> bool: ...

    def unwatch(self, slot: int, epoch: int) -> None: ...

    def check(self) -> None: ...


class StreamView:
    """One stream: (arena, slot, epoch). Keeps its last card, so it can be asked about after its slot was reused.

    Everything but waiting: `Stream` waits in its thread, `AsyncStream` in an event loop.
    """

    def __init__(self, arena: Arena, slot: int, card: dict[str, Any], watcher: Watcher) -> None:
        self._arena = arena
        self.slot = slot
        self.epoch: int = card["epoch"]
        self._card = card
        self._watcher = watcher
        self._gone = False
        self.timeline = Timeline(arena, slot, card)
        self._cutter: Cutter | None = None
        self._last_totals = Totals(0, 0, 0, {}, 0, 0)

    # ---------------------------------------------------------------------------------------- who it is

    def card(self) -> dict[str, Any]:
        """Return the stream's card as it is now, or as it last was, if the slot has been reused since."""
        if not self._gone and card_version(self._arena, self.slot) != self._card["version"]:
            card = read_card(self._arena, self.slot)
            if card["epoch"] == self.epoch:
                self._card = card
            else:
                self._gone = True
        return self._card

    @property
    def gone(self) -> bool:
        """Whether the slot belongs to nobody or to a later stream, so that no audio can be read any more."""
        self.card()
        return self._gone

    def __getattr__(self, name: str) -> Any:
        if name in _CARD_TEXTS:
            return self.card()[name]
        raise AttributeError(f"a stream has no {name!r}")

    @property
    def sample_rate(self) -> int:
        """Frames a second, Hz."""
        rate: int = self._card["rate_hz"]
        return rate

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(self._card["channel_names"].split(","))

    @property
    def state(self) -> str:
        """One of FREE, OPENING, LIVE, PAUSED, HELD, PARKED, ENDED, ABORTED."""
        return layout.STREAM_STATES[self.card()["state"]]

    @property
    def over(self) -> bool:
        """Whether the stream ended, was aborted, or its slot was reused: nothing will be added to it."""
        return self.card()["state"] in layout.OVER_STATES or self.gone

    @property
    def degraded(self) -> bool:
        """Whether audio has stopped coming although the connection stands."""
        return bool(self.card()["flags"] & layout.FLAG_DEGRADED)

    @property
    def opened_realtime_ns(self) -> int:
        """Wall clock of the stream's opening; `opened_monotonic_ns` is the same instant on the clock of arrivals."""
        opened: int = self._card["opened_realtime_ns"]
        return opened

    @property
    def opened_monotonic_ns(self) -> int:
        opened: int = self._card["opened_monotonic_ns"]
        return opened

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code, None while live or where there was no close frame."""
        return self.card()["close_code"] or None

    @property
    def totals(self) -> Totals:
        """Length and its parts, in frames, consistent with one another. The last known ones if the slot was reused."""
        try:
            self._last_totals = self.timeline.totals()
        except Recycled:
            pass
        return self._last_totals

    def __repr__(self) -> str:
        return f"<Stream {self.stream_id} call {self.call_id} {self.direction} {self.state}>"

    # ---------------------------------------------------------------------------------------- its audio

    def cutter(self) -> Cutter:
        if self._cutter is None:
            sizes = self._arena.geometry
            ring = MirroredRing(self._arena.fd, sizes.ring_offset(self.slot), sizes.ring_bytes, writable=False)
            self._cutter = Cutter(self.timeline, ring, self._card["channels"])
        return self._cutter

    def latest(self, seconds: float = 1.0) -> Block:
        """Return the last `seconds` of the timeline, less if the stream is shorter. Gaps are silence.

        Raises Overrun if the slot belongs to another stream by now.
        """
        while True:
            try:
                newest = self.timeline.newest()
                if newest is None:
                    return Block(self.timeline, self._nothing(), None, self.timeline.media_base, 0, ())
                oldest, _ = self.timeline.oldest(newest)
                wanted = max(oldest, newest.media_end - seconds_ns(seconds) * self.sample_rate // NS_PER_S)
                block = self.cutter().cut(min(wanted, newest.media_end), newest.media_end, newest)
            except Recycled:
                if self.timeline.recycled:
                    raise Overrun(0, None) from None
                continue
            if block.still_valid():
                return block

    def gaps(self) -> list[Gap]:
        """Return the gaps within the history that can still be read, oldest first."""
        while True:
            try:
                newest = self.timeline.newest()
                if newest is None:
                    return []
                first, _ = self.timeline.oldest(newest)
                spans = self.timeline.spans(first, newest.media_end, newest) if first < newest.media_end else []
            except Recycled:
                if self.timeline.recycled:
                    return []
                continue
            return [
                Gap(max(first, span.media_first), span.media_end - max(first, span.media_first), span.cause_name)
                for span in spans
                if span.is_gap
            ]

    lost_frames = 0
    """Frames that `blocks(on_overrun="skip")` has jumped over so far."""

    def reading(self, options: BlockOptions, on_overrun: OnOverrun) -> Iterator[Block | Pause]:
        """Return the steps of a `blocks()` loop from here on: a block, or a Pause where the next one has to be awaited.

        Raises at once what is wrong with the options; the steps raise Overrun, GapFound and WriterGone.
        """
        place, converter = options.begin(self.timeline, self.cutter(), self.sample_rate, self._card["channels"])
        self.lost_frames = 0
        steps = self._steps(place, CommitWait(self._arena, self.slot, self._card["row"]), on_overrun)
        return steps if converter is None else converted(steps, converter)

    def _steps(self, place: Place, wait: CommitWait, on_overrun: OnOverrun) -> Iterator[Block | Pause]:
        previous: Block | None = None
        slept_at: Word | None = None
        while True:
            if previous is not None and not previous.still_valid():
                overrun = place.lost(previous.frames)
                previous = None
                if on_overrun == "raise" or overrun.next_frame is None:
                    raise overrun
                self.lost_frames += overrun.lost_frames
            pause = wait.read()
            over = self.over
            try:
                block = place.next_block(over=over)
            except Overrun as overrun:
                if on_overrun == "raise" or overrun.next_frame is None:
                    raise
                self.lost_frames += overrun.lost_frames
                continue
            if block is not None:
                previous = block
                yield block
            elif over:
                return
            else:
                previous = None
                try:
                    self.check_writer()
                except WriterGone:
                    rest = place.next_block(over=True)
                    if rest is not None:
                        yield rest
                    raise
                # By the clock only once: a stream that has gone quiet must not be looked at 80 times a second.
                patience = None if pause.commit == slept_at else self._patience(place.missing_frames())
                slept_at = pause.commit
                yield patience or pause

    def _patience(self, missing_frames: int) -> Pause | None:
        """Return a pause by the clock for what cannot have come yet, None where the words have to be waited on."""
        # Packets are 20 ms as a rule: up to the last of them there is nothing to be woken for.
        patience_ns = frames_ns(missing_frames, self.sample_rate) - 20_000_000
        return Pause((), min(patience_ns, MAX_WAIT_NS)) if patience_ns > 0 else None

    def check_writer(self) -> None:
        """Raise WriterGone if nobody writes this stream any more and nobody has said so."""
        if self.over:
            return
        row = self.card()["row"]
        beat = self._arena.words[layout.row_word(self._arena.geometry, row, "heartbeat_ns")]
        if time.monotonic_ns() - beat > WRITER_GONE_NS and not self.over:
            raise WriterGone(f"the writer of stream {self.stream_id} has given no sign of life for 5 s")

    def _nothing(self) -> Any:
        return np.zeros((0, self._card["channels"]), np.int16)


class Stream(StreamView):
    """A stream for a program with threads. A context manager, which gives the watch back that `blocks()` asked for."""

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

        `start`: "live" (what is published from this call on), "oldest" (what is still there), or a frame index.
        `gaps`: zeros for them, jump over them (blocks are joined across), or raise GapFound at the first one (the loop
        has ended then: go on with `start` at the gap's end).
        `on_overrun`: raise Overrun when this reader has fallen behind, also when the previous block was overwritten
        while it was in use; or go on at the oldest frame still there (what was lost adds up in `lost_frames`).
        `copy`: blocks that own their samples instead of views.
        `rate`, `dtype`: resampled to `rate` Hz, and as "int16" or "float32" (full scale is 1.0). Such blocks own their
        samples, which may be written to; `frames` counts frames at `rate`, while `start`, `first_frame` and gaps go on
        to count the stream's own. Up to 0.12 s behind (soxr works in pieces). Needs the extra `resample`, unless `rate`
        is the stream's own.

        Raises WriterGone, after the rest of what was published, if the daemon was killed as a whole.
        """
        options = BlockOptions(frames, start, gaps, copy, rate, dtype)
        return self._blocks(self.reading(options, on_overrun))

    def _blocks(self, steps: Iterator[Block | Pause]) -> Iterator[Block]:
        try:
            yield from rested(steps, self._rest)
        finally:
            self._watcher.unwatch(self.slot, self.epoch)

    def _rest(self, pause: Pause) -> None:
        if pause.commit is None:
            pause.rest()
        elif not pause.rest(watched=self._watcher.watch(self.slot, self.epoch)):
            # Perhaps nothing has come; perhaps it has and nobody wakes us, because the desk that watched is dead.
            self._watcher.check()


_CARD_TEXTS = frozenset(
    name for name in layout.CARD.names or () if layout.CARD[name].kind == "S" and name != "channel_names"
)
