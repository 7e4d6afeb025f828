"""The audio of a stream as it comes, and of the streams in which it goes on: the steps of one `blocks()` loop.

Waits for nothing itself: a step is a block, or a Pause where the next one has to be awaited. Invariants: the loop owns
its place and nobody else knows it; every frame between two blocks is delivered, a gap, counted in an `Overrun`, or lies
in a stream of which nothing is left, behind an `Overrun`.

Theory of operation. A stream whose peer has left is PARKED: nothing is added to it, so what there is of a last block is
handed out, and then the loop waits. Its peer's return is another stream, which begins at the frame at which this one
ends; this one then is over, and its card says so in the same update as where it goes on. So a loop that finds a stream
over and read to its end either goes on in the next, or ends. Where slots were given to others meanwhile, the next
stream that is still there says by its first frame (`media_base`) how far the ones before it went: if all of that had
been read or seen, nothing was lost; if not, it is an `Overrun` that says where reading can go on.

The frames of a chain are one numbering, so there is one converter for all of it. Blocks are views into one ring, so the
last block of each stream may be shorter. Rejected: joining it to the next one's first by a copy. It would keep back the
last words before a hold until the hold is over.
"""

import time
from collections.abc import Iterator
from typing import Generic, TypeVar

from audiohook.errors import Overrun, WriterGone
from audiohook.memory.block import Block
from audiohook.memory.chain import Key
from audiohook.memory.options import BlockOptions, OnOverrun
from audiohook.memory.place import Place, Start
from audiohook.memory.resampled import converted
from audiohook.memory.view import StreamView
from audiohook.memory.waiting import MAX_WAIT_NS, Pause, Word
from audiohook.units import NS_PER_MS

EARLY_NS = 20 * NS_PER_MS
"""So much before a block can be complete its loop begins to wait for a wake-up."""

AnyView = TypeVar("AnyView", bound=StreamView)


class Following(Generic[AnyView]):
    """One loop that begins in `head`. `key` is the stream that it reads at present.

    Raises at once what is wrong with the options; the steps raise Overrun, GapFound and WriterGone.
    """

    def __init__(self, head: AnyView, options: BlockOptions, on_overrun: OnOverrun) -> None:
        self._head = self._view = head
        self._options = options
        self._on_overrun = on_overrun
        self._converter = options.converter(head.timeline, head.sample_rate, head.channels)
        self._place = self._begin(options.start)

    @property
    def key(self) -> Key:
        return self._view.slot, self._view.epoch

    def steps(self) -> Iterator[Block | Pause]:
        """Return the loop's steps. To be asked for once."""
        steps = self._steps()
        return steps if self._converter is None else converted(steps, self._converter)

    # ---------------------------------------------------------------------------------------- from stream to stream

    def _begin(self, start: Start) -> Place:
        """Return the place that `start` names, in the stream that has it."""
        if start == "live":
            while (behind := self._view.successor()) is not None:
                self._view = behind
        self._head.lost_frames = 0
        try:
            return self._place_in(self._view, start)
        except Overrun as overrun:
            gone = overrun
        if not self._go_on(start, 0):
            raise gone
        return self._place

    def _place_in(self, view: AnyView, start: Start) -> Place:
        return self._options.starting(start).place(view.timeline, view.cutter(), view.sample_rate, self._converter)

    def _go_on(self, start: Start, seen_end: int, lost_frames: int = 0) -> bool:
        """Go on in the stream behind this one, at `start`; return whether there is one that is still there.

        `lost_frames` of this one are lost, and what lies between the frame `seen_end` and where it goes on.
        """
        view = self._view
        while (behind := view.successor()) is not None:
            view = behind
            if isinstance(start, int):
                first = view.timeline.media_base
                goes_on_at = max(start, first)
                if lost_frames or first > max(start, seen_end):
                    self._lose(Overrun(lost_frames, goes_on_at))
                    lost_frames = 0
                start = goes_on_at
            try:
                self._place = self._place_in(view, start)
            except Overrun:
                continue  # its slot has just been given away as well
            self._view = view
            return True
        return False

    def _lose(self, overrun: Overrun) -> None:
        """Raise what was lost, or count it and go on behind it, as the loop was asked to."""
        if overrun.next_frame is None:
            if not self._go_on(self._place.position, self._place.end, overrun.lost_frames):
                raise overrun from None
        elif self._on_overrun == "raise":
            raise overrun from None
        else:
            self._head.lost_frames += overrun.lost_frames

    # ---------------------------------------------------------------------------------------- block by block

    def _steps(self) -> Iterator[Block | Pause]:
        previous: Block | None = None
        slept_at: Word | None = None
        wait, waiting_for = self._view.commit_wait(), self._view
        while True:
            if previous is not None and not previous.still_valid():
                self._lose(self._place.lost(previous.frames))
            previous = None
            view = self._view
            if view is not waiting_for:
                wait, waiting_for = view.commit_wait(), view
            parked = view.parked
            pause = wait.read(parked=parked)
            over = view.over
            try:
                previous = self._place.next_block(over=over or parked)
            except Overrun as overrun:
                self._lose(overrun)
                continue
            if previous is not None:
                yield previous
            elif over:
                if not self._go_on(self._place.position, self._place.end):
                    if view.taken_on:
                        raise Overrun(0, None)
                    return
            else:
                yield from self._rest_if_gone(view)
                # By the clock only once: a stream that has gone quiet must not be looked at 80 times a second.
                patience = None if pause.commit == slept_at else self._patience(view)
                slept_at = pause.commit
                yield patience or pause

    def _rest_if_gone(self, view: AnyView) -> Iterator[Block]:
        """Yield the rest of a stream and raise WriterGone if nobody writes it any more, else do nothing."""
        try:
            view.check_writer()
        except WriterGone:
            rest = self._place.next_block(over=True)
            if rest is not None:
                yield rest
            raise

    def _patience(self, view: AnyView) -> Pause | None:
        """Return a pause by the clock for what cannot have come yet, None where the words have to be waited on."""
        # Up to a packet's length before that there is nothing to be woken for. Not counted from now: between two
        # messages of 200 ms nobody knows by looking how old the last one is, and whoever began to read there had each
        # of the next eight up to 160 ms late.
        patience_ns = self._place.due_ns(view.sample_rate) - EARLY_NS - time.monotonic_ns()
        return Pause((), min(patience_ns, MAX_WAIT_NS)) if patience_ns > 0 else None
