"""The global pool of slots: who gets one, how it is given back, and what is repaired when its owner was killed.

One pool for all workers and generations. Invariants: a slot's card, cursors and ring are written only by whoever holds
its lock (`locks.py`); cursor words are never reset, so a window of an earlier call can never pass as valid
(LAYOUT.md, "Recycling"); every path out of a `kill -9` ends in a card update, never in a search for what was half done.
"""

import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from audiohook.errors import WORKER_DIED
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import new_card, read_card, read_number, update_card
from audiohook.memory.locks import SlotLocks
from audiohook.memory.naming import Naming
from audiohook.memory.timeline import Timeline

FRAME_ALIGN_BYTES = 64

_RANKS = np.full(len(layout.STREAM_STATES), 2)
_RANKS[[layout.FREE, layout.ENDED, layout.ABORTED, layout.PARKED]] = (0, 1, 1, 3)
"""By state: in which order a new stream tries slots (`SlotPool.acquire`)."""


class SlotPool:
    """One process' access to the pool. `arena` must be mapped writable; `locks` must be this process' own."""

    def __init__(self, arena: Arena, locks: SlotLocks) -> None:
        self.arena = arena
        self.locks = locks
        self.naming = Naming(arena)
        self.held: set[int] = set()
        self._seen_free: deque[int] = deque()
        self.pushed_out: list[dict[str, Any]] = []
        """PARKED streams that `acquire` ended since there was no other slot: their cards, with `slot`. For the caller
        to tell of, and to take out of here."""

    def acquire(self, row: int, generation: int, **identity: int | str) -> int | None:
        """Take a slot, make it ready for a new stream (OPENING) and return it; None if every slot is in use.

        FREE slots come before ENDED ones, those that ended longest ago before others; then the slots whose card says
        that they are live but whose lock is free: their owner was killed and nobody has repaired them yet. A PARKED
        stream is only ended for a new one if there is nothing else, and the oldest before the others.
        """
        for slot, seen in self._candidates(row):
            # Our own lock would be granted to us again: what this process holds is no candidate.
            if slot in self.held or not self.locks.try_lock(slot):
                continue
            state = read_number(self.arena, slot, "state")
            if state != seen and (seen == layout.FREE or state == layout.PARKED):
                self.locks.unlock(slot)  # used since the scan: others come before it
                continue
            if state == layout.PARKED:
                update_card(self.arena, slot, **_ended({}))
                self.pushed_out.append({**read_card(self.arena, slot), "slot": slot})
            elif state in layout.OWNED_STATES:
                # Should we be killed before the new card is there, the old one must not say for ever that it is live.
                self._abort(slot)
            self.held.add(slot)
            self._recycle(slot, row, generation, identity)
            return slot
        return None

    def _candidates(self, row: int) -> Iterator[tuple[int, int]]:
        """Yield slots with the state in which they were seen, in the order in which they are to be tried.

        A scan of all cards is for many streams: what it found FREE is tried, one slot after the other, until nothing
        of it is left. Each row begins elsewhere, so that workers seldom try the same.
        """
        while self._seen_free:
            yield self._seen_free.popleft(), layout.FREE
        self._seen_free.extend(np.flatnonzero(self.arena.states() == layout.FREE).tolist())
        self._seen_free.rotate(-(row * len(self._seen_free) // self.arena.geometry.rows))
        while self._seen_free:
            yield self._seen_free.popleft(), layout.FREE
        slots = np.arange(self.arena.geometry.slots)
        current = (self.arena.card_versions & np.uint64(1)).astype(np.intp)
        states = self.arena.cards["state"][slots, current]
        ended_ns = self.arena.cards["ended_monotonic_ns"][slots, current]
        rank = _RANKS[states]
        yield from ((int(slot), int(states[slot])) for slot in np.lexsort((ended_ns, rank)))

    def _recycle(self, slot: int, row: int, generation: int, identity: dict[str, int | str]) -> None:
        """Move the slot's cursors to fresh ground and write the new stream's card.

        Order: first `claim` (from then on no view of the old call is valid), then `epoch` (readers of the old call see
        that it is not theirs), then `commit`, then the card. The new base lies more than a ring behind the old commit:
        exactly a ring would let a reader that was up to date call its next, never written window valid.
        """
        arena, words = self.arena, self.arena.words
        claim, commit, d_claim, d_commit, epoch_word, _ = layout.cursor_words(arena.geometry, slot)
        beyond = max(words[claim], words[commit] + arena.geometry.ring_bytes) + FRAME_ALIGN_BYTES
        base = beyond - beyond % FRAME_ALIGN_BYTES
        descriptor_base = max(words[d_claim], words[d_commit])
        epoch = words[epoch_word] + 1
        words[claim] = base
        words[epoch_word] = epoch
        words[d_claim] = words[d_commit] = descriptor_base
        self._clear_totals(slot, descriptor_base)
        words[commit] = base
        new_card(
            arena,
            slot,
            state=layout.OPENING,
            row=row,
            generation=generation,
            epoch=epoch,
            ring_base=base,
            descriptor_base=descriptor_base,
            opened_monotonic_ns=time.monotonic_ns(),
            opened_realtime_ns=time.time_ns(),
            continued_by_slot=layout.NO_SLOT,
            **{"continues_slot": layout.NO_SLOT, **identity},
        )
        self.naming.know(slot, epoch, identity)

    def _clear_totals(self, slot: int, descriptor_base: int) -> None:
        words = self.arena.words
        version_word = layout.cursor_word(self.arena.geometry, slot, "totals_version")
        version = words[version_word] + 1
        at = layout.totals_word(self.arena.geometry, slot, version & 1)
        words[at] = descriptor_base
        for cause in range(1, len(layout.CAUSES)):
            words[at + cause] = 0
        words[version_word] = version

    def give_back(self, slot: int) -> None:
        """Make a slot FREE that was acquired a moment ago: there never was a stream in it.

        Silenced like one that is over: the slot may have been an ended stream's, whose voices are still in its ring.
        """
        self._silence(slot)
        self.let_go(slot)

    def release(self, slot: int, **ending: int | str) -> None:
        """End the stream of a slot we hold: its card says so at once, its audio stays readable, its lock is freed."""
        update_card(self.arena, slot, **_ended(ending))
        self.let_go(slot)

    def park(self, slot: int, until_ns: int, **ending: int | str) -> None:
        """Keep the stream of a slot we hold for its peer's return until `until_ns`; give back the lock.

        `ending` says what its card will say of its end if nobody comes.
        """
        self.release(slot, **{"state": layout.PARKED, "parked_until_ns": until_ns, **ending})

    def take_parked(self, slot: int, epoch: int) -> bool:
        """Take the lock of a PARKED stream; return whether we have it. It stays PARKED until `release`, or `let_go`."""
        if slot in self.held or not self.locks.try_lock(slot):
            return False
        card = read_card(self.arena, slot)
        if card["state"] == layout.PARKED and card["epoch"] == epoch:
            self.held.add(slot)
            return True
        self.locks.unlock(slot)
        return False

    def let_go(self, slot: int) -> None:
        """Give back the lock of a stream that stays as its card says."""
        self.held.discard(slot)
        self.locks.unlock(slot)

    def amend_parked(self, slot: int, epoch: int, **fields: int | str) -> dict[str, Any] | None:
        """Change the card of a PARKED stream; return it as it was before, None if it is not PARKED or held by another.

        Never waits: of two that want the same stream one gets it.
        """
        if not self.take_parked(slot, epoch):
            return None
        card = read_card(self.arena, slot)
        update_card(self.arena, slot, **fields)
        self.let_go(slot)
        return {**card, "slot": slot}

    def end_parked(self, slot: int, epoch: int, **ending: int | str) -> dict[str, Any] | None:
        """End a PARKED stream; return its card as `amend_parked` does."""
        ended = _ended(ending)
        card = self.amend_parked(slot, epoch, **ended)
        return None if card is None else {**card, **ended}

    def parked(self) -> Iterator[dict[str, Any]]:
        """Yield the card of each PARKED stream, with its `slot`."""
        for slot in map(int, np.flatnonzero(self.arena.states() == layout.PARKED)):
            card = read_card(self.arena, slot)
            if card["state"] == layout.PARKED:
                yield {**card, "slot": slot}

    def mark_dead(self, row: int | None = None) -> list[dict[str, Any]]:
        """Mark every stream of a dead worker's row ABORTED; return their cards, with `slot` and `length_frames`.

        For the supervisor, after it has reaped the worker. A slot that somebody else has taken over meanwhile is
        left alone: its lock is taken, or its card names another row or is over.

        Without `row`, every owned card whose lock is free is marked: a worker that was killed between taking a dead
        one's slot and its first store there leaves a card that names neither of them, which no reaping finds.
        """
        died = []
        states = self.arena.states()
        for slot in (int(slot) for slot in np.flatnonzero(np.isin(states, list(layout.OWNED_STATES)))):
            if row not in (None, read_number(self.arena, slot, "row")) or not self.locks.try_lock(slot):
                continue
            card = read_card(self.arena, slot)
            if row in (None, card["row"]) and card["state"] in layout.OWNED_STATES:
                self._abort(slot)
                length = Timeline(self.arena, slot, card).end - card["media_base"]
                died.append({**card, "slot": slot, "length_frames": length})
            self.locks.unlock(slot)
        return died

    def _abort(self, slot: int) -> None:
        now_ns = time.monotonic_ns()
        update_card(self.arena, slot, state=layout.ABORTED, ended_monotonic_ns=now_ns, end_reason=WORKER_DIED)

    def silence_ended(self, now_ns: int, keep_ns: int) -> int:
        """Free and zero the slots whose streams ended more than `keep_ns` ago; return how many.

        `claim` first moves past the whole ring, so every view of the voices is invalid before they are overwritten.
        """
        freed = 0
        states = self.arena.states()
        for slot in (int(slot) for slot in np.flatnonzero(np.isin(states, list(layout.OVER_STATES)))):
            if read_number(self.arena, slot, "ended_monotonic_ns") + keep_ns > now_ns or not self.locks.try_lock(slot):
                continue
            card = read_card(self.arena, slot)
            if card["state"] in layout.OVER_STATES and card["ended_monotonic_ns"] + keep_ns <= now_ns:
                self._silence(slot)
                freed += 1
            self.locks.unlock(slot)
        return freed

    def _silence(self, slot: int) -> None:
        sizes, words = self.arena.geometry, self.arena.words
        claim = layout.cursor_word(sizes, slot, "claim")
        commit = words[layout.cursor_word(sizes, slot, "commit")]
        words[claim] = max(words[claim], commit + sizes.ring_bytes)
        os.pwrite(self.arena.fd, bytes(sizes.ring_bytes), sizes.ring_offset(slot))
        new_card(self.arena, slot, state=layout.FREE)


def _ended(ending: dict[str, int | str]) -> dict[str, int | str]:
    return {"state": layout.ENDED, "ended_monotonic_ns": time.monotonic_ns(), **ending}
