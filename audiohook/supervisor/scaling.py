"""Which rows begin and which leave when another number of workers is wanted. Pure.

Up: the lowest free rows. Down: first those that have no process or none that serves, then whoever has the fewest
connections, of equals the youngest. A worker that leaves keeps its row until its last call has ended, so what can be
had at once is bounded by the rows that are free.
"""

from audiohook.supervisor.orders import Scale, Scaled
from audiohook.supervisor.phases import ChildPhase, Phase
from audiohook.supervisor.reloads import ReloadPhase
from audiohook.supervisor.state import State

_NOT_SERVING = {Phase.NEW: "is starting", Phase.BOOTING: "is starting"}


def free_rows(state: State) -> list[int]:
    """Return the rows that no worker has and none is planned for, lowest first."""
    return [row for row, child in enumerate(state.workers) if child.phase is ChildPhase.ABSENT]


def unavailable(state: State) -> str:
    """Return why a service that does not serve takes no commands."""
    return f"the service {_NOT_SERVING.get(state.phase, 'is stopping')}"


def refusal(state: State, workers: int) -> str | None:
    """Return why so many workers cannot be had now, or None."""
    if state.phase is not Phase.SERVING:
        return unavailable(state)
    if state.reload.phase is not ReloadPhase.NONE:
        return "a reload is under way"
    rows = len(state.workers)
    if not 1 <= workers <= rows:
        return f"from 1 to {rows} workers can be had (server.workers times one more than server.max_generations)"
    leaving = sum(child.leaving for child in state.workers)
    if workers > rows - leaving:
        return f"{leaving} of {rows} rows are still drained: {rows - leaving} workers are the most now"
    return None


def scaled(state: State, asked: Scale) -> Scaled:
    """Return what to do. `asked` was not refused."""
    before = state.wanted
    started = free_rows(state)[: max(0, asked.workers - before)]
    leaving = _by_price(state, asked.loads)[: max(0, before - asked.workers - state.reload.missing)]
    return Scaled(before, asked.workers, tuple(started), tuple(sorted(leaving)), asked.asked)


def in_words(scaled: Scaled) -> str:
    """Return one short line for whoever asked."""
    said = f"there were {scaled.before}"
    if scaled.started:
        said += f"; {len(scaled.started)} started"
    if scaled.leaving:
        said += f"; {len(scaled.leaving)} take no more calls and leave with their last one"
    return said


def _by_price(state: State, loads: tuple[int, ...]) -> list[int]:
    """Return the rows that could leave, those first whose leaving costs least.

    One that is still to serve goes behind one that no longer does, and before any that does.
    """

    def price(row: int) -> tuple[int, int, int, int]:
        child = state.workers[row]
        load = loads[row] if row < len(loads) else 0
        promise = {ChildPhase.BOOTING: 1, ChildPhase.READY: 2}.get(child.phase, 0)
        return promise, load, -child.started_ns, -row

    rows = [
        row for row, child in enumerate(state.workers) if child.phase is not ChildPhase.ABSENT and not child.leaving
    ]
    return sorted(rows, key=price)
