"""What every kind of Hub is made of: the mapped memory, the connection to the desk, and the loops over them.

Sleeps nowhere: a loop yields a Pause where it has nothing to hand out, and goes on when it is asked for more. All is
read from the arena; the desk is asked only for the descriptor and for watches. An attachment outlives the desk and the
daemon: its map stays valid. Needs NumPy and the standard library only.
"""

import json
import os
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic

from audiohook.config.paths import default_hub_path
from audiohook.control.census import AnyStream, Census, Chains, heads
from audiohook.control.desk_client import DeskClient
from audiohook.control.many import ManyStreams
from audiohook.errors import AmbiguousStream, HubUnavailable, NoSuchStream, WriterGone
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.block import Block
from audiohook.memory.event_ring import EventReader
from audiohook.memory.options import BlockOptions
from audiohook.memory.view import WRITER_GONE_NS, StreamView
from audiohook.memory.waiting import Bells, Pause, Word, stream_signature
from audiohook.units import NS_PER_S

SYSTEM_HUB = "/run/audiohook/hub.sock"
MATCHED_BY_PREFIX = frozenset({"stream_id"})

LOOK_FOR_WRITERS_NS = NS_PER_S
SILENT_LOOKS = 2
"""So many looks, a second apart, must find every heartbeat old: after this machine stood still, ours may come first."""

Where = Callable[[AnyStream], bool]


def find_hub(path: str | None) -> str:
    """Return the path of the hub socket: `path`, else AUDIOHOOK_HUB, else the default place where one is.

    Raises HubUnavailable.
    """
    named = path or os.environ.get("AUDIOHOOK_HUB")
    if named:
        return named
    places = list(dict.fromkeys((default_hub_path(os.environ), SYSTEM_HUB)))
    here = [place for place in places if os.path.exists(place)]
    if not here:
        raise HubUnavailable(f"no hub at {' or '.join(places)}: is audiohookd running? Name its path in AUDIOHOOK_HUB")
    return here[0]


class Attachment(ABC, Generic[AnyStream]):
    """One daemon's streams. `_make_stream` is the kind's own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._desk = DeskClient(path)
        fd = self._desk.attach()
        self._arena = Arena(fd, writable=False)
        # Rings are mapped through it one by one, so it lives as long as the last stream that could still be read.
        weakref.finalize(self._arena, os.close, fd)
        self._bells = Bells(self._arena)
        self._following = True
        self._looked_ns = 0
        self._silent_looks = 0

    @abstractmethod
    def _make_stream(self, slot: int, card: dict[str, Any]) -> AnyStream:
        """Return the stream that a slot's card describes, of the kind that this hub hands out."""

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

    def open(self, **match: str) -> AnyStream:
        """Return the one stream that matches: `call_id`, `direction`, `stream_id` (any unique start of it), or any
        other text of a card.

        Live streams come first, PARKED ones among them; one that ended is found while it can still be read, and of a
        call that came back the first, since its `blocks()` are those of all. Raises NoSuchStream, AmbiguousStream, or
        TypeError for a name that no card has.
        """
        unknown = set(match) - set(layout.CARD.names or ())
        if unknown or not match:
            raise TypeError(f"open() takes texts of a stream's card, not {', '.join(sorted(unknown)) or 'nothing'}")
        found = [stream for stream in self._census().look() if matches(stream, match)]
        # One that returns is there for an instant before the card of the one that it continues says that it has ended.
        candidates = heads(stream for stream in found if not stream.over) or heads(found)
        wanted = ", ".join(f"{name}={value!r}" for name, value in match.items())
        if not candidates:
            raise NoSuchStream(f"no stream with {wanted}")
        if len(candidates) > 1:
            lines = "".join(f"\n  {stream!r}" for stream in candidates)
            raise AmbiguousStream(
                f"{len(candidates)} streams with {wanted}:{lines}", tuple(stream.stream_id for stream in candidates)
            )
        return candidates[0]

    # ---------------------------------------------------------------------------------------- loops

    def _census(self) -> Census[AnyStream]:
        return Census(self._arena, self._make_stream)

    def _stream_steps(self, *, follow: bool, ended: bool) -> Iterator[AnyStream | Pause]:
        seen: dict[int, int] = {}  # slot to epoch: bounded, however long this follows
        census, chains = self._census(), Chains()
        for stream in census.look():
            seen[stream.slot] = stream.epoch
            if (ended or not stream.over) and (not follow or chains.begins(stream)):
                yield stream
        signature = -1
        while follow and self._following:
            bells = self._bells.read()
            now = stream_signature(self._arena)
            if now == signature:
                yield self._pause(bells)
                continue
            signature = now
            for stream in census.look():
                if seen.get(stream.slot) != stream.epoch:
                    seen[stream.slot] = stream.epoch
                    if chains.begins(stream):
                        yield stream

    def _block_steps(
        self, options: BlockOptions, *, ended: bool, ends: bool, where: Where[AnyStream] | None
    ) -> Iterator[tuple[AnyStream, Block | None] | Pause]:
        many: ManyStreams[AnyStream] = ManyStreams(self._arena, options)
        census = self._census()
        for stream in census.look():
            many.know(stream)
            wanted = (ended or not stream.over) and (where is None or where(stream))
            if wanted and not many.add(stream, options.start) and ends:
                yield stream, None
        signature = -1
        while self._following:
            bells = self._bells.read()
            now = stream_signature(self._arena)
            if now != signature:
                signature = now
                for stream in census.look():
                    wanted = many.know(stream) and (where is None or where(stream))
                    if wanted and not many.add(stream, "oldest") and ends:
                        yield stream, None
            idle = True
            for pair in many.ready():
                idle = False
                if ends or pair[1] is not None:
                    yield pair
            if idle:
                try:
                    yield self._pause(bells)
                except WriterGone:
                    yield from (pair for pair in many.give_up() if ends or pair[1] is not None)
                    raise

    def _event_steps(self, *, follow: bool, oldest: bool) -> Iterator[dict[str, Any] | Pause]:
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
                yield self._pause(bells)

    def _pause(self, bells: tuple[Word, ...]) -> Pause:
        """Return what to wait for. Raises WriterGone if no process of the daemon is left that could ring."""
        now_ns = time.monotonic_ns()
        if now_ns - self._looked_ns >= LOOK_FOR_WRITERS_NS:
            self._looked_ns = now_ns
            sizes, words = self._arena.geometry, self._arena.words
            beats = (words[layout.row_word(sizes, row, "heartbeat_ns")] for row in range(sizes.rows + 1))
            self._silent_looks = self._silent_looks + 1 if now_ns - max(beats) > WRITER_GONE_NS else 0
        if self._silent_looks >= SILENT_LOOKS:
            raise WriterGone(f"no process of the daemon at {self.path} has given a sign of life for 5 s")
        return Pause(bells)


def matches(stream: StreamView, match: dict[str, str]) -> bool:
    """Return whether a stream's card has these texts, whatever the case; of a `stream_id` a start is enough."""
    card = stream.card()
    for name, value in match.items():
        if name in MATCHED_BY_PREFIX:
            if not str(card[name]).startswith(value.lower()):
                return False
        elif str(card[name]).lower() != value.lower():
            return False
    return True
