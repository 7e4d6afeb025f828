"""The phases of the service and of its children, and the tables between them.

Pure data, in the words of `supervisor/orders.py`; `supervisor/policy.py` walks it. Two small machines, one inside the
other: what a child's death means depends on the phase of the service. From DRAINING on nobody is forked any more.

A worker that is still BOOTING is never hurried but drained: its SIGQUIT handler may not be there yet, and the default
is a core dump with voices in it. When it says that it is ready it gets what its phase deserves.

A child that is found hung goes READY, HUNG, CONDEMNED, ENDING: its stacks are dumped, then it is told to drain, which
one that is only slow still hears, then it is killed. If it turns its loop again while it is HUNG it is READY as before.
A CONDEMNED worker has been told to drain by then: it keeps its calls, and another takes its place.
"""

from enum import StrEnum

from audiohook.supervisor.orders import SignalName, Urge


class ChildPhase(StrEnum):
    """Where one child (the worker of a row, or the desk) is. ABSENT, READY and ENDING have no `due_ns`."""

    ABSENT = "absent"
    """No process, and none is planned."""
    WAITING = "waiting"
    """No process; one is forked when `due_ns` comes (back-off)."""
    BOOTING = "booting"
    """Forked, has not yet said that it accepts; killed when `due_ns` comes."""
    READY = "ready"
    """It serves."""
    HUNG = "hung"
    """It does not turn its loop; its stacks were asked for. Told to drain when `due_ns` comes."""
    CONDEMNED = "condemned"
    """It was HUNG and told to drain; killed when `due_ns` comes."""
    FAILED = "failed"
    """It said why it cannot boot; leaves by itself, or is killed when `due_ns` comes."""
    ENDING = "ending"
    """SIGKILL was sent; only its exit is awaited."""


class Phase(StrEnum):
    """Where the service is. Only DRAINING, HURRYING and ENDING_DESK have a `due_ns`."""

    NEW = "new"
    """Before `Started`."""
    BOOTING = "booting"
    """Every child is being started. One that dies, fails or is late ends the service: HURRYING."""
    SERVING = "serving"
    """All were ready once. A child that dies comes back, after a back-off, unless it was to leave (scaling)."""
    DRAINING = "draining"
    """Workers take no new calls and leave with their last one."""
    HURRYING = "hurrying"
    """Workers end every call properly and leave."""
    KILLING = "killing"
    """Workers were sent SIGKILL."""
    ENDING_DESK = "ending_desk"
    """No worker is left; the desk was asked to leave."""
    KILLING_DESK = "killing_desk"
    """The desk was sent SIGKILL."""
    STOPPED = "stopped"
    """`Exit` was ordered."""


ALIVE = frozenset(ChildPhase) - {ChildPhase.ABSENT, ChildPhase.WAITING}
WATCHED = frozenset({ChildPhase.READY, ChildPhase.HUNG, ChildPhase.CONDEMNED})
"""Who is expected to turn its loop."""
STOPPING_WORKERS = frozenset({Phase.DRAINING, Phase.HURRYING, Phase.KILLING})

_GENTLE: dict[SignalName, Phase] = {"TERM": Phase.DRAINING, "INT": Phase.DRAINING, "QUIT": Phase.HURRYING}


def _all_signals(phase: Phase) -> dict[SignalName, Phase]:
    return {"TERM": phase, "INT": phase, "QUIT": phase}


AFTER_SIGNAL: dict[Phase, dict[SignalName, Phase]] = {
    Phase.NEW: _GENTLE,
    Phase.BOOTING: _GENTLE,
    Phase.SERVING: _GENTLE,
    Phase.DRAINING: _all_signals(Phase.HURRYING),
    Phase.HURRYING: _all_signals(Phase.KILLING),
    Phase.KILLING: {},
    Phase.ENDING_DESK: _all_signals(Phase.KILLING_DESK),
    Phase.KILLING_DESK: {},
    Phase.STOPPED: {},
}

AFTER_DEADLINE: dict[Phase, Phase] = {
    Phase.DRAINING: Phase.HURRYING,
    Phase.HURRYING: Phase.KILLING,
    Phase.ENDING_DESK: Phase.KILLING_DESK,
}

WORKER_URGES: dict[tuple[Phase, ChildPhase], Urge] = {
    (Phase.DRAINING, ChildPhase.BOOTING): "drain",
    (Phase.DRAINING, ChildPhase.READY): "drain",
    (Phase.DRAINING, ChildPhase.HUNG): "drain",
    (Phase.HURRYING, ChildPhase.BOOTING): "drain",
    (Phase.HURRYING, ChildPhase.READY): "hurry",
    (Phase.HURRYING, ChildPhase.HUNG): "hurry",
    (Phase.HURRYING, ChildPhase.CONDEMNED): "hurry",
    (Phase.KILLING, ChildPhase.BOOTING): "kill",
    (Phase.KILLING, ChildPhase.READY): "kill",
    (Phase.KILLING, ChildPhase.HUNG): "kill",
    (Phase.KILLING, ChildPhase.CONDEMNED): "kill",
    (Phase.KILLING, ChildPhase.FAILED): "kill",
}

DESK_URGES: dict[tuple[Phase, ChildPhase], Urge] = {
    (Phase.ENDING_DESK, ChildPhase.BOOTING): "drain",
    (Phase.ENDING_DESK, ChildPhase.READY): "drain",
    (Phase.ENDING_DESK, ChildPhase.HUNG): "drain",
    (Phase.KILLING_DESK, ChildPhase.BOOTING): "kill",
    (Phase.KILLING_DESK, ChildPhase.READY): "kill",
    (Phase.KILLING_DESK, ChildPhase.HUNG): "kill",
    (Phase.KILLING_DESK, ChildPhase.CONDEMNED): "kill",
    (Phase.KILLING_DESK, ChildPhase.FAILED): "kill",
}
