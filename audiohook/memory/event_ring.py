"""Event rings: lifecycle events as JSON lines, one ring for each worker row and one for the supervisor.

One writer a ring, any number of readers who may be lapped: a reader of record n keeps it only if `claim` shows
afterwards that it had not been reached again, and otherwise knows exactly how many records it lost. Events describe
what happened to a stream, never what was said: no audio, no telephone number, no key ever goes in.
"""

from collections.abc import Mapping
from typing import Any

from audiohook.memory import layout
from audiohook.memory.arena import Arena


class EventWriter:
    """The one writer of a row's event ring. It goes on where the row's last owner stopped."""

    def __init__(self, arena: Arena, row: int) -> None:
        start = layout.event_offset(arena.geometry, row)
        self._map = arena.map
        self._words = arena.words
        self._claim = (start + layout.EVENT_CLAIM) // layout.WORD_BYTES
        self._commit = (start + layout.EVENT_COMMIT) // layout.WORD_BYTES
        self._records = start + layout.PAGE_BYTES
        self._capacity = arena.geometry.event_records
        self.written = self._words[self._commit]

    def write(self, text: bytes) -> None:
        """Append one JSON object. A text that is longer than a record is our own fault: ValueError."""
        if len(text) > layout.EVENT_TEXT_BYTES:
            raise ValueError(f"an event of {len(text)} bytes does not fit a record of {layout.EVENT_TEXT_BYTES}")
        at = self._records + self.written % self._capacity * layout.EVENT_BYTES
        self._words[self._claim] = self.written + 1
        self._words[at // layout.WORD_BYTES] = len(text)
        self._map[at + layout.WORD_BYTES : at + layout.WORD_BYTES + len(text)] = text
        self.written += 1
        self._words[self._commit] = self.written


class EventReader:
    """One reader's place in one row's event ring."""

    def __init__(self, arena: Arena, row: int, *, oldest: bool) -> None:
        start = layout.event_offset(arena.geometry, row)
        self.row = row
        self._map = arena.map
        self._words = arena.words
        self._claim = (start + layout.EVENT_CLAIM) // layout.WORD_BYTES
        self._commit = (start + layout.EVENT_COMMIT) // layout.WORD_BYTES
        self._records = start + layout.PAGE_BYTES
        self._capacity = arena.geometry.event_records
        written = self._words[self._commit]
        self._next = max(0, written - self._capacity) if oldest else written

    def take(self) -> tuple[list[bytes], int]:
        """Return the texts written since the last call, and how many were overwritten before they could be read."""
        texts: list[bytes] = []
        lost = 0
        while self._next < self._words[self._commit]:
            at = self._records + self._next % self._capacity * layout.EVENT_BYTES
            length = min(self._words[at // layout.WORD_BYTES], layout.EVENT_TEXT_BYTES)
            text = self._map[at + layout.WORD_BYTES : at + layout.WORD_BYTES + length]
            # Record n is overwritten by record n + capacity, whose claim is n + capacity + 1.
            oldest = self._words[self._claim] - self._capacity
            if oldest > self._next:
                lost += oldest - self._next
                self._next = oldest
                continue
            texts.append(text)
            self._next += 1
        return texts, lost


def encode_event(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return an event as one JSON object that fits a record; fields that make it too long are cut from the end."""
    import msgspec  # readers have NumPy only; whoever writes events has the daemon's libraries

    shown = {"event": kind, **fields}
    text = msgspec.json.encode(shown)
    while len(text) > layout.EVENT_TEXT_BYTES:
        shown.popitem()
        text = msgspec.json.encode({**shown, "cut": True})
    return text
