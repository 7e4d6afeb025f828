"""How a call gets its place in memory: a slot, maybe as the continuation of another stream, or a refusal.

Knows no socket; what then happens to the stream is `stream_intake.py`'s. Invariants: nothing a peer sends is decoded
before it has a slot; whatever fails on the way, no slot stays taken for a stream that never began.
"""

import logging
import time
import uuid
from collections.abc import Callable

from audiohook.codec.l16 import ByteOrder
from audiohook.codec.opus import OpusError
from audiohook.errors import (
    ADDRESS_FULL,
    HOST_FULL,
    INTERNAL_ERROR,
    NO_DECODER,
    NO_SLOT,
    ORGANIZATION_FULL,
    WORKER_FULL,
    Refusal,
)
from audiohook.memory import layout
from audiohook.memory.admission import Admission, Cap, Caps
from audiohook.memory.cards import read_card
from audiohook.memory.syscalls import futex_wake
from audiohook.memory.verdict import ending
from audiohook.session.events import AdmissionAsked, Continues, Identity, Media
from audiohook.worker.ancestry import Ancestor, find_ancestor
from audiohook.worker.feed import decoder_for
from audiohook.worker.share import Share
from audiohook.worker.stream_intake import StreamIntake

log = logging.getLogger("audiohook.worker")


_FULL = {
    Cap.HOST: HOST_FULL,
    Cap.WORKER: WORKER_FULL,
    Cap.ADDRESS: ADDRESS_FULL,
    Cap.ORGANIZATION: ORGANIZATION_FULL,
}


class Intake:
    """One a worker."""

    def __init__(
        self,
        share: Share,
        byte_order: ByteOrder = "little",
        reconnect_ns: int = 0,
        caps: Callable[[], Caps] = Caps,
    ) -> None:
        """`reconnect_ns`: how long after its worker's death a stream can still be returned to."""
        self.row = share.row
        self._share = share
        self._byte_order: ByteOrder = byte_order
        self._reconnect_ns = reconnect_ns
        self._admission = Admission(share.pool, caps)

    def admit(
        self, asked: AdmissionAsked, source_address: str, continues: Continues | None = None
    ) -> StreamIntake | Refusal:
        """Make room for a stream, which may go on where another one ended."""
        try:
            decoder = decoder_for(asked.media, self._byte_order)
        except OpusError as error:
            log.error("no decoder: %s", error)
            return NO_DECODER
        pool = self._share.pool
        ancestor = find_ancestor(pool, asked, continues, self._reconnect_ns)
        stream_id = str(uuid.uuid4())
        first_frame = 0 if continues is None else continues.first_frames
        described = {
            "stream_id": stream_id,
            "source_address": source_address,
            **_described(asked.identity, asked.media),
        }
        slot = self._acquire(described, first_frame, ancestor)
        if slot is None and ancestor is not None and ancestor.taken:
            # Every other slot is in use. A peer that comes back is not refused for the sake of what it said before.
            pool.let_go(ancestor.slot)
            ancestor = None
            slot = self._acquire(described, first_frame, None)
        if not isinstance(slot, int):
            if ancestor is not None and ancestor.taken:
                pool.let_go(ancestor.slot)  # PARKED as before: who is refused now may return later
            return NO_SLOT if slot is None else _FULL[slot]
        try:
            first_frame = first_frame if ancestor is None else ancestor.end_frame
            stream = StreamIntake(self._share, slot, stream_id, asked, decoder, source_address, first_frame, ancestor)
        except Exception:
            # The ring could not be mapped, say. Nobody else will ever give this slot back while the process lives.
            pool.release(slot, end_reason=INTERNAL_ERROR.slug)
            if ancestor is not None and ancestor.taken:
                pool.let_go(ancestor.slot)
            raise
        if ancestor is not None:
            self._link(ancestor, stream)
        return stream

    def _acquire(
        self, described: dict[str, int | str], first_frame: int, ancestor: Ancestor | None
    ) -> int | Cap | None:
        share = self._share
        if ancestor is not None:
            described = {**described, **ancestor.names(), "media_base": ancestor.end_frame}
        else:
            described = {**described, "media_base": first_frame}
        slot = self._admission.acquire(share.row.number, share.generation, **described)
        for card in share.pool.pushed_out:
            # Its audio is gone with its slot, and so is its verdict; that it ended is told all the same.
            share.row.count("streams_ended")
            share.tell("stream_ended", stream=card["stream_id"], call=card["call_id"], reason=card["end_reason"])
            log.warning("no slot but a parked stream's: ended stream=%s call=%s", card["stream_id"], card["call_id"])
        share.pool.pushed_out.clear()
        return slot

    def _link(self, ancestor: Ancestor, stream: StreamIntake) -> None:
        share = self._share
        ancestor.link(share.pool, stream.slot, stream.epoch)
        if not ancestor.taken:
            return
        commit = layout.cursor_word(share.arena.geometry, ancestor.slot, "commit")
        futex_wake(share.arena.word_address(commit))  # who waits on the old stream goes on in the new one
        share.row.count("returned")
        share.row.count("streams_ended")
        card = {**read_card(share.arena, ancestor.slot), "slot": ancestor.slot}
        if card["epoch"] == ancestor.card["epoch"]:
            verdict = ending(share.arena, card, time.monotonic_ns())
            told = {"stream": card["stream_id"], "call": card["call_id"], "continued_by": stream.stream_id}
            share.tell("stream_ended", **told, **verdict)


def _described(identity: Identity, media: Media) -> dict[str, int | str]:
    """Return what a stream's card says of its peer and its audio."""
    return {
        "dialect": identity.dialect,
        "codec": media.codec,
        "framing": media.framing,
        "rate_hz": media.rate_hz,
        "channels": len(media.channel_names),
        "channel_names": ",".join(media.channel_names),
        "call_id": identity.call_id,
        "session_id": identity.session_id,
        "user_id": identity.user_id,
        "participant_id": identity.participant_id,
        "organization_id": identity.organization_id,
        "direction": identity.direction,
        "ani": identity.ani,
        "dnis": identity.dnis,
    }
