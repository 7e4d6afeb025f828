"""Slots under caps: how many streams there may be on this host, on one worker, from one address, of one organization.

A stream counts from OPENING to its end; a PARKED one does not. **Never above a cap**, also not for an instant, although
nobody is asked and no lock is common to two workers: store, then load. Who wants a place takes a slot and publishes
its OPENING card, with all that is counted; then comes a fence (on x86-64 a store may still be on its way while a later
load is done); then it counts, itself included, and gives the slot back if there are too many. Of two that race for the
last place at least one sees the other; both may, and then both are refused
(tests/stress/test_caps.py has the race, and shows that a look before taking does not hold).

There is a look before all the same: whoever comes when a cap is reached must not cost an ended stream its audio.
A slot that is given back was never a stream to any reader: their census begins behind OPENING.

The caps may change while streams are there. Those that are too many then stay, and nobody new comes until they go.

A worker that was killed counts until its streams have been marked, which errs on the safe side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from audiohook.memory import layout
from audiohook.memory.cards import as_written
from audiohook.memory.pool import SlotPool

_OWNED = np.isin(np.arange(len(layout.STREAM_STATES)), list(layout.OWNED_STATES))


@dataclass(frozen=True, slots=True)
class Caps:
    """Most streams at once. 0: no cap."""

    host: int = 0
    worker: int = 0
    address: int = 0
    organization: int = 0


NO_CAPS = Caps()


class Cap(Enum):
    """Which cap was reached."""

    HOST = "host"
    WORKER = "worker"
    ADDRESS = "address"
    ORGANIZATION = "organization"


class Admission:
    """Takes slots out of a pool, as far as the caps allow."""

    def __init__(self, pool: SlotPool, caps: Callable[[], Caps]) -> None:
        """`caps()` are those of this instant."""
        self._pool = pool
        self._caps = caps
        self._slots = np.arange(pool.arena.geometry.slots)

    def acquire(self, row: int, generation: int, **identity: int | str) -> int | Cap | None:
        """Take a slot as `SlotPool.acquire` does, or return which cap forbids it; None if every slot is in use.

        `identity` has `source_address` ("address:port"; port 0 where a proxy named the address only) and
        `organization_id`; who has none is not counted under it.
        """
        if self._caps() == NO_CAPS:
            return self._pool.acquire(row, generation, **identity)
        address, organization = str(identity["source_address"]), str(identity["organization_id"])
        reached = self.exceeded(row, address, organization, more=1)
        if reached is not None:
            return reached
        slot = self._pool.acquire(row, generation, **identity)
        if slot is None:
            return None
        self._pool.locks.fence(slot)
        reached = self.exceeded(row, address, organization)
        if reached is None:
            return slot
        self._pool.give_back(slot)
        return reached

    def exceeded(self, row: int, source_address: str, organization: str, more: int = 0) -> Cap | None:
        """Return a cap that is exceeded by the streams there are and `more` of this row, address and organization."""
        caps = self._caps()
        # The version before what it points to. A card that changes meanwhile is either of a stream that goes on, whose
        # every copy says the same of what is counted here, or its change came after this: then its owner sees ours.
        current = (self._pool.arena.card_versions & np.uint64(1)).astype(np.intp)
        cards = self._pool.arena.cards
        owned = self._slots[_OWNED[cards["state"][self._slots, current]]]
        current = current[owned]
        if 0 < caps.host < len(owned) + more:
            return Cap.HOST
        if caps.worker and np.count_nonzero(cards["row"][owned, current] == row) + more > caps.worker:
            return Cap.WORKER
        if caps.address and _from(cards["source_address"][owned, current], source_address) + more > caps.address:
            return Cap.ADDRESS
        if caps.organization and organization:
            named = cards["organization_id"][owned, current] == as_written("organization_id", organization)
            if np.count_nonzero(named) + more > caps.organization:
                return Cap.ORGANIZATION
        return None


def _from(sources: npt.NDArray[np.bytes_], source_address: str) -> int:
    """Count the sources with the same address, whatever their port. An IPv6 address has colons of its own."""
    address = as_written("source_address", source_address).rpartition(b":")[0]
    alike = sources[np.char.startswith(sources, address + b":")]
    return sum(source.rpartition(b":")[0] == address for source in alike.tolist())
