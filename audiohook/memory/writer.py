"""The one writer of a slot: decoded audio and gaps into the ring, published by one aligned store.

Knows no codec: it hands out an address to write samples to, and is told how many frames arrived there. Invariants, in
this order for every packet: `claim` covers the bytes before the first sample is written; samples; descriptor;
`d_commit`; `commit`. A kill between any two of them leaves a whole timeline (LAYOUT.md, "Publishing";
tests/stress/test_lapped_reader.py and tests/process/test_daemon_worker_killed.py). Only for the holder of the slot's
lock.
"""

import ctypes

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.mirror import MirroredRing
from audiohook.units import SAMPLE_BYTES


class StreamWriter:
    """Writes one stream into the slot that `SlotPool.acquire` prepared. Positions count bytes and never go back."""

    __slots__ = (
        "_cause",
        "_claimed",
        "_columns",
        "_commit",
        "_d_claim_word",
        "_d_commit_word",
        "_descriptor_bytes",
        "_descriptors",
        "_gap_stored_bytes",
        "_gaps",
        "_media",
        "_open_from",
        "_packets",
        "_ring",
        "_ring_bytes",
        "_skip",
        "_tip",
        "_totals",
        "_totals_version",
        "_wire_bytes",
        "_words",
        "address",
        "claim_word",
        "commit_word",
        "frame_bytes",
        "media_frames",
        "slot",
    )

    def __init__(self, arena: Arena, slot: int, rate_hz: int, channels: int, media_base: int = 0) -> None:
        sizes, words = arena.geometry, arena.words
        self._words = words
        self.slot = slot
        self._ring = MirroredRing(arena.fd, sizes.ring_offset(slot), sizes.ring_bytes, writable=True)
        self._ring_bytes = sizes.ring_bytes
        self.address = self._ring.address
        self.frame_bytes = channels * SAMPLE_BYTES
        self._descriptors = sizes.descriptors
        self._descriptor_bytes = rate_hz * layout.DESCRIPTOR_MS // 1000 * self.frame_bytes
        stored = min(rate_hz * layout.GAP_STORED_MS // 1000 * self.frame_bytes, sizes.ring_bytes // 2)
        self._gap_stored_bytes = stored - stored % self.frame_bytes
        self.claim_word = layout.cursor_word(sizes, slot, "claim")
        self.commit_word = layout.cursor_word(sizes, slot, "commit")
        self._d_claim_word = layout.cursor_word(sizes, slot, "d_claim")
        self._d_commit_word = layout.cursor_word(sizes, slot, "d_commit")
        self._totals_version = layout.cursor_word(sizes, slot, "totals_version")
        self._totals = [layout.totals_word(sizes, slot, copy) for copy in (0, 1)]
        self._columns = tuple(layout.column_words(sizes, slot))
        self._claimed = words[self.claim_word]
        self._commit = words[self.commit_word]
        self._tip = words[self._d_commit_word] - 1
        self._open_from = self._commit
        self._cause = -1
        self._media = media_base
        self.media_frames = media_base
        """The media position of the next frame: base + everything published, gaps included."""
        self._skip = self._gaps = self._packets = self._wire_bytes = 0

    def reserve(self, bound_frames: int) -> int:
        """Claim room for at most `bound_frames` and return the address to write them to.

        The room lies in one piece (mirrored ring). Whatever is not published afterwards is simply claimed again.
        """
        end = self._commit + bound_frames * self.frame_bytes
        if end > self._claimed:
            self._words[self.claim_word] = self._claimed = end
        return self.address + self._commit % self._ring_bytes

    def publish(self, frames: int, cause: int, arrival_ns: int, wire_bytes: int, packets: int = 1) -> None:
        """Publish `frames` that were written at the reserved address: one packet, `DECODED` or `CONCEALED`."""
        self._packets += packets
        self._wire_bytes += wire_bytes
        if cause != self._cause or self._commit - self._open_from >= self._descriptor_bytes:
            self._begin(cause, arrival_ns, 0)
        else:
            self._recount()
        self.media_frames += frames
        self._commit += frames * self.frame_bytes
        self._words[self.commit_word] = self._commit

    def gap(self, frames: int, cause: int, arrival_ns: int, packets: int = 0, wire_bytes: int = 0) -> None:
        """Let `frames` of media time pass without audio, for one of `layout.GAP_CAUSES`, maybe `| layout.MEASURED`.

        At most a second of silence is stored, whatever the length; one gap of one cause is one descriptor however
        often it grows. `packets` and `wire_bytes` are what the peer sent for it, if it sent anything.
        """
        if cause & ~layout.MEASURED not in layout.GAP_CAUSES:
            raise ValueError(f"{cause} is no gap")
        self._packets += packets
        self._wire_bytes += wire_bytes
        grown = frames * self.frame_bytes
        stored_before = self._commit - self._open_from if cause == self._cause else 0
        stored = min(grown, self._gap_stored_bytes - stored_before)
        skipped_frames = (grown - stored) // self.frame_bytes
        address = self.reserve(stored // self.frame_bytes)
        ctypes.memset(address, 0, stored)
        if cause != self._cause:
            self._begin(cause, arrival_ns, skipped_frames)
        else:
            self._recount()
            self._skip += skipped_frames
            self._words[self._columns[2] + self._tip % self._descriptors] = self._skip
        self._gaps += frames
        self.media_frames += frames
        self._commit += stored
        self._words[self.commit_word] = self._commit

    def wipe(self, first_byte: int) -> None:
        """Zero the samples from a position in the ring on, which it must still have.

        Descriptors and totals stay: what was audio there is silent audio now. Whoever holds a view of it sees it go.
        """
        ctypes.memset(self.address + first_byte % self._ring_bytes, 0, self._commit - first_byte)

    def _recount(self) -> None:
        at = self._tip % self._descriptors
        self._words[self._columns[5] + at] = self._packets
        self._words[self._columns[6] + at] = self._wire_bytes

    def _begin(self, cause: int, arrival_ns: int, skip: int) -> None:
        """Start the next descriptor at the present end of the stream."""
        # Once a packet: a loop over the columns took twice as long.
        words, commit, media = self._words, self._commit, self.media_frames
        tip = self._tip + 1
        if self._cause > layout.DECODED:
            self._settle(tip, media - self._media)
        words[self._d_claim_word] = tip + 1
        at = tip % self._descriptors
        media_column, ring, skips, causes, arrivals, packets, wire_bytes, gaps = self._columns
        words[media_column + at] = media
        words[ring + at] = commit
        words[skips + at] = skip
        words[causes + at] = cause
        words[arrivals + at] = arrival_ns
        words[packets + at] = self._packets
        words[wire_bytes + at] = self._wire_bytes
        words[gaps + at] = self._gaps
        words[self._d_commit_word] = tip + 1
        self._tip = tip
        self._media = media
        self._open_from = commit
        self._cause = cause
        self._skip = skip

    def _settle(self, next_tip: int, frames: int) -> None:
        """Add the descriptor that ends here to the totals by cause: two copies and a version word, as in cards.py.

        `valid_from` is the first descriptor that is not in the sums, so a reader, or a kill between this store and
        `d_commit`, can neither count the old tip twice nor miss it (`timeline.py`).
        """
        words = self._words
        version = words[self._totals_version]
        old, new = self._totals[version & 1], self._totals[(version + 1) & 1]
        words[new] = next_tip
        for cause in range(1, len(layout.CAUSES)):
            words[new + cause] = words[old + cause] + (frames if cause == self._cause & layout.CAUSE_MASK else 0)
        words[self._totals_version] = version + 1
