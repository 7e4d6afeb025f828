"""One stream's way into memory, from its admission to its end: packets into its ring, its life into card, events, log.

Knows no socket and no session. Invariants: every frame of the timeline comes from one call here; when a stream ends
its lock is released and its card says why, whatever else fails.
"""

import json
import logging
import time
from functools import partial

from audiohook.memory import layout
from audiohook.memory.cards import read_card, read_number, update_card
from audiohook.memory.syscalls import futex_wake
from audiohook.memory.timeline import Timeline
from audiohook.memory.verdict import ending
from audiohook.memory.writer import StreamWriter
from audiohook.session.events import AdmissionAsked, AudioHeld, Ended, GapArrived, StreamEvent, TimeMeasured
from audiohook.units import NS_PER_S, frames_ns
from audiohook.worker.ancestry import Ancestor
from audiohook.worker.feed import Decoder, OpusFeed, feed_for, portion_bytes
from audiohook.worker.recut_notice import tell_recut
from audiohook.worker.share import Share

log = logging.getLogger("audiohook.worker")

_STATES = {"paused": layout.PAUSED, "resumed": layout.LIVE, "held": layout.HELD, "unheld": layout.LIVE}
_FLAGS_SET = {"degraded": layout.FLAG_DEGRADED, "no_audio": layout.FLAG_NO_AUDIO, "held": layout.FLAG_HELD}
_FLAGS_CLEARED = {
    "recovered": layout.FLAG_DEGRADED,
    "held": layout.FLAG_DEGRADED,  # silence means nothing on hold
    "unheld": layout.FLAG_HELD,
}
TOLD = frozenset(_STATES) | frozenset(_FLAGS_SET) | frozenset(_FLAGS_CLEARED)
"""Notices that readers are told; the others are only counted."""


class StreamIntake:
    """`end` must be called once, whatever happened."""

    def __init__(
        self,
        share: Share,
        slot: int,
        stream_id: str,
        asked: AdmissionAsked,
        decoder: Decoder,
        source_address: str,
        first_frame: int,
        ancestor: Ancestor | None,
    ) -> None:
        media, identity = asked.media, asked.identity
        self._share = share
        self._row = share.row
        self.slot = slot
        self.epoch: int = read_number(share.arena, slot, "epoch")
        self.stream_id = stream_id
        self.continues_from_frames = None if ancestor is None else ancestor.end_frame
        self._returned_to = ancestor if ancestor is not None and ancestor.last_packet_ns else None
        self._call_id = identity.call_id
        self._rate_hz = media.rate_hz
        self.portion_bytes = portion_bytes(media)
        self._writer = StreamWriter(share.arena, slot, media.rate_hz, len(media.channel_names), first_frame)
        recut_told = partial(tell_recut, share, stream_id, self._call_id)
        self._feed = feed_for(decoder, media, self._writer, share.row, recut_told)
        self._flags: int = read_number(share.arena, slot, "flags")
        self._state = layout.LIVE
        self._opened_ns = time.monotonic_ns()
        self._last_packet_ns = 0
        self._commit_address = share.arena.word_address(self._writer.commit_word)
        update_card(share.arena, slot, state=layout.LIVE)
        self._row.count("streams_opened")
        known = {} if ancestor is None else {"continues": ancestor.stream_id}
        if identity.correlation_id:
            known["correlation"] = identity.correlation_id
        self.tell(
            "stream_started",
            direction=identity.direction,
            slot=slot,
            dialect=identity.dialect,
            source=source_address,
            **known,
        )
        log.info(
            "stream started stream=%s call=%s direction=%s codec=%s rate_hz=%d slot=%d from=%s%s",
            stream_id,
            self._call_id,
            identity.direction,
            media.codec,
            media.rate_hz,
            slot,
            source_address,
            "".join(f" {name}={value}" for name, value in known.items()),
        )

    def receive(self, message: bytes, now_ns: int) -> None:
        """Decode one message of audio into the ring and publish it."""
        if message and self._returned_to is None:
            self._last_packet_ns = now_ns
        elif not self._arrives(message, now_ns):
            return
        self._feed.take(message, now_ns)
        self._share.published(self.slot, self._commit_address)

    def take(self, event: StreamEvent, now_ns: int) -> None:
        """Take what its session says of it."""
        if isinstance(event, GapArrived):
            self._pass_gap(event, now_ns)
        elif isinstance(event, AudioHeld):
            self._skip([event.payload], layout.HOLD, now_ns)  # nobody may hear it
        elif isinstance(event, TimeMeasured):
            self._pass_measured(event.elapsed_ns, now_ns)
        else:
            self._notice(event.kind)

    def shed(self, messages: list[bytes], now_ns: int) -> None:
        """Let the time of messages pass that are not decoded because this worker is late (worker/overload.py)."""
        self._row.count("shed_messages", len(messages))
        self._skip(messages, layout.DROP, now_ns)

    def _skip(self, messages: list[bytes], cause: int, now_ns: int) -> None:
        audible = [message for message in messages if self._arrives(message, now_ns)]
        if audible:
            self._feed.skip(audible, cause, now_ns)
            self._share.published(self.slot, self._commit_address)

    def _arrives(self, message: bytes, now_ns: int) -> bool:
        """Take note of a message, and return whether there is audio in it."""
        if not message:
            # Not a packet: libopus would take it for a lost one and make up sound.
            self._row.count("empty_messages")
            return False
        if self._returned_to is not None:
            self._bridge(self._returned_to, now_ns)
        self._last_packet_ns = now_ns
        return True

    @property
    def media_ns(self) -> int:
        """How much media time has passed in this stream."""
        return frames_ns(self._writer.media_frames, self._rate_hz)

    def _pass_measured(self, elapsed_ns: int, now_ns: int) -> None:
        """Let the time of a hold pass in which nothing was sent. The next packet follows at once."""
        if isinstance(self._feed, OpusFeed):
            self._feed.measure(elapsed_ns, layout.HOLD, now_ns)

    def _bridge(self, earlier: Ancestor, now_ns: int) -> None:
        """Before the first packet: the time since the last one of the stream that this one returned to."""
        self._returned_to = None
        if isinstance(self._feed, OpusFeed):
            self._feed.measure(now_ns - earlier.last_packet_ns, earlier.cause, now_ns)

    def _pass_gap(self, gap: GapArrived, now_ns: int) -> None:
        """Let media time pass without audio."""
        self._writer.gap(gap.frames, layout.CAUSES.index(gap.cause), now_ns)
        self._share.published(self.slot, self._commit_address)

    def mask(self, now_ns: int) -> int:
        """Keep speech out of the ring from here on, its length kept; return the first masked frame."""
        self._feed.masked = True
        return self._writer.media_frames

    def unmask(self) -> int:
        """Let speech into the ring again; return the first frame that is heard."""
        self._feed.masked = False
        return self._writer.media_frames

    def mask_back(self, seconds_ns: int) -> tuple[int, int]:
        """Zero what is in the ring of the last `seconds_ns`; return the frames that it was, first and end.

        Time is the stream's own, gaps included. Samples only: descriptors and totals stay as they are, and views that a
        reader holds are not promised anything.
        """
        arena = self._share.arena
        timeline = Timeline(arena, self.slot, read_card(arena, self.slot))
        newest = timeline.newest()
        if newest is None:
            return timeline.media_base, timeline.media_base
        oldest, _ = timeline.oldest(newest)
        first = max(oldest, newest.media_end - seconds_ns * self._rate_hz // NS_PER_S)
        if first < newest.media_end:
            self._writer.wipe(timeline.ring_byte(first, timeline.span_at(first, newest)))
        return first, newest.media_end

    def _notice(self, kind: str) -> None:
        """Take note of something that changed no sample; readers are told what concerns them."""
        self._row.count(kind)
        if kind not in TOLD:
            return
        self._flags = self._flags & ~_FLAGS_CLEARED.get(kind, 0) | _FLAGS_SET.get(kind, 0)
        self._state = _STATES.get(kind, self._state)
        update_card(self._share.arena, self.slot, flags=self._flags, state=self._state)
        self.tell(kind)

    def tell(self, kind: str, **fields: object) -> None:
        """Write an event of this stream."""
        self._share.tell(kind, stream=self.stream_id, call=self._call_id, **fields)

    def end(self, ended: Ended, now_ns: int) -> None:
        """The connection is over: park the stream for its peer's return, or end it and give its verdict."""
        ending_fields: dict[str, int | str] = {
            "end_reason": ended.reason,
            "close_code": ended.code or 0,
            "close_reason": ended.text,
            "flags": self._flags,
            "last_packet_ns": self._last_packet_ns or getattr(self._returned_to, "last_packet_ns", 0),
        }
        try:
            self._feed.finish(now_ns)
        finally:
            if ended.waits_ns:
                self._park(ended, now_ns, ending_fields)
            else:
                self._finish(now_ns, ending_fields)

    def _park(self, ended: Ended, now_ns: int, ending_fields: dict[str, int | str]) -> None:
        self._share.pool.park(self.slot, now_ns + ended.waits_ns, **ending_fields)
        self._row.count("parked")
        self._row.count(ended.reason)
        seconds = ended.waits_ns / 1e9
        self.tell("parked", reason=ended.reason, code=ended.code, waits_seconds=seconds)
        futex_wake(self._commit_address)
        log.info(
            "stream parked stream=%s call=%s reason=%s code=%s waits_seconds=%g",
            self.stream_id,
            self._call_id,
            ended.reason,
            ended.code,
            seconds,
        )

    def _finish(self, now_ns: int, ending_fields: dict[str, int | str]) -> None:
        share = self._share
        try:
            card = {**read_card(share.arena, self.slot), "slot": self.slot, **ending_fields}
            verdict = ending(share.arena, card, now_ns)
        finally:
            share.pool.release(self.slot, **ending_fields)
        self._row.count("streams_ended")
        self._row.count(verdict["reason"])
        self.tell("stream_ended", **verdict)
        futex_wake(self._commit_address)
        log.info(
            "stream ended stream=%s call=%s reason=%s code=%s seconds=%.1f length_frames=%d concealed_frames=%d "
            "gaps_frames=%s packets=%d",
            self.stream_id,
            self._call_id,
            verdict["reason"],
            verdict["code"],
            verdict["seconds"],
            verdict["length_frames"],
            verdict["concealed_frames"],
            json.dumps(verdict["gaps_frames"]),
            verdict["packets"],
        )
