"""A stream as a reader sees it: who it is, how it stands, and what of it can be had without waiting.

Reads the arena and nothing else. Its audio in blocks, as it comes, is `following.py`'s. Invariants: a block is never
called valid if one of its samples may have been overwritten; a stream can be asked about after its slot was reused.
"""

import time
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from audiohook.errors import Overrun, WriterGone
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.block import Block, Cutter, gap_of
from audiohook.memory.cards import card_version, read_card
from audiohook.memory.chain import Key, card_behind, card_of
from audiohook.memory.mirror import MirroredRing
from audiohook.memory.timeline import Gap, Recycled, Timeline, Totals
from audiohook.memory.waiting import CommitWait
from audiohook.units import NS_PER_S, seconds_ns

WRITER_GONE_NS = 5 * NS_PER_S
"""A card whose keeper's heartbeat (written ten times a second) is older than this has none any more."""


class StreamView(ABC):
    """One stream: (arena, slot, epoch). Keeps its last card, so it can be asked about after its slot was reused.

    Everything but waiting: `Stream` waits in its thread, `AsyncStream` in an event loop.
    """

    lost_frames = 0
    """Frames that the last loop over this stream has jumped over so far, where it was to go on after an Overrun."""

    def __init__(self, arena: Arena, slot: int, card: dict[str, Any]) -> None:
        self._arena = arena
        self.slot = slot
        self.epoch: int = card["epoch"]
        self._card = card
        self._gone = False
        self.timeline = Timeline(arena, slot, card)
        self._cutter: Cutter | None = None
        self._last_totals = Totals(0, 0, 0, {}, 0, 0)

    @abstractmethod
    def _related(self, card: dict[str, Any]) -> Self:
        """Return another stream of the same kind in the same arena, by its card with `slot` in it."""

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
    def channels(self) -> int:
        """Samples a frame."""
        channels: int = self._card["channels"]
        return channels

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
        return self.card()["state"] in layout.OVER_STATES or self._gone

    @property
    def parked(self) -> bool:
        """Whether its peer has left and may come back: no frame is added here, and it is not over yet."""
        return bool(self.card()["state"] == layout.PARKED)

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

    # ---------------------------------------------------------------------------------------- what it belongs to

    @property
    def returned(self) -> bool:
        """Whether it goes on where a stream that was PARKED ended: `blocks()` of that one goes on into this one."""
        return bool(self.card()["flags"] & layout.FLAG_RETURN)

    @property
    def taken_on(self) -> bool:
        """Whether its peer came back, so that it ended only here: `continued_by` is where it goes on."""
        return bool(self.card()["flags"] & layout.FLAG_TAKEN_ON)

    @property
    def continues(self) -> Self | None:
        """The stream where this one's call began or went on before, None if there is none or its slot was reused."""
        return self._found(card_of(self._arena, self.continues_key))

    @property
    def continues_key(self) -> Key:
        """Slot and epoch of the stream that it continues; (layout.NO_SLOT, 0) if there is none."""
        card = self.card()
        return card["continues_slot"], card["continues_epoch"]

    @property
    def continued_by(self) -> Self | None:
        """The stream where this one's call goes on, None if there is none or its slot was reused."""
        return self._found(card_of(self._arena, self._continued_by_key))

    def successor(self) -> Self | None:
        """Return the stream that `blocks()` goes on with behind this one's end, None if it ends here.

        Only what was PARKED goes on. Where slots were reused meanwhile, it is the next one that is still there.
        """
        if self.taken_on:
            return self._found(card_behind(self._arena, (self.slot, self.epoch), self._continued_by_key))
        if self.gone:  # perhaps it was taken on without our seeing its card say so
            return self._found(card_behind(self._arena, (self.slot, self.epoch), None))
        return None

    @property
    def _continued_by_key(self) -> Key:
        card = self.card()
        return card["continued_by_slot"], card["continued_by_epoch"]

    def _found(self, card: dict[str, Any] | None) -> Self | None:
        return None if card is None else self._related(card)

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
        timeline, wanted_frames = self.timeline, max(0, seconds_ns(seconds)) * self.sample_rate // NS_PER_S
        short = False
        while True:
            try:
                newest = timeline.newest()
                if newest is None:
                    return Block(timeline, self._nothing(), None, timeline.media_base, 0, ())
                # How far history reaches is asked only where it proves too short: asking costs half of a window.
                oldest = timeline.oldest(newest)[0] if short else timeline.media_base
                end = newest.media_end
                first = end - wanted_frames
                block = self.cutter().cut(first if first > oldest else min(oldest, end), end, newest)
                if block.still_valid():
                    return block
            except Recycled:
                if timeline.recycled:
                    raise Overrun(0, None) from None
            short = True

    def gaps(self) -> list[Gap]:
        """Return the gaps within the history that can still be read, oldest first."""
        while True:
            try:
                newest = self.timeline.newest()
                if newest is None:
                    return []
                first, _ = self.timeline.oldest(newest)
                spans = self.timeline.gap_spans(first, newest.media_end, newest)
            except Recycled:
                if self.timeline.recycled:
                    return []
                continue
            return [gap_of(span, first, newest.media_end) for span in spans]

    # ---------------------------------------------------------------------------------------- its writer

    def commit_wait(self) -> CommitWait:
        """Return what a loop over this stream waits for."""
        return CommitWait(self._arena, self.slot, self._card["row"])

    def check_writer(self) -> None:
        """Raise WriterGone if nobody writes this stream any more and nobody has said so.

        A PARKED stream has no writer, and is the supervisor's to end.
        """
        card = self.card()
        if self.over:
            return
        sizes = self._arena.geometry
        row = sizes.supervisor_row if card["state"] == layout.PARKED else card["row"]
        beat = self._arena.words[layout.row_word(sizes, row, "heartbeat_ns")]
        if time.monotonic_ns() - beat > WRITER_GONE_NS and not self.over and self.card() is card:
            raise WriterGone(f"the writer of stream {self.stream_id} has given no sign of life for 5 s")

    def _nothing(self) -> Any:
        return np.zeros((0, self._card["channels"]), np.int16)


_CARD_TEXTS = frozenset(
    name for name in layout.CARD.names or () if layout.CARD[name].kind == "S" and name != "channel_names"
)
