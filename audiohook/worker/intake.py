"""Where calls meet memory: a slot for each stream, packets into its ring, its life into card, events and log.

Knows no socket. One `Intake` a worker, one `StreamIntake` a stream. Invariants: nothing a peer sends is decoded before
it has a slot; when a stream ends its lock is released and its card says why, whatever else fails.
"""

import json
import logging
import time
import uuid
from typing import Any

from audiohook.codec.l16 import ByteOrder
from audiohook.codec.opus import OpusError
from audiohook.errors import INTERNAL_ERROR, NO_DECODER, NO_SLOT, Refusal
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.event_ring import EventWriter, encode_event
from audiohook.memory.pool import SlotPool
from audiohook.memory.row import Row
from audiohook.memory.syscalls import futex_wake
from audiohook.memory.timeline import Timeline
from audiohook.memory.writer import StreamWriter
from audiohook.session.events import AdmissionAsked, Continues, Counted, Ended, GapArrived
from audiohook.worker.ancestry import Ancestor, find_ancestor
from audiohook.worker.feed import Decoder, decoder_for, feed_for

log = logging.getLogger("audiohook.worker")

TOLD = frozenset({"degraded", "recovered", "no_audio", "paused", "resumed"})
"""Notices that readers are told; the others are only counted."""


class Intake:
    """A worker's share of the memory."""

    def __init__(
        self,
        arena: Arena,
        pool: SlotPool,
        row: Row,
        generation: int,
        watch: memoryview,
        byte_order: ByteOrder = "little",
    ) -> None:
        self.arena = arena
        self.pool = pool
        self.row = row
        self.watch = watch
        self.byte_order: ByteOrder = byte_order
        self._generation = generation
        self.events = EventWriter(arena, row.number)

    def admit(
        self, asked: AdmissionAsked, source_address: str, continues: Continues | None = None
    ) -> "StreamIntake | Refusal":
        """Make room for a stream, which may go on where another one ended."""
        identity, media = asked.identity, asked.media
        try:
            decoder = decoder_for(media, self.byte_order)
        except OpusError as error:
            log.error("no decoder: %s", error)
            return NO_DECODER
        ancestor = None if continues is None else find_ancestor(self.pool, identity, continues.session_ids)
        first_frame = 0 if continues is None else continues.first_frames
        if ancestor is not None:
            first_frame = ancestor.end_frame
        stream_id = str(uuid.uuid4())
        slot = self.pool.acquire(
            self.row.number,
            self._generation,
            stream_id=stream_id,
            dialect=identity.dialect,
            codec=media.codec,
            framing=media.framing,
            rate_hz=media.rate_hz,
            channels=len(media.channel_names),
            channel_names=",".join(media.channel_names),
            call_id=identity.call_id,
            session_id=identity.session_id,
            user_id=identity.user_id,
            participant_id=identity.participant_id,
            organization_id=identity.organization_id,
            direction=identity.direction,
            ani=identity.ani,
            dnis=identity.dnis,
            source_address=source_address,
            media_base=first_frame,
            **({} if ancestor is None else {"continues_slot": ancestor.slot, "continues_epoch": ancestor.epoch}),
        )
        if slot is None:
            return NO_SLOT
        try:
            stream = StreamIntake(self, slot, stream_id, asked, decoder, source_address, first_frame, ancestor)
        except Exception:
            # The ring could not be mapped, say. Nobody else will ever give this slot back while the process lives.
            self.pool.release(slot, end_reason=INTERNAL_ERROR.slug)
            raise
        if ancestor is not None:
            ancestor.link(self.pool, slot, read_card(self.arena, slot)["epoch"])
        return stream

    def tell(self, kind: str, **fields: Any) -> None:
        """Write an event and wake whoever follows."""
        self.events.write(encode_event(kind, {"at_ns": time.time_ns(), "row": self.row.number, **fields}))
        self.row.owe_bell()

    def count(self, counted: Counted) -> None:
        self.row.count(counted.kind, counted.times)


class StreamIntake:
    """One stream's way into memory, from admission to its end. `end` must be called once, whatever happened."""

    def __init__(
        self,
        intake: Intake,
        slot: int,
        stream_id: str,
        asked: AdmissionAsked,
        decoder: Decoder,
        source_address: str,
        first_frame: int,
        ancestor: Ancestor | None,
    ) -> None:
        media, identity = asked.media, asked.identity
        self._intake = intake
        self._row = intake.row
        self.slot = slot
        self.epoch: int = read_card(intake.arena, slot)["epoch"]
        self.continues_from_frames = None if ancestor is None else ancestor.end_frame
        self._stream_id = stream_id
        self._call_id = identity.call_id
        self._writer = StreamWriter(intake.arena, slot, media.rate_hz, len(media.channel_names), first_frame)
        self._feed = feed_for(decoder, media, self._writer, intake.row)
        self._flags = 0
        self._state = layout.LIVE
        self._opened_ns = time.monotonic_ns()
        self._commit_address = intake.arena.word_address(self._writer.commit_word)
        update_card(intake.arena, slot, state=layout.LIVE)
        self._row.count("streams_opened")
        continued = {} if ancestor is None else {"continues": ancestor.stream_id}
        intake.tell(
            "stream_started",
            stream=stream_id,
            call=self._call_id,
            direction=identity.direction,
            slot=slot,
            dialect=identity.dialect,
            source=source_address,
            **continued,
        )
        log.info(
            "stream started stream=%s call=%s direction=%s codec=%s rate_hz=%d slot=%d from=%s",
            stream_id,
            self._call_id,
            identity.direction,
            media.codec,
            media.rate_hz,
            slot,
            source_address,
        )

    def receive(self, message: bytes, now_ns: int) -> None:
        """Decode one message of audio into the ring and publish it."""
        if not message:
            # Not a packet: libopus would take it for a lost one and make up sound.
            self._row.count("empty_messages")
            return
        self._feed.take(message, now_ns)
        self._wake()

    def pass_gap(self, gap: GapArrived, now_ns: int) -> None:
        """Let media time pass without audio."""
        self._writer.gap(gap.frames, layout.CAUSES.index(gap.cause), now_ns)
        self._wake()

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

        Samples only: descriptors and totals stay as they are, and views that a reader holds are not promised anything.
        """
        return self._writer.wipe(seconds_ns)

    def _wake(self) -> None:
        if self._intake.watch[self.slot]:
            futex_wake(self._commit_address)
        self._row.owe_bell()

    def notice(self, kind: str) -> None:
        """Take note of something that changed no sample; readers are told what concerns them."""
        self._row.count(kind)
        if kind not in TOLD:
            return
        if kind == "degraded":
            self._flags |= layout.FLAG_DEGRADED
        elif kind == "recovered":
            self._flags &= ~layout.FLAG_DEGRADED
        elif kind == "no_audio":
            self._flags |= layout.FLAG_NO_AUDIO
        elif kind == "paused":
            self._state = layout.PAUSED
        elif kind == "resumed":
            self._state = layout.LIVE
        update_card(self._intake.arena, self.slot, flags=self._flags, state=self._state)
        self._intake.tell(kind, stream=self._stream_id, call=self._call_id)

    def tell(self, kind: str, **fields: Any) -> None:
        """Write an event of this stream."""
        self._intake.tell(kind, stream=self._stream_id, call=self._call_id, **fields)

    def end(self, ended: Ended, now_ns: int) -> None:
        """End the stream: its verdict goes to card, event ring and log, its slot back to the pool."""
        intake = self._intake
        ending: dict[str, int | str] = {
            "end_reason": ended.reason,
            "close_code": ended.code or 0,
            "close_reason": ended.text,
            "flags": self._flags,
        }
        try:
            self._feed.finish(now_ns)
            totals = Timeline(intake.arena, self.slot, read_card(intake.arena, self.slot)).totals()
        finally:
            intake.pool.release(self.slot, **ending)
        seconds = (now_ns - self._opened_ns) / 1e9
        self._row.count("streams_ended")
        self._row.count(ended.reason)
        verdict = {
            "reason": ended.reason,
            "code": ended.code,
            "seconds": round(seconds, 3),
            "length_frames": totals.length,
            "decoded_frames": totals.decoded,
            "concealed_frames": totals.concealed,
            "gaps_frames": {cause: frames for cause, frames in totals.gaps.items() if frames},
            "packets": totals.packets,
            "wire_bytes": totals.wire_bytes,
            "no_audio": bool(self._flags & layout.FLAG_NO_AUDIO),
        }
        intake.tell("stream_ended", stream=self._stream_id, call=self._call_id, **verdict)
        futex_wake(self._commit_address)
        log.info(
            "stream ended stream=%s call=%s reason=%s code=%s seconds=%.1f length_frames=%d concealed_frames=%d "
            "gaps_frames=%s packets=%d",
            self._stream_id,
            self._call_id,
            ended.reason,
            ended.code,
            seconds,
            totals.length,
            totals.concealed,
            json.dumps(verdict["gaps_frames"]),
            totals.packets,
        )
