"""A stream's timeline as a reader finds it: which frame lies where, what is a gap and why, how far history reaches.

Knows the slot's cursors and descriptors, no samples. Media frames and ring bytes are two coordinates; a descriptor ties
them together until the next one begins (LAYOUT.md, "Publishing"). Everything is read while the writer goes on, so every
answer is checked against `d_claim`, `totals_version` or `epoch` before it is given; `Recycled` says that the slot
belongs to another stream by now.
"""

from bisect import bisect_right
from dataclasses import dataclass

from audiohook.memory import layout
from audiohook.memory.arena import Arena


class Recycled(Exception):
    """The slot has been given to a later stream, or its history has been overwritten past the place asked for."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of the timeline without audio: `first_frame`, `frames`, and why (one of `layout.CAUSES`).

    `measured`: its length is what a clock said, not what the peer did.
    """

    first_frame: int
    frames: int
    cause: str
    measured: bool = False


def append_gap(gaps: list[Gap], gap: Gap) -> None:
    """Append a gap, or let the last one grow by it if it goes on there for the same cause."""
    last = gaps[-1] if gaps else None
    same = last is not None and (last.cause, last.measured) == (gap.cause, gap.measured)
    if last is not None and same and last.first_frame + last.frames == gap.first_frame:
        gaps[-1] = Gap(last.first_frame, last.frames + gap.frames, last.cause, last.measured)
    else:
        gaps.append(gap)


@dataclass(slots=True)
class Span:
    """One descriptor, cut to what was committed when it was read. `skip` frames of it have no bytes in the ring.

    Nobody changes one. Not frozen, since two are made for every block, and that takes three times as long; a NamedTuple
    takes half as long again, and is slower to be looked at.
    """

    number: int
    media_first: int
    ring_first: int
    skip: int
    cause: int
    arrival_ns: int
    packets: int
    wire_bytes: int
    gaps_before: int
    media_end: int
    measured: bool

    @property
    def is_gap(self) -> bool:
        return self.cause >= layout.PAUSE

    @property
    def cause_name(self) -> str:
        return layout.CAUSES[self.cause]

    def gap(self, first_frame: int, end_frame: int) -> Gap:
        """Return the part of this span, which is a gap, from one frame to before another."""
        return Gap(first_frame, end_frame - first_frame, self.cause_name, self.measured)

    def gap_frames_before(self, frame: int) -> int:
        """Return how many frames of the stream before `frame` (which lies in this span, or at its end) are gap."""
        return self.gaps_before + (frame - self.media_first if self.is_gap else 0)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a stream is made of, in frames: `decoded + concealed + sum(gaps.values()) == length`, at every instant."""

    length: int
    decoded: int
    concealed: int
    gaps: dict[str, int]
    packets: int
    wire_bytes: int


class Timeline:
    """One stream's descriptors: of slot `slot` in its `epoch`. Bases come from the stream's card."""

    def __init__(self, arena: Arena, slot: int, card: dict[str, int]) -> None:
        sizes = arena.geometry
        self._words = arena.words
        self.ring_bytes = sizes.ring_bytes
        self._size = sizes.descriptors
        cursors = layout.cursor_words(sizes, slot)
        self._claim_at, self._commit_at, self._d_claim_at, self._d_commit_at, self._epoch_at, self._version_at = cursors
        self._totals_at = [layout.totals_word(sizes, slot, copy) for copy in (0, 1)]
        self._columns = tuple(layout.column_words(sizes, slot))
        self._media_column, self._ring_column, *_, self._gaps_column = self._columns
        self._epoch = card["epoch"]
        self.ring_base = card["ring_base"]
        self.media_base = card["media_base"]
        self._first = card["descriptor_base"]
        self.frame_bytes = max(1, card["channels"]) * 2

    def check_epoch(self) -> None:
        if self._words[self._epoch_at] != self._epoch:
            raise Recycled

    @property
    def recycled(self) -> bool:
        """Whether the slot's cursors belong to a later stream. Its card says so only a little later, or never, if the
        taker was killed in between: whoever waits for an end of `Recycled` asks this (tests/unit/test_stream.py)."""
        return self._words[self._epoch_at] != self._epoch

    @property
    def commit(self) -> int:
        return self._words[self._commit_at]

    @property
    def claim(self) -> int:
        return self._words[self._claim_at]

    def check_byte(self, first_byte: int) -> None:
        """Raise Recycled if anything from ring position `first_byte` on may have been overwritten by now."""
        if self.claim - self.ring_bytes > first_byte:
            raise Recycled

    def _span(self, index: int, commit: int, newest: int) -> Span:
        at, words = index % self._size, self._words
        media_column, ring_column, skip_column, cause_column, arrival, packets, wire_bytes, gaps_before = self._columns
        media, ring, skip = words[media_column + at], words[ring_column + at], words[skip_column + at]
        cause = words[cause_column + at]
        if index == newest:
            end = media + skip + (commit - ring) // self.frame_bytes if commit > ring else media + skip
        else:
            end = words[media_column + (index + 1) % self._size]
        return Span(
            index,
            media,
            ring,
            skip,
            cause & layout.CAUSE_MASK,
            words[arrival + at],
            words[packets + at],
            words[wire_bytes + at],
            words[gaps_before + at],
            end,
            cause > layout.CAUSE_MASK,
        )

    def _oldest_index(self) -> int:
        oldest = self._words[self._d_claim_at] - self._size
        return oldest if oldest > self._first else self._first

    def newest(self) -> Span | None:
        """Return the span at the end of the stream, None before the first packet. Its `media_end` is the length.

        `commit` is loaded first, so the span may begin past it: then it counts as empty. Everything before a descriptor
        that is there has been published, since `d_commit` is stored after the `commit` of the packet before.
        """
        while True:
            commit = self.commit
            index = self._words[self._d_commit_at] - 1
            self.check_epoch()
            if index < self._first:
                return None
            span = self._span(index, commit, index)
            if index >= self._oldest_index():
                self.check_epoch()
                return span

    @property
    def end(self) -> int:
        """The media frame behind the last published one."""
        span = self.newest()
        return self.media_base if span is None else span.media_end

    def span_at(self, frame: int, newest: Span) -> Span:
        """Return the span that holds `frame`, which must lie before `newest.media_end`; Recycled if history is gone."""
        if frame >= newest.media_first:
            return newest
        index = self._bisect(self._media_column, frame, newest.number)
        span = self._span(index, newest.ring_first, newest.number)
        if index < self._oldest_index() or frame < span.media_first:
            raise Recycled
        self.check_epoch()
        return span

    def _bisect(self, column: int, value: int, newest_index: int) -> int:
        """Return the last descriptor whose word in `column`, which never falls from one to the next, is <= `value`.

        Searched where it lies, by the C bisect: 0.6 us instead of 4 with a key function. Where the column wraps, its
        first word says in which of its two rising parts to look. A word that the writer has replaced meanwhile is too
        large and only leads before what is still there, which the caller finds out (test_interleavings.py).
        """
        words, low = self._words, self._oldest_index()
        start, stop = column + low % self._size, column + newest_index % self._size + 1
        if start >= stop:
            if words[column] <= value:
                low += column + self._size - start
                start = column
            else:
                stop = column + self._size
        return low + bisect_right(words, value, start, stop) - start - 1

    def next_gap(self, span: Span, newest: Span) -> Span:
        """Return the first gap behind a span before the newest one; the newest one if there is none.

        It is the last descriptor before which there are no more gap frames than before the end of `span`, so half a
        minute of 3,000 spans is one bisect.
        """
        index = self._bisect(self._gaps_column, span.gap_frames_before(span.media_end), newest.number)
        gap = newest if index == newest.number else self._span(index, newest.ring_first, newest.number)
        if not self._oldest_index() <= span.number < index <= newest.number:
            raise Recycled
        self.check_epoch()
        return gap

    def gap_spans(self, first: int, end: int, newest: Span) -> list[Span]:
        """Return the gap spans that cover any of media frames `first` to `end`, both inside what is readable."""
        found: list[Span] = []
        if first >= end:
            return found
        span = self.span_at(first, newest)
        while span.media_first < end:
            if span.is_gap:
                found.append(span)
            if span.number == newest.number:
                break
            span = self.next_gap(span, newest)
        return found

    def spans(self, first: int, end: int, newest: Span, audio_frames: int | None = None) -> list[Span]:
        """Return the spans that cover media frames `first` to `end`, both inside what is readable.

        Fewer, if those found hold `audio_frames` of audio from `first` on: half a minute is 3,000 spans.
        """
        span = self.span_at(first, newest)
        found = [span]
        missing = end - first if audio_frames is None else audio_frames
        while span.media_end < end and span.number < newest.number:
            missing -= 0 if span.is_gap else span.media_end - max(first, span.media_first)
            if missing <= 0:
                break
            index = span.number + 1
            span = newest if index == newest.number else self._span(index, newest.ring_first, newest.number)
            found.append(span)
        if found[0].number < self._oldest_index():
            raise Recycled
        self.check_epoch()
        return found

    def ring_byte(self, frame: int, span: Span) -> int:
        """Return the ring position, in bytes, of a frame of a span; of a skipped one, where its silence starts."""
        return span.ring_first + max(0, frame - span.media_first - span.skip) * self.frame_bytes

    def oldest(self, newest: Span) -> tuple[int, int]:
        """Return the oldest frame that can still be read, and how many gap frames lie before it."""
        low = self._oldest_index()
        first_byte = self.claim - self.ring_bytes
        if first_byte <= self.ring_base and low == self._first:
            return self.media_base, 0
        # A frame of which some bytes are gone is gone.
        whole = self.ring_base + -(-max(0, first_byte - self.ring_base) // self.frame_bytes) * self.frame_bytes
        if whole > newest.ring_first + (newest.media_end - newest.media_first - newest.skip) * self.frame_bytes:
            return newest.media_end, newest.gap_frames_before(newest.media_end)
        index = max(self._bisect(self._ring_column, whole, newest.number), low)
        span = newest if index == newest.number else self._span(index, newest.ring_first, newest.number)
        frame = span.media_first
        if whole > span.ring_first:
            frame += span.skip + (whole - span.ring_first) // self.frame_bytes
        self.check_epoch()
        return frame, span.gap_frames_before(frame)

    def totals(self) -> Totals:
        """Return the sums by cause, consistent with one another, also while the writer goes on or after its death."""
        words = self._words
        while True:
            version = words[self._version_at]
            at = self._totals_at[version & 1]
            valid_from, *sums = (words[at + i] for i in range(len(layout.CAUSES)))
            span = self.newest()
            if words[self._version_at] == version:
                break
        if span is None:
            return Totals(0, 0, 0, dict.fromkeys(layout.CAUSES[layout.PAUSE :], 0), 0, 0)
        # A descriptor below `valid_from` is in the sums already: its writer was killed before the next one appeared.
        if span.cause > layout.DECODED and span.number >= valid_from:
            sums[span.cause - 1] += span.media_end - span.media_first
        length = span.media_end - self.media_base
        return Totals(
            length,
            length - sum(sums),
            sums[layout.CONCEALED - 1],
            {layout.CAUSES[cause]: sums[cause - 1] for cause in sorted(layout.GAP_CAUSES)},
            span.packets,
            span.wire_bytes,
        )
