"""What the supervisor does in memory: its heartbeat, the streams of dead workers, the silence of ended ones, parking.

Works under the same try-locks as everybody (`memory/pool.py`) and never waits for one. Knows no process.
"""

import logging
import os
import time
from typing import Any

from audiohook.errors import WORKER_DIED
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import TornCard, read_card
from audiohook.memory.event_ring import EventWriter, encode_event
from audiohook.memory.pool import SlotPool
from audiohook.memory.row import Row
from audiohook.memory.syscalls import futex_wake
from audiohook.supervisor.orders import AnnounceHung, Reloaded, ReloadFailed, ReloadRefused, Scaled
from audiohook.supervisor.parking import Parking
from audiohook.supervisor.state import DESK
from audiohook.supervisor.switchboard import Whereabouts
from audiohook.units import NS_PER_S

log = logging.getLogger("audiohook")

SILENCE_EVERY_NS = NS_PER_S
MOST_REASON = 600
"""Characters of an event's reason: a record has room for 1,016 bytes of JSON in all."""


class Chores:
    """The supervisor's row, events and duties in one arena."""

    def __init__(self, arena: Arena, pool: SlotPool, keep_ended_ns: int, hold_ns: int, generation: int = 0) -> None:
        self._arena = arena
        self._pool = pool
        self._keep_ended_ns = keep_ended_ns
        self.row = Row(arena, arena.geometry.supervisor_row)
        self.row.take(os.getpid(), generation, layout.ROW_BOOTING)
        self._events = EventWriter(arena, arena.geometry.supervisor_row)
        self.parking = Parking(pool, self.row, self.tell, hold_ns)
        self._silenced_ns = 0

    def tell(self, kind: str, **fields: Any) -> None:
        """Write an event into the supervisor's ring and ring its bell."""
        self._events.write(encode_event(kind, {"at_ns": time.time_ns(), "row": self.row.number, **fields}))
        self.row.owed = True
        self.row.pay_bell(time.monotonic_ns())

    def tick(self) -> None:
        """Give a sign of life, pay an owed ring; once a second look at what ended, is parked, or has no owner."""
        now_ns = time.monotonic_ns()
        self.row.set("heartbeat_ns", now_ns)
        self.row.pay_bell(now_ns)
        if now_ns - self._silenced_ns >= SILENCE_EVERY_NS:
            self._silenced_ns = now_ns
            self._pool.silence_ended(now_ns, self._keep_ended_ns)
            self._abort(self._pool.mark_dead())
            self.parking.look(now_ns)

    def worker_died(self, number: int) -> int:
        """Mark a reaped worker's streams ABORTED and tell everybody who may wait for them; return how many."""
        row = Row(self._arena, number)
        if row.get("state") != layout.ROW_FREE:  # it did not leave by itself
            row.set("state", layout.ROW_DEAD)
        row.set("live", 0)
        row.set("pid", 0)
        died = self._pool.mark_dead(number)
        self._abort(died)
        self.tell("worker_gone", of_row=number, aborted=len(died))
        return len(died)

    def bury(self, living: set[int]) -> None:
        """Of a daemon before in this memory: mark what belonged to workers that died with it or after it."""
        for number, state in enumerate(self.words("state")):
            if number not in living and state not in (layout.ROW_FREE, layout.ROW_DEAD):
                self.worker_died(number)

    def hung(self, hung: AnnounceHung) -> None:
        """Count and tell of a child that is hung. Its streams are ABORTED when it is dead, not before."""
        self.row.count("hung")
        seconds = round(hung.stood_ns / NS_PER_S, 1)
        if hung.place == DESK:
            self.tell("desk_hung", pid=hung.pid, seconds=seconds)
        else:
            self.tell("worker_hung", of_row=hung.place, pid=hung.pid, seconds=seconds)

    def scaled(self, scaled: Scaled) -> None:
        """Tell who had the number of workers changed, and to what."""
        if "uid" in scaled.asked:  # it came over the hub
            self.row.count("commands_done")
        rows = {"started": scaled.started, "leaving": scaled.leaving}
        self.tell("scaled", workers=scaled.after, before=scaled.before, **scaled.asked, **rows)

    def reloaded(self, ended: Reloaded | ReloadFailed) -> None:
        """Tell how a reload ended, and who had wanted it."""
        if isinstance(ended, Reloaded):
            if "uid" in ended.asked:  # it came over the hub
                self.row.count("commands_done")
            self.row.set("generation", ended.generation)
            values = {key: value for key, (_, value) in ended.changes.items()}
            changed = {"changed": values} if values else {}
            self.tell("reloaded", generation=ended.generation, draining=ended.draining, **ended.asked, **changed)
        else:
            self.tell("reload_failed", **ended.asked, why=ended.text[:MOST_REASON])

    def reload_refused(self, refused: ReloadRefused) -> None:
        """Tell that a reload does not begin."""
        self.tell("reload_failed", **refused.asked, why=refused.text)

    def words(self, name: str) -> list[int]:
        """Return one of `layout.ROW` of every worker's row."""
        sizes, words = self._arena.geometry, self._arena.words
        return [words[layout.row_word(sizes, row, name)] for row in range(sizes.rows)]

    def _abort(self, died: list[dict[str, Any]]) -> None:
        """Count and tell of streams that were marked ABORTED, and wake whoever waits for them."""
        for card in died:
            row = Row(self._arena, card["row"])
            row.count("streams_ended")
            row.count("worker_died")
            self.tell(
                "stream_aborted",
                stream=card["stream_id"],
                call=card["call_id"],
                of_row=card["row"],
                length_frames=card["length_frames"],
            )
            log.error(
                "stream aborted stream=%s call=%s reason=%s length_frames=%d",
                card["stream_id"],
                card["call_id"],
                WORKER_DIED,
                card["length_frames"],
            )
            futex_wake(self._arena.word_address(layout.cursor_word(self._arena.geometry, card["slot"], "commit")))

    def whereabouts(self, slot: int) -> Whereabouts | None:
        """Return where a slot's stream is, None if it is over, or the slot is none or cannot be read."""
        if slot >= self._arena.geometry.slots:
            return None
        try:
            card = read_card(self._arena, slot)
        except TornCard:
            return None
        if card["state"] == layout.PARKED:
            return Whereabouts(card["epoch"], None)
        return Whereabouts(card["epoch"], card["row"]) if card["state"] in layout.OWNED_STATES else None

    def commands_refused(self, count: int) -> None:
        """Count commands that no worker answered."""
        self.row.count("commands_refused", count)

    def set_state(self, arena_state: int, row_state: int) -> None:
        """Say in the header and in the supervisor's row what the service as a whole does."""
        self._arena.words[layout.HEADER.index("state")] = arena_state
        self.row.set("state", row_state)
