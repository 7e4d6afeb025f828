"""Which earlier stream a new one continues, and how the two are tied together.

A stream's card says what it `continues`; the earlier one's says by what it was continued, if its lock can be had: the
owner of a stream that still looks live is not waited for, and the audio of the new one is never held up for the link.
"""

from dataclasses import dataclass

import numpy as np

from audiohook.memory import layout
from audiohook.memory.cards import read_card, update_card
from audiohook.memory.pool import SlotPool
from audiohook.memory.timeline import Recycled, Timeline
from audiohook.session.events import Identity


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An earlier stream: where it is, and the media frame behind its last one."""

    slot: int
    epoch: int
    stream_id: str
    end_frame: int

    def link(self, pool: SlotPool, slot: int, epoch: int) -> None:
        """Say on its card which stream continues it, if nobody holds it."""
        if self.slot in pool.held or not pool.locks.try_lock(self.slot):
            return
        if read_card(pool.arena, self.slot)["epoch"] == self.epoch:
            update_card(pool.arena, self.slot, continued_by_slot=slot, continued_by_epoch=epoch)
        pool.locks.unlock(self.slot)


def find_ancestor(pool: SlotPool, identity: Identity, session_ids: tuple[str, ...]) -> Ancestor | None:
    """Return the newest of the named sessions that has a stream here, of the same dialect and organization."""
    arena = pool.arena
    cards = []
    for slot in map(int, np.flatnonzero(arena.states() > layout.OPENING)):
        card = read_card(arena, slot)
        same = card["dialect"] == identity.dialect and card["organization_id"] == identity.organization_id
        if same and card["session_id"] in session_ids:
            cards.append((session_ids.index(card["session_id"]), slot, card))
    for _, slot, card in sorted(cards, key=lambda found: found[0], reverse=True):
        try:
            end = Timeline(arena, slot, card).end
        except Recycled:
            continue
        return Ancestor(slot, card["epoch"], card["stream_id"], end)
    return None
