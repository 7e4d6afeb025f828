"""A peer that leaves and comes back, as memory sees it, and a loop that reads its call step by step.

The steps are those of worker/stream_intake.py and worker/intake.py, each one of its own, so that a test can stand
between any two of them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from audiohook.memory import layout
from audiohook.memory.block import Block
from audiohook.memory.following import Following
from audiohook.memory.layout import Geometry
from audiohook.memory.options import BlockOptions
from audiohook.memory.stream import Stream
from audiohook.memory.waiting import Pause
from audiohook.worker.ancestry import Ancestor
from tests.support.memory import RING_BYTES, Bench, KnownWriter

ROOMY = Geometry(slots=8, rows=2, ring_bytes=RING_BYTES, descriptors=512, event_records=8)
"""As `SMALL`, with room for a chain, and descriptors for all that a ring holds."""


def leave(known: KnownWriter, until_ns: int = 1 << 60) -> None:
    """The peer leaves, and its stream is PARKED."""
    known.pool.park(known.slot, until_ns, end_reason="peer_closed", close_code=1000, close_reason="Hold")


class Return:
    """The peer of a PARKED stream comes back."""

    def __init__(self, house: Bench, earlier: KnownWriter) -> None:
        """Take the parked stream and begin the new one. The old one's card does not say so yet."""
        pool = earlier.pool
        assert pool.take_parked(*earlier.key)
        self._pool = pool
        card = {**house.stream(earlier.slot).card(), "slot": earlier.slot}
        self._ancestor = Ancestor(card, earlier.writer.media_frames, taken=True)
        names: dict[str, int | str] = {**self._ancestor.names(), "media_base": self._ancestor.end_frame}
        self.known = KnownWriter(house.arena, pool, earlier.rate_hz, earlier.channels, earlier.salt, identity=names)

    def link(self) -> KnownWriter:
        """Let the old stream's card say that it is over, and by what it was continued."""
        self._ancestor.link(self._pool, *self.known.key)
        return self.known


def come_back(house: Bench, earlier: KnownWriter, held_frames: int = 0) -> KnownWriter:
    """Return the stream in which a peer is back, `held_frames` after it left."""
    known = Return(house, earlier).link()
    if held_frames:
        known.gap(held_frames, layout.HOLD | layout.MEASURED)
    return known


def give_away(house: Bench, known: KnownWriter) -> KnownWriter:
    """Give the slot of a stream that is over to another one, which is returned."""
    taken = [slot for slot in range(house.geometry.slots) if slot != known.slot and slot not in known.pool.held]
    known.pool.held.update(taken)
    other = KnownWriter(house.arena, known.pool, salt=known.salt + 1)
    known.pool.held.difference_update(taken)
    assert other.slot == known.slot
    return other


def two(house: Bench, known: KnownWriter) -> KnownWriter:
    """A stream of 700 frames, and its peer back 300 later with 1000 more."""
    known.audio(700)
    leave(known)
    second = come_back(house, known, 300)
    second.audio(1000)
    return second


def spans(blocks: list[Block]) -> list[tuple[int, int]]:
    return [(block.first_frame, block.frames) for block in blocks]


def joined(blocks: list[Block]) -> npt.NDArray[Any]:
    return np.concatenate([block.samples for block in blocks])


def gaps_of(blocks: list[Block]) -> list[tuple[int, int, str, bool]]:
    return [(gap.first_frame, gap.frames, gap.cause, gap.measured) for block in blocks for gap in block.gaps]


class Steps:
    """One loop, step by step."""

    def __init__(self, stream: Stream, on_overrun: Any = "raise", **options: Any) -> None:
        self._steps = Following(stream, BlockOptions(**options), on_overrun).steps()

    def take(self) -> list[Block]:
        """Return the blocks up to where the loop would wait, or ends."""
        taken = []
        for step in self._steps:
            if isinstance(step, Pause):
                break
            taken.append(step)
        return taken

    @property
    def ended(self) -> bool:
        return next(self._steps, None) is None
