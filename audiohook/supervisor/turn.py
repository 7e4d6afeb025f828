"""One step of the supervisor's policy: the state under change and the commands so far. Pure.

What `policy.py` and `generations.py` have in common: how a child is forked, signalled, sent away, and what of that is
remembered. Knows none of their rules.
"""

from collections.abc import Mapping

import msgspec

from audiohook.supervisor.orders import Command, ForkDesk, ForkWorker, Level, Log, SignalDesk, SignalWorker, Urge
from audiohook.supervisor.phases import ChildPhase
from audiohook.supervisor.state import DESK, Child, State
from audiohook.units import NEVER_NS, NS_PER_S

HURRY_NS = 5 * NS_PER_S
"""How long a child has for an end that it was told to make (hurry, the desk's drain, the exit after a report)."""

_NONE: Mapping[str, object] = {}


class Turn:
    """One call of `policy.step`."""

    def __init__(self, state: State, now_ns: int) -> None:
        self.state = state
        self.now_ns = now_ns
        self.commands: list[Command] = []

    def fork(self, place: int) -> None:
        """Start a child of the generation that the plan names."""
        plan = self.state.plan
        self.change_child(
            place,
            phase=ChildPhase.BOOTING,
            due_ns=self.now_ns + plan.boot_ns,
            started_ns=self.now_ns,
            leaving=False,
            generation=plan.generation,
            ends_ns=NEVER_NS,
            hurried=False,
            orphan=False,
        )
        self.commands.append(ForkDesk() if place == DESK else ForkWorker(place, plan.generation))

    def accepts(self, place: int) -> None:
        """A child turns its loop: READY, with the time that one that is leaving has left."""
        child = self.state.child(place)
        due_ns = self.now_ns + HURRY_NS if child.hurried else child.ends_ns
        self.change_child(place, phase=ChildPhase.READY, due_ns=due_ns)

    def retire(self, row: int, ends_ns: int = NEVER_NS) -> None:
        """A worker is to leave by `ends_ns` and not to be replaced. One that is not READY is told when it is."""
        child = self.state.child(row)
        if child.phase is ChildPhase.WAITING:
            self.change_child(row, phase=ChildPhase.ABSENT, due_ns=NEVER_NS)
            return
        self.change_child(row, leaving=True, ends_ns=min(child.ends_ns, ends_ns))
        if child.phase is ChildPhase.READY:
            self.accepts(row)
            if not child.leaving:
                self.signal(row, "retire")

    def hurry(self, row: int) -> None:
        """End a worker that is leaving: its calls properly, if it has any. One that hangs or fails is ending anyway."""
        phase = self.state.child(row).phase
        self.change_child(row, hurried=True)
        if phase is ChildPhase.BOOTING:
            self.signal(row, "kill")
        elif phase is ChildPhase.READY:
            self.accepts(row)
            self.signal(row, "hurry")

    def signal(self, place: int, urge: Urge) -> None:
        self.commands.append(SignalDesk(urge) if place == DESK else SignalWorker(place, urge))
        if urge == "kill":
            self.change_child(place, phase=ChildPhase.ENDING, due_ns=NEVER_NS)

    def log(self, level: Level, text: str, fields: Mapping[str, object] = _NONE) -> None:
        self.commands.append(Log(level, text, fields))

    def change(self, **fields: object) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)

    def change_child(self, place: int, **fields: object) -> None:
        child: Child = msgspec.structs.replace(self.state.child(place), **fields)
        if place == DESK:
            self.change(desk=child)
        else:
            self.change(workers=(*self.state.workers[:place], child, *self.state.workers[place + 1 :]))

    def change_reload(self, **fields: object) -> None:
        self.change(reload=msgspec.structs.replace(self.state.reload, **fields))


def child_name(place: int) -> str:
    return "desk" if place == DESK else f"worker {place}"
