"""The living workers of a daemon that was killed, and what a new supervisor does with them. Pure; part of the policy.

An orphan is a worker that is leaving (`supervisor/policy.py`): it takes no new calls, is not replaced, and keeps its
row until it is gone. It listens no more since its lifeline closed, and ends by itself with its last call or after its
own `orphan_seconds`. What differs from a child: it is not ours to reap, so of its end nothing is known but that it
came, and commands reach it only if its line has outlived the supervisor that had the other end (`cli/unit.py`).

While the new workers boot, nothing that happens to an orphan is a failed start; a start that fails leaves orphans
alone, since their calls are none of its business. A row is worth more than an old call only if there is no other: then
those of the oldest generation end their calls properly, as many as rows are lacking.
"""

from audiohook.supervisor.orders import Orphan
from audiohook.supervisor.phases import ChildPhase
from audiohook.supervisor.scaling import free_rows
from audiohook.supervisor.turn import Turn
from audiohook.units import NEVER_NS


def take_on(turn: Turn, orphans: tuple[Orphan, ...]) -> None:
    """Enter them into their rows; nothing has happened yet."""
    for one in orphans:
        entry = {"leaving": True, "orphan": True, "generation": one.generation, "started_ns": turn.now_ns}
        turn.change_child(one.row, phase=ChildPhase.READY, **entry)
    if orphans:
        rows = [one.row for one in orphans]
        turn.log("warning", "workers of a daemon that was killed keep their calls", {"rows": rows})


def fill(turn: Turn) -> None:
    """While the service boots: fork what is lacking of the planned workers into the rows that are free."""
    lacking = turn.state.plan.workers - turn.state.wanted
    free = free_rows(turn.state)[:lacking]
    for row in free:
        turn.fork(row)
    orphans = [(child.generation, row) for row, child in enumerate(turn.state.workers) if child.orphan]
    lacking -= len(free) + sum(turn.state.child(row).hurried for _, row in orphans)
    for _, row in [one for one in sorted(orphans) if not turn.state.child(one[1]).hurried][: max(0, lacking)]:
        turn.log("warning", f"worker {row}, of a daemon that was killed, ends its calls: its row is needed")
        turn.hurry(row)


def let_go(turn: Turn) -> None:
    """This supervisor will not serve: forget them, so that nobody tells them to end."""
    for row, child in enumerate(turn.state.workers):
        if child.orphan:
            turn.change_child(row, phase=ChildPhase.ABSENT, leaving=False, orphan=False, due_ns=NEVER_NS)
