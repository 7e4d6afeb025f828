"""Which earlier stream a new one continues, and how the two are tied together.

Two ways lead here. A peer names the sessions that it continues (`audiohook2`): the newest that has a stream here, over
or not. Or it simply comes back (`context`): then it is the stream of the same call, participant and direction that is
PARKED for it, or that was ABORTED under it a moment ago. A PARKED one is taken by its lock before anything else is
done, so of two that come back for it one gets it; with the new stream's card its own says `continued_by` and that it
has ended, in one update: who reads it never sees an end that is none.

A stream's card says what it `continues`; the earlier one's says by what it was continued, if its lock can be had: the
owner of a stream that still looks live is not waited for here (that is `succession.py`'s).
"""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from audiohook.memory import layout
from audiohook.memory.cards import read_card, read_number, update_card
from audiohook.memory.pool import SlotPool
from audiohook.memory.timeline import Recycled, Timeline
from audiohook.session.context import DIALECT as CONTEXT
from audiohook.session.events import AdmissionAsked, Continues, Identity


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An earlier stream, and the media frame behind its last one.

    `card` has `slot` in it. `taken`: it was PARKED, and its slot is ours until `link` or `let_go`. `last_packet_ns` is
    the arrival of its last packet where the gap between the two is to be measured, else 0.
    """

    card: dict[str, Any]
    end_frame: int
    taken: bool = False
    last_packet_ns: int = 0

    @property
    def slot(self) -> int:
        return int(self.card["slot"])

    @property
    def stream_id(self) -> str:
        return str(self.card["stream_id"])

    @property
    def cause(self) -> int:
        """Why nothing came between it and what continues it."""
        return layout.HOLD if self.card["flags"] & layout.FLAG_HELD else layout.LOSS

    def names(self) -> dict[str, int]:
        """Return what the card of the stream that continues it says of it."""
        flags = {"flags": layout.FLAG_RETURN} if self.taken else {}
        return {"continues_slot": self.slot, "continues_epoch": self.card["epoch"], **flags}

    def link(self, pool: SlotPool, slot: int, epoch: int) -> None:
        """Say on its card which stream continues it; one that was PARKED has ended with that."""
        continued = {"continued_by_slot": slot, "continued_by_epoch": epoch}
        if self.taken:
            pool.release(self.slot, flags=self.card["flags"] | layout.FLAG_TAKEN_ON, **continued)
        elif self.slot not in pool.held and pool.locks.try_lock(self.slot):
            if read_number(pool.arena, self.slot, "epoch") == self.card["epoch"]:
                update_card(pool.arena, self.slot, **continued)
            pool.locks.unlock(self.slot)


def find_ancestor(
    pool: SlotPool, asked: AdmissionAsked, continues: Continues | None, aborted_within_ns: int
) -> Ancestor | None:
    """Return the stream that the one asked for continues, taken if it was PARKED; None if there is none.

    `aborted_within_ns`: how long after its worker's death a stream is still returned to. Longer, and nobody who reads
    the call would take the one for the other's beginning.
    """
    if continues is not None:
        return _find_named(pool, asked.identity, continues.session_ids)
    return _find_left(pool, asked, aborted_within_ns) if asked.identity.dialect == CONTEXT else None


def same_way(pool: SlotPool, identity: Identity, states: Collection[int]) -> Iterator[dict[str, Any]]:
    """Yield the cards, with `slot`, of streams of this call, participant and direction, the newest first."""
    found = []
    for slot in pool.naming.slots("call_id", identity.call_id):
        card = read_card(pool.arena, slot)
        ours = all(card[name] == getattr(identity, name) for name in _WAY)
        if ours and card["state"] in states:
            found.append({**card, "slot": slot})
    return iter(sorted(found, key=lambda card: card["opened_monotonic_ns"], reverse=True))


_WAY = ("dialect", "call_id", "participant_id", "direction")


def _find_left(pool: SlotPool, asked: AdmissionAsked, aborted_within_ns: int) -> Ancestor | None:
    cards = sorted(
        same_way(pool, asked.identity, (layout.PARKED, layout.ABORTED)),
        # A worker that was killed on the way to a return leaves an ABORTED stream without audio, newer than the one
        # that it was to continue, which is still PARKED: that one is the call's.
        key=lambda card: card["state"] != layout.PARKED,
    )
    for card in cards:
        if card["rate_hz"] != asked.media.rate_hz:
            continue  # another path, another rate: frames of the one do not count on from the other's
        taken = card["state"] == layout.PARKED
        if taken:
            if not pool.take_parked(card["slot"], card["epoch"]):
                continue
            card |= read_card(pool.arena, card["slot"])  # as it is now that nobody else can change it
        elif card["continued_by_slot"] != layout.NO_SLOT or _age_ns(card) > aborted_within_ns:
            continue
        try:
            newest = Timeline(pool.arena, card["slot"], card).newest()
        except Recycled:
            continue  # an ABORTED one only: a slot that we have taken is nobody else's to use again
        if newest is None:
            return Ancestor(card, card["media_base"], taken, card["last_packet_ns"])
        return Ancestor(card, newest.media_end, taken, card["last_packet_ns"] or newest.arrival_ns)
    return None


def _age_ns(card: dict[str, Any]) -> int:
    return time.monotonic_ns() - int(card["ended_monotonic_ns"])


def _find_named(pool: SlotPool, identity: Identity, session_ids: tuple[str, ...]) -> Ancestor | None:
    """Return the newest of the named sessions that has a stream here, of the same dialect and organization."""
    arena = pool.arena
    for session_id in reversed(session_ids):
        for slot in pool.naming.slots("session_id", session_id):
            card = {**read_card(arena, slot), "slot": slot}
            named = card["session_id"] == session_id and card["state"] not in (layout.FREE, layout.OPENING)
            if not named or any(card[name] != getattr(identity, name) for name in ("dialect", "organization_id")):
                continue
            try:
                return Ancestor(card, Timeline(arena, slot, card).end)
            except Recycled:
                continue
    return None
