"""The streams whose peers have left and may come back: how long they wait, and what they can still be told.

A PARKED stream has no worker: whoever gets its lock may change its card, and the supervisor does what is to be done in
time. Never waits for a lock: a stream that a worker is taking on at this moment is left to it. What is kept, and why,
is decided when the connection ends (session/context.py); the rules are in docs/context-dialect.md, "Life".
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from audiohook.control.commands import Command, Reply, Status, Verb, command_event
from audiohook.errors import CALL_ENDED, DISCONNECTED, SHUTDOWN, Closure
from audiohook.memory import layout
from audiohook.memory.cards import read_card, read_number
from audiohook.memory.pool import SlotPool
from audiohook.memory.row import Row
from audiohook.memory.syscalls import futex_wake
from audiohook.memory.timeline import Recycled
from audiohook.memory.verdict import ending
from audiohook.units import NS_PER_S

log = logging.getLogger("audiohook")

EXPECTED_BACK_NS = 10 * NS_PER_S
"""How long after the end of a hold its peer has to be back. Later, readers and operators hear `expected_back`."""

PARKED_TEXT = "the stream is parked: its peer is not connected"
BUSY_TEXT = "the stream is just being continued"


class Parking:
    """The supervisor's hand in PARKED streams."""

    def __init__(self, pool: SlotPool, row: Row, tell: Callable[..., None], hold_ns: int) -> None:
        """`tell(kind, **fields)` writes an event; `hold_ns` is how long a hold keeps a stream."""
        self._pool = pool
        self._row = row
        self._tell = tell
        self._hold_ns = hold_ns

    def look(self, now_ns: int) -> None:
        """End what has waited too long; say who was expected and has not come."""
        for card in self._pool.parked():
            if card["parked_until_ns"] <= now_ns:
                self._end(card, {})
            elif 0 < card["expected_until_ns"] <= now_ns:
                self._miss(card)

    def end_all(self) -> None:
        """The service stops: nobody can come back to it."""
        for card in self._pool.parked():
            self._end(card, _reason(SHUTDOWN))

    def command(self, command: Command) -> Reply:
        """Carry out a command for a PARKED stream."""
        reply = self._obey(command, time.monotonic_ns())
        if reply.status is Status.OK:
            self._row.count("commands_done")
            card = read_card(self._pool.arena, command.slot)
            self._tell("command", stream=card["stream_id"], call=card["call_id"], **command_event(command))
        return reply

    def _obey(self, command: Command, now_ns: int) -> Reply:
        if command.verb in _ENDS:
            card = {**read_card(self._pool.arena, command.slot), "slot": command.slot, "epoch": command.epoch}
            return command.done() if self._end(card, _reason(_ENDS[command.verb])) else command.refused(BUSY_TEXT)
        if command.verb is Verb.HOLD:
            flags = read_number(self._pool.arena, command.slot, "flags") | layout.FLAG_HELD
            amended = self._amend(command, flags=flags, parked_until_ns=now_ns + self._hold_ns, expected_until_ns=0)
        elif command.verb is Verb.UNHOLD:
            amended = self._amend(command, expected_until_ns=now_ns + EXPECTED_BACK_NS)
        else:
            return command.not_available(PARKED_TEXT)
        return command.done() if amended else command.refused(BUSY_TEXT)

    def _amend(self, command: Command, **fields: int) -> bool:
        return self._pool.amend_parked(command.slot, command.epoch, **fields) is not None

    def _miss(self, card: dict[str, Any]) -> None:
        if self._pool.amend_parked(card["slot"], card["epoch"], expected_until_ns=0) is None:
            return
        self._row.count("expected_back")
        self._tell("expected_back", stream=card["stream_id"], call=card["call_id"])
        log.warning("the hold is over and nobody came back stream=%s call=%s", card["stream_id"], card["call_id"])

    def _end(self, parked: dict[str, Any], why: dict[str, int | str]) -> bool:
        arena = self._pool.arena
        card = self._pool.end_parked(parked["slot"], parked["epoch"], **why)
        if card is None:
            return False
        self._row.count("streams_ended")
        if why:  # the reason for which the connection ended was counted when it did
            self._row.count(card["end_reason"])
        try:
            verdict = ending(arena, card, time.monotonic_ns())
        except Recycled:  # a new stream has got the slot within these few microseconds
            verdict = {"reason": card["end_reason"]}
        self._tell("stream_ended", stream=card["stream_id"], call=card["call_id"], **verdict)
        futex_wake(arena.word_address(layout.cursor_word(arena.geometry, card["slot"], "commit")))
        log.info(
            "parked stream ended stream=%s call=%s reason=%s", card["stream_id"], card["call_id"], verdict["reason"]
        )
        return True


def _reason(why: Closure) -> dict[str, int | str]:
    return {"end_reason": why.slug, "close_code": 0, "close_reason": ""}


_ENDS = {Verb.END: CALL_ENDED, Verb.DISCONNECT: DISCONNECTED}
