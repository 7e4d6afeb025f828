"""What is known of a reload: its phases and its outcome. Pure data; `supervisor/generations.py` walks it.

    NONE -> CHECKING -> CROSSING => MAKING_ROOM -> BOOTING -> NONE
                     -> NONE

`=>` is execve: what lies before it is decided by the old code, what lies after it by the new. Where there are only
settings to change that can be changed while processes run, that is done behind CHECKING and is all. From every phase a
failure leads back to NONE, from those behind `=>` by a second crossing, back to the old code.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from audiohook.supervisor.orders import Changes
from audiohook.units import NEVER_NS


class ReloadPhase(StrEnum):
    """Where a reload is. CHECKING and MAKING_ROOM have a `due_ns`; in BOOTING each worker has one of its own."""

    NONE = "none"
    """No reload is under way."""
    CHECKING = "checking"
    """A trial process reads configuration and code from the disk."""
    CROSSING = "crossing"
    """`Cross` was ordered: the next input comes after execve, or says that there was none."""
    MAKING_ROOM = "making room"
    """The oldest generations were told to end: their rows are needed."""
    BOOTING = "starting the new workers"
    """The new generation boots; the old one serves."""


class Outcome(msgspec.Struct, frozen=True):
    """How a reload ended: the generation that it brought, NO_NEW_GENERATION, or 0 and why not."""

    attempt: int
    generation: int
    text: str


NO_NEW_GENERATION = -1
"""What a reload has brought that only had settings to change."""

MOST_OUTCOMES = 8


class Reload(msgspec.Struct, frozen=True):
    """The reload under way, and the last ones. `attempt` is the number of the last one that was begun."""

    phase: ReloadPhase = ReloadPhase.NONE
    attempt: int = 0
    asked: Mapping[str, str | int] = {}
    passed: bool = False
    """The trial has said that all is well; its exit is awaited."""
    changes: Changes = {}
    """And that there are only these settings to be changed."""
    fault: str = ""
    """What the trial has said is wrong."""
    due_ns: int = NEVER_NS
    again: bool = False
    """SIGHUP came meanwhile: what it wants loaded may have been written after the trial has read. Once more, then."""
    wanted: int = 0
    """How many workers there were to be when it was asked for."""
    missing: int = 0
    """Of these, after a reload that failed, those for which no row was free: started when one is."""
    back_to: tuple[int, int] = (0, 0)
    """Generation and `Plan.workers` of the old generation."""
    latest: int = 0
    """The highest generation number that was ever given."""
    outcomes: tuple[Outcome, ...] = ()
