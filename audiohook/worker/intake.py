"""Where calls meet memory: a slot and a decoder for each stream, packets into its ring, its life into card and events.

Knows no socket. One `Intake` a worker, one `StreamIntake` a stream. Invariants: nothing a peer sends is decoded before
it has a slot; whatever libopus says, media time advances by whole packets; when a stream ends its lock is released and
its card says why.
"""

import json
import logging
import time
import uuid
from typing import Any

from audiohook.codec.framing import framing_for
from audiohook.codec.opus import OpusDecoder, OpusError
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
from audiohook.session.events import AdmissionAsked, Ended

log = logging.getLogger("audiohook.worker")

STEREO_BIT = 0x04
USUAL_PACKETS_A_SECOND = 50


class Intake:
    """A worker's share of the memory."""

    def __init__(self, arena: Arena, pool: SlotPool, row: Row, generation: int, watch: memoryview) -> None:
        self.arena = arena
        self.pool = pool
        self.row = row
        self.watch = watch
        self._generation = generation
        self.events = EventWriter(arena, row.number)

    def admit(self, asked: AdmissionAsked, source_address: str) -> "StreamIntake | Refusal":
        """Make room for a stream: a decoder first (nothing to give back if that fails), then a slot."""
        identity, media = asked.identity, asked.media
        try:
            decoder = OpusDecoder(media.rate_hz, len(media.channel_names))
        except OpusError as error:
            log.error("no decoder: %s", error)
            return NO_DECODER
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
        )
        if slot is None:
            return NO_SLOT
        try:
            return StreamIntake(self, slot, stream_id, asked, decoder, source_address)
        except Exception:
            # The ring could not be mapped, say. Nobody else will ever give this slot back while the process lives.
            self.pool.release(slot, end_reason=INTERNAL_ERROR.slug)
            raise

    def tell(self, kind: str, **fields: Any) -> None:
        """Write an event and wake whoever follows."""
        self.events.write(encode_event(kind, {"at_ns": time.time_ns(), "row": self.row.number, **fields}))
        self.row.owe_bell()


class StreamIntake:
    """One stream's way into memory, from admission to its end. `end` must be called once, whatever happened."""

    def __init__(
        self,
        intake: Intake,
        slot: int,
        stream_id: str,
        asked: AdmissionAsked,
        decoder: OpusDecoder,
        source_address: str,
    ) -> None:
        media = asked.media
        self._intake = intake
        self._row = intake.row
        self.slot = slot
        self._stream_id = stream_id
        self._call_id = asked.identity.call_id
        self._decoder = decoder
        self._framing = framing_for(media.framing)
        self._rate_hz = media.rate_hz
        self._writer = StreamWriter(intake.arena, slot, media.rate_hz, len(media.channel_names))
        self._usual_frames = self._packet_frames = media.rate_hz // USUAL_PACKETS_A_SECOND
        self._flags = 0
        self._opened_ns = time.monotonic_ns()
        self._commit_address = intake.arena.word_address(self._writer.commit_word)
        update_card(intake.arena, slot, state=layout.LIVE)
        self._row.count("streams_opened")
        identity = {"stream": stream_id, "call": self._call_id, "direction": asked.identity.direction}
        intake.tell("stream_started", **identity, slot=slot, dialect=asked.identity.dialect, source=source_address)
        log.info(
            "stream started stream=%s call=%s direction=%s codec=%s rate_hz=%d slot=%d from=%s",
            stream_id,
            self._call_id,
            asked.identity.direction,
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
        for packet in self._framing.cut(message):
            self._decode(packet, now_ns)
        if self._intake.watch[self.slot]:
            futex_wake(self._commit_address)
        self._row.owe_bell()

    def _decode(self, packet: bytes, now_ns: int) -> None:
        row, writer, decoder = self._row, self._writer, self._decoder
        frames = decoder.decode_into(packet, writer.reserve(decoder.bound_frames))
        row.count("packets")
        row.count("wire_bytes", len(packet))
        row.observe("packet_bytes", len(packet))
        if frames <= 0:
            self._conceal(now_ns, len(packet))
            return
        writer.publish(frames, layout.DECODED, now_ns, len(packet))
        row.count("decoded_frames", frames)
        self._packet_frames = frames
        if frames != self._usual_frames or packet[0] & STEREO_BIT:
            row.count("unusual_packets")

    def _conceal(self, now_ns: int, wire_bytes: int) -> None:
        """Fill in for a packet that could not be decoded, for as long as the last good one was."""
        frames = self._packet_frames
        self._decoder.conceal_into(frames, self._writer.reserve(frames))
        self._writer.publish(frames, layout.CONCEALED, now_ns, wire_bytes)
        self._row.count("concealed_packets")

    def notice(self, kind: str) -> None:
        """Tell readers of something that changed no sample."""
        self._row.count(kind)
        flags = self._flags
        if kind == "degraded":
            flags |= layout.FLAG_DEGRADED
        elif kind == "recovered":
            flags &= ~layout.FLAG_DEGRADED
        elif kind == "no_audio":
            flags |= layout.FLAG_NO_AUDIO
        else:
            return
        self._flags = flags
        update_card(self._intake.arena, self.slot, flags=flags)
        self._intake.tell(kind, stream=self._stream_id, call=self._call_id)

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
            if self._framing.remainder():
                self._conceal(now_ns, len(self._framing.remainder()))
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
