"""Finds the slots whose stream is of a call, or of a session, without reading every card.

Each process has an index of its own, of what it last saw: of each slot the first eight bytes of the texts that are
searched by, with the epoch that the card named and the card's version. A search looks which slots may have
changed, reads these cards again, and compares the rest where it lies in a row. Cards are three kilobytes apart,
every one on a page of its own: to look into both copies of each took two to four times as long.

Invariant: a slot is passed over only if its card says another text, or says nothing yet. Its texts are those of its
epoch, which moves before a new card is there (LAYOUT.md, "Recycling"). So what was read of the epoch that the cursors
have holds; where they have another one (the card is FREE, or its writer is on its way, or was killed), what was read of
the same version holds.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import as_written, read_heads

SEARCHED = ("call_id", "session_id")
_EPOCH = layout.CURSORS.index("epoch") * layout.LINE_BYTES // layout.WORD_BYTES


class Naming:
    """One process' index."""

    def __init__(self, arena: Arena) -> None:
        slots, start = arena.geometry.slots, arena.geometry.cursors_offset
        cursors = arena.bytes[start : start + slots * layout.CURSOR_BYTES].view(np.uint64).reshape(slots, -1)
        self._arena = arena
        self._epochs: npt.NDArray[np.uint64] = cursors[:, _EPOCH]
        # A slot that was never used is as the index is: epoch and version 0, and no texts.
        self._seen_epochs = np.zeros(slots, np.uint64)
        self._seen_versions = np.zeros(slots, np.uint64)
        self._heads = {name: np.zeros(slots, np.uint64) for name in SEARCHED}

    def slots(self, name: str, text: str) -> list[int]:
        """Return the slots whose card may have this text as its `call_id`, or `session_id`: read it to know."""
        self._look()
        found: list[int] = (self._heads[name] == _head(name, text)).nonzero()[0].tolist()
        return found

    def know(self, slot: int, epoch: int, texts: Mapping[str, int | str]) -> None:
        """Take down what the caller has written on the new card of a slot: it need not be read again."""
        for name in SEARCHED:
            self._heads[name][slot] = _head(name, str(texts.get(name, "")))
        self._seen_epochs[slot] = epoch

    def _look(self) -> None:
        """Bring the index up to date."""
        unsettled = (self._epochs != self._seen_epochs).nonzero()[0]
        if not len(unsettled):
            return
        moved = unsettled[self._arena.card_versions[unsettled] != self._seen_versions[unsettled]]
        for slot in moved.tolist():
            version, (epoch, *heads) = read_heads(self._arena, slot, ("epoch", *SEARCHED))
            for name, head in zip(SEARCHED, heads, strict=True):
                self._heads[name][slot] = head
            self._seen_epochs[slot] = epoch
            self._seen_versions[slot] = version


def _head(name: str, text: str) -> int:
    return int.from_bytes(as_written(name, text)[: layout.WORD_BYTES], "little")
