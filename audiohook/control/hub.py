"""The hub as a reader has it: `attach()`, the streams that are there, and many of them in one loop.

Everything is read from the arena; the desk is asked only for the descriptor and for watches. A Hub outlives the desk
and the daemon: its map stays valid. Needs NumPy and the standard library only.
"""

import json
import os
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from audiohook.config.paths import default_hub_path
from audiohook.control.desk_client import DeskClient
from audiohook.control.many import ManyStreams
from audiohook.errors import AmbiguousStream, HubUnavailable, NoSuchStream
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.block import Block
from audiohook.memory.cards import read_card
from audiohook.memory.event_ring import EventReader
from audiohook.memory.place import Gaps, Start
from audiohook.memory.stream import Stream
from audiohook.memory.waiting import Bells, stream_signature

SYSTEM_HUB = "/run/audiohook/hub.sock"
MATCHED_BY_PREFIX = frozenset({"stream_id"})


def attach(path: str | None = None) -> "Hub":
    """Attach to a running daemon's memory, read-only.

    `path` is its hub socket; without one `AUDIOHOOK_HUB`, then the default places. Raises HubUnavailable.
    """
    named = path or os.environ.get("AUDIOHOOK_HUB")
    if named:
        return Hub(named)
    places = list(dict.fromkeys((default_hub_path(os.environ), SYSTEM_HUB)))
    here = [place for place in places if os.path.exists(place)]
    if not here:
        raise HubUnavailable(f"no hub at {' or '.join(places)}: is audiohookd running? Name its path in AUDIOHOOK_HUB")
    return Hub(here[0])


class Hub:
    """One daemon's streams. A context manager; closing it leaves views that are still held valid."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._desk = DeskClient(path)
        fd = self._desk.attach()
        self._arena = Arena(fd, writable=False)
        self._bells = Bells(self._arena)
        self._following = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the desk and end every loop over this hub. Never fails; more often does nothing."""
        self._following = False
        self._desk.close()

    def stop_following(self) -> None:
        """End every loop that follows (`streams`, `blocks`, `events`); streams that are open can be read to their end.

        Safe in a signal handler.
        """
        self._following = False

    @property
    def arena(self) -> Arena:
        """The mapped memory, for `audiohookctl` and those who know LAYOUT.md."""
        return self._arena

    @property
    def ring_seconds(self) -> float:
        """How far back a 16 kHz mono stream can be read, in seconds."""
        return self._arena.geometry.ring_bytes / (2 * layout.RING_RATE_HZ)

    # ---------------------------------------------------------------------------------------- streams

    def streams(self, *, follow: bool = False, ended: bool = False) -> Iterator[Stream]:
        """Yield the streams that are live now, with `ended` also those that ended and can still be read.

        With `follow` goes on with each stream as it begins, until the hub is closed; one that was over before it was
        seen is still yielded.
        """
        seen: set[tuple[int, int]] = set()
        for stream in self._present():
            seen.add((stream.slot, stream.epoch))
            if ended or not stream.over:
                yield stream
        signature = -1
        while follow and self._following:
            bells = self._bells.read()
            now = stream_signature(self._arena)
            if now == signature:
                self._bells.wait(bells)
                continue
            signature = now
            for stream in self._present():
                if (stream.slot, stream.epoch) not in seen:
                    seen.add((stream.slot, stream.epoch))
                    yield stream

    def _present(self) -> list[Stream]:
        """Return every stream that has a slot, in the order in which they began."""
        states = self._arena.states()
        found = []
        for slot in (int(slot) for slot in np.flatnonzero(states > layout.OPENING)):
            card = read_card(self._arena, slot)
            if card["state"] > layout.OPENING:
                found.append(Stream(self._arena, slot, card, self._desk))
        return sorted(found, key=lambda stream: stream.opened_monotonic_ns)

    def open(self, **match: str) -> Stream:
        """Return the one stream that matches: `call_id`, `direction`, `stream_id` (any unique start of it), or any
        other text of a card.

        Live streams come first; one that ended is found while it can still be read. Raises NoSuchStream,
        AmbiguousStream, or TypeError for a name that no card has.
        """
        unknown = set(match) - set(layout.CARD.names or ())
        if unknown or not match:
            raise TypeError(f"open() takes texts of a stream's card, not {', '.join(sorted(unknown)) or 'nothing'}")
        found = [stream for stream in self._present() if _matches(stream, match)]
        live = [stream for stream in found if not stream.over]
        candidates = live or found
        wanted = ", ".join(f"{name}={value!r}" for name, value in match.items())
        if not candidates:
            raise NoSuchStream(f"no stream with {wanted}")
        if len(candidates) > 1:
            lines = "".join(f"\n  {stream!r}" for stream in candidates)
            raise AmbiguousStream(
                f"{len(candidates)} streams with {wanted}:{lines}", tuple(stream.stream_id for stream in candidates)
            )
        return candidates[0]

    def blocks(
        self, frames: int = 512, *, start: Start = "live", gaps: Gaps = "silence"
    ) -> Iterator[tuple[Stream, Block]]:
        """Yield `(stream, block)` over all live streams, in one loop, until the hub is closed.

        `start` is for the streams that are there now; those that begin later are read from their first frame. A stream
        that this loop falls behind on goes on at the oldest frame still there; `stream.lost_frames` says what it lost.
        """
        many = ManyStreams(self._arena, frames, gaps)
        for stream in self.streams():
            many.add(stream, start)
        signature = -1
        while self._following:
            bells = self._bells.read()
            now = stream_signature(self._arena)
            if now != signature:
                signature = now
                for stream in self._present():
                    if not stream.over or many.began_after(stream):
                        many.add(stream, "oldest")
            idle = True
            for pair in many.ready():
                idle = False
                yield pair
            if idle:
                self._bells.wait(bells)

    # ---------------------------------------------------------------------------------------- events

    def events(self, *, follow: bool = False, oldest: bool = True) -> Iterator[dict[str, Any]]:
        """Yield lifecycle events as dictionaries, in the order in which they were written, as far as clocks tell.

        `oldest` begins with what the event rings still hold. What was overwritten before it was read shows up as
        `{"event": "lapped", "row": r, "lost": n}`. With `follow` goes on until the hub is closed.
        """
        rows = range(self._arena.geometry.rows + 1)
        readers = [EventReader(self._arena, row, oldest=oldest) for row in rows]
        while self._following:
            bells = self._bells.read()
            batch: list[dict[str, Any]] = []
            for reader in readers:
                texts, lost = reader.take()
                batch += [json.loads(text) for text in texts]
                if lost:
                    batch.append({"event": "lapped", "row": reader.row, "lost": lost, "at_ns": 0})
            yield from sorted(batch, key=lambda event: event.get("at_ns", 0))
            if not follow:
                return
            if not batch:
                self._bells.wait(bells)


def _matches(stream: Stream, match: dict[str, str]) -> bool:
    card = stream.card()
    for name, value in match.items():
        if name in MATCHED_BY_PREFIX:
            if not str(card[name]).startswith(value.lower()):
                return False
        elif str(card[name]).lower() != value.lower():
            return False
    return True
