"""A reader's place in one stream: which frame comes next, what it may be handed, and what it has lost.

Waits for nothing. Keeps, beside the position, how many gap frames lie before it, since that is what makes the count in
an `Overrun` exact after the descriptors that would tell have been overwritten as well.
"""

from typing import Literal

from audiohook.errors import GapFound, Overrun
from audiohook.memory.block import Block, Cutter
from audiohook.memory.timeline import Recycled, Span, Timeline
from audiohook.units import frames_ns

HEADROOM_PARTS = 4
"""Whoever starts at the edge of a full ring starts 1/4 s inside it: the edge moves on while one looks."""

Start = Literal["live", "oldest"] | int
Gaps = Literal["silence", "skip", "raise"]


def check_rules(start: Start, gaps: Gaps) -> None:
    """Raise ValueError for a start or a treatment of gaps that does not exist."""
    if start not in ("live", "oldest") and not isinstance(start, int):
        raise ValueError(f'start must be "live", "oldest" or a frame index, not {start!r}')
    if isinstance(start, int) and start < 0:
        raise ValueError(f"start is a frame index, counted from the stream's first frame: it cannot be {start}")
    if gaps not in ("silence", "skip", "raise"):
        raise ValueError(f'gaps must be "silence", "skip" or "raise", not {gaps!r}')


class Place:
    """Position and rules of one `blocks()` loop over one stream."""

    def __init__(
        self, timeline: Timeline, cutter: Cutter, rate_hz: int, frames: int, start: Start, gaps: Gaps, *, copy: bool
    ) -> None:
        self._headroom_frames = rate_hz // HEADROOM_PARTS
        most = timeline.ring_bytes // timeline.frame_bytes - self._headroom_frames
        if not 1 <= frames <= most:
            raise ValueError(
                f"frames must be from 1 to {most} (what a ring holds, less 1/{HEADROOM_PARTS} s), not {frames}"
            )
        check_rules(start, gaps)
        self._timeline = timeline
        self._cutter = cutter
        self._frames = frames
        self._gaps = gaps
        self._copy = copy
        self._end = timeline.media_base
        self._end_gaps = 0
        self._arrival_ns = 0
        self._settled = False
        self.position = timeline.media_base
        self._gaps_before = 0
        self._handed_gap_frames = 0
        self._settle(start)

    def _settle(self, start: Start) -> None:
        """Take the place that `start` names. A ring that moves on meanwhile is looked at again."""
        newest = self._newest()
        if isinstance(start, int):
            self.position = start
            return
        while newest is not None and not self._settled:
            try:
                if start == "live":
                    self.position, self._gaps_before = newest.media_end, newest.gap_frames_before(newest.media_end)
                else:
                    self.position, self._gaps_before = self._readable_from(newest)
                self._settled = True
            except Recycled:
                newest = self._newest()

    def _newest(self) -> Span | None:
        try:
            newest = self._timeline.newest()
        except Recycled:
            raise self._gone() from None
        if newest is not None:
            self._end = newest.media_end
            self._arrival_ns = newest.arrival_ns
            self._end_gaps = newest.gap_frames_before(newest.media_end)
        return newest

    @property
    def end(self) -> int:
        """The frame behind the last one that was seen to be published."""
        return self._end

    def due_ns(self, rate_hz: int) -> int:
        """Return when the next block is complete at the earliest, if audio goes on at the pace of the clock.

        Counted from the arrival of what came last, in whatever pieces it comes; 0 before anything has.
        """
        return self._arrival_ns + frames_ns(self.missing_frames(), rate_hz) if self._arrival_ns else 0

    def missing_frames(self) -> int:
        """Return how many more frames the next block needs, as far as that is known."""
        return max(1, self._frames - max(0, self._end - self.position)) if self._gaps == "silence" else 1

    def next_block(self, *, over: bool) -> Block | None:
        """Return the next block, or None if it is not complete yet (or, once `over`, if there is nothing more).

        Raises Overrun where its samples are no longer there, and puts the place where reading can go on.
        """
        newest = self._newest()
        if newest is None or self.position >= newest.media_end:
            return None
        try:
            if not self._settled:
                span = self._timeline.span_at(self.position, newest)
                self._gaps_before = span.gap_frames_before(self.position)
                self._settled = True
            block, end = self._take(newest, over=over)
            if block is None:
                return None
            if self._copy and block.is_view:
                samples = block.samples.copy()
                copied = Block(self._timeline, samples, None, block.first_frame, block.arrival_ns, block.gaps)
                if not block.still_valid():
                    raise Recycled
                block = copied
            elif not block.still_valid():
                raise Recycled
        except Recycled:
            raise self.lost(0) from None
        gap_frames = sum(gap.frames for gap in block.gaps)
        self._gaps_before += gap_frames
        self._handed_gap_frames = 0 if self._gaps == "skip" else gap_frames
        self.position = end
        return block if block.frames else None

    def _take(self, newest: Span, *, over: bool) -> tuple[Block | None, int]:
        ready = newest.media_end - self.position
        if self._gaps == "skip":
            block, end = self._cutter.gather(self.position, self._frames, newest)
            return (block, end) if over or block.frames == self._frames else (None, end)
        wanted = self._frames
        if self._gaps == "raise":
            wanted = self._until_gap(newest)
        if ready < wanted and not over:
            return None, self.position
        end = self.position + min(ready, wanted)
        return self._cutter.cut(self.position, end, newest), end

    def _until_gap(self, newest: Span) -> int:
        """Return how many frames may be handed out before a gap, at most a block; GapFound if one begins here."""
        limit = min(newest.media_end, self.position + self._frames)
        for span in self._timeline.gap_spans(self.position, limit, newest):
            if span.media_first <= self.position:
                raise GapFound(self.position, span.media_end - self.position, span.cause_name)
            return span.media_first - self.position
        return self._frames

    def lost(self, suspect_frames: int) -> Overrun:
        """Move to where reading can go on and return the Overrun that says what lies between.

        `suspect_frames` are the frames of the last block, if it was overwritten while it was in use; its silence for
        gaps is not counted.
        """
        if suspect_frames:
            suspect_frames -= self._handed_gap_frames
        while True:
            try:
                newest = self._timeline.newest()
                if newest is None:
                    return Overrun(suspect_frames, self.position)
                position, gaps_before = self._readable_from(newest)
            except Recycled:
                if self._timeline.recycled:
                    return self._gone(suspect_frames)
                continue
            if position <= self.position:
                return Overrun(suspect_frames, self.position)
            lost = position - self.position - self._gaps_between(gaps_before)
            self.position, self._gaps_before, self._settled = position, gaps_before, True
            return Overrun(lost + suspect_frames, position)

    def _gaps_between(self, gaps_before_end: int) -> int:
        """Return how many gap frames lie between this place and a later one, of which `gaps_before_end` is known.

        For a start at a frame whose descriptors were gone before it was ever looked at nobody knows: 0.
        """
        exact = self._settled or self.position <= self._timeline.media_base
        return gaps_before_end - self._gaps_before if exact else 0

    def _gone(self, suspect_frames: int = 0) -> Overrun:
        unread = max(0, self._end - self.position)
        return Overrun(unread - min(unread, self._gaps_between(self._end_gaps)) + suspect_frames, None)

    def _readable_from(self, newest: Span) -> tuple[int, int]:
        """Return the oldest frame to start from, a little inside a ring that is full, and the gap frames before it."""
        frame, gaps_before = self._timeline.oldest(newest)
        if frame == self._timeline.media_base:
            return frame, gaps_before
        frame = min(frame + self._headroom_frames, newest.media_end)
        if frame >= newest.media_end:
            return newest.media_end, newest.gap_frames_before(newest.media_end)
        return frame, self._timeline.span_at(frame, newest).gap_frames_before(frame)
