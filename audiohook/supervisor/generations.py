"""The reload: from one generation of workers to the next, or back. Pure; a part of `supervisor/policy.py`.

Knows no process, no execve and no file. The phases are in `supervisor/reloads.py`; the contract is
docs/architecture.md, "Reload".

Theory of operation. The old code has the disk tried out (CHECKING). Where there are only settings to change that can
be changed while processes run, that is done, and all is as it was; else it re-executes itself (CROSSING). The new code
makes room where rows are lacking (MAKING_ROOM: the oldest generations that still have calls end them properly), starts
as many workers as there are to be (BOOTING), and when the last of them accepts it retires all older ones. They keep
their calls to the end, or to the plan's `generation_ns`; of more than `max_draining` generations the oldest end. If a
new worker fails before, those of its generation that accept already keep what calls they have, like old ones, the
others are killed, and the process crosses back. Old workers that die between the two crossings are not replaced by the
new code; the old code does that when it is back.

Invariants (tests/unit/test_generations_pairs.py, tests/unit/test_generations.py): no old worker is retired before
every new one is ready; each reload that was begun ends in `Reloaded` or `ReloadFailed`, if trial and workers come to an
end, and nothing else ends so; a generation number is given once; while a reload is under way no other begins.
"""

from collections.abc import Mapping

import msgspec

from audiohook.supervisor.orders import (
    Cross,
    CrossFailed,
    KillTrial,
    ReloadAsked,
    Reloaded,
    ReloadFailed,
    ReloadRefused,
    Resumed,
    StartTrial,
    TrialExited,
    TrialFailed,
    TrialPassed,
)
from audiohook.supervisor.phases import ALIVE, ChildPhase, Phase
from audiohook.supervisor.reloads import MOST_OUTCOMES, NO_NEW_GENERATION, Outcome, Reload, ReloadPhase
from audiohook.supervisor.scaling import free_rows, unavailable
from audiohook.supervisor.state import DESK, State
from audiohook.supervisor.turn import HURRY_NS, Turn
from audiohook.units import NEVER_NS, NS_PER_S

UNDER_WAY = "a reload is under way"
STOPPING = "the service is stopping"

_RAISING = frozenset({ReloadPhase.MAKING_ROOM, ReloadPhase.BOOTING})


def refusal(state: State) -> str | None:
    """Return why no reload can begin now, or None."""
    if state.phase is not Phase.SERVING:
        return unavailable(state)
    if state.reload.phase is not ReloadPhase.NONE:
        return UNDER_WAY
    own = [child for child in state.workers if child.phase in ALIVE and child.generation == state.plan.generation]
    rows = len(state.workers)
    if rows - len(own) < state.wanted:
        return f"{len(own)} of {rows} rows are in use: no room for {state.wanted} new workers beside; scale down first"
    return None


def draining(state: State) -> list[int]:
    """Return the generations, oldest first, that take no new calls and have processes."""
    current = state.plan.generation
    return sorted({one.generation for one in state.workers if one.phase in ALIVE and one.generation != current})


# Before the crossing


def asked(turn: Turn, happened: ReloadAsked) -> None:
    fault = refusal(turn.state)
    if fault is not None:
        turn.log("warning", f"not reloaded: {fault}", happened.asked)
        turn.commands.append(ReloadRefused(fault, happened.asked))
        return
    before = turn.state.reload
    turn.change(
        reload=Reload(
            phase=ReloadPhase.CHECKING,
            attempt=before.attempt + 1,
            asked=happened.asked,
            due_ns=turn.now_ns + turn.state.plan.boot_ns,
            wanted=turn.state.wanted,
            latest=max(before.latest, turn.state.plan.generation),
            outcomes=before.outcomes,
        )
    )
    turn.log("info", "reload: code and configuration on the disk are tried out", happened.asked)
    turn.commands.append(StartTrial())


def hung_up(turn: Turn) -> None:
    """SIGHUP came: what it wants loaded may be newer than what a reload under way has read, so that is repeated."""
    if turn.state.reload.phase is ReloadPhase.NONE:
        asked(turn, ReloadAsked({"signal": "SIGHUP"}))
    elif not turn.state.reload.again:
        turn.log("info", "SIGHUP: a reload is under way; another one follows")
        turn.change_reload(again=True)


def trial_passed(turn: Turn, happened: TrialPassed) -> None:
    if turn.state.reload.phase is ReloadPhase.CHECKING:
        turn.change_reload(passed=True, changes=happened.changes)


def trial_failed(turn: Turn, happened: TrialFailed) -> None:
    if turn.state.reload.phase is not ReloadPhase.CHECKING:
        return
    turn.change_reload(fault=turn.state.reload.fault or happened.message)
    if not happened.started:
        _fail(turn, happened.message)


def trial_exited(turn: Turn, happened: TrialExited) -> None:
    reload = turn.state.reload
    if reload.phase is not ReloadPhase.CHECKING:
        return
    if reload.fault or not reload.passed or happened.status:
        how = f"was killed by signal {-happened.status}" if happened.status < 0 else f"ended with {happened.status}"
        _fail(turn, reload.fault or f"the trial process {how} and gave no reason")
        return
    if reload.changes:
        _change_settings(turn)
        return
    old = (turn.state.plan.generation, turn.state.plan.workers)
    turn.log("info", "reload: nothing wrong was found; the supervisor re-executes itself")
    _cross(turn, Cross(), back_to=old)


def due(turn: Turn) -> None:
    """The reload's own deadline has come."""
    took = f"within {turn.state.plan.boot_ns / NS_PER_S:g} s"
    if turn.state.reload.phase is ReloadPhase.CHECKING:
        turn.change_reload(due_ns=NEVER_NS, fault=f"the trial process did not end {took}")
        turn.commands.append(KillTrial())
    elif turn.state.reload.phase is ReloadPhase.MAKING_ROOM:
        _fall_back(turn, f"the rows that the new workers need did not become free {took}")


# Behind it


def resumed(turn: Turn, happened: Resumed) -> None:
    reload = turn.state.reload
    if reload.phase is not ReloadPhase.CROSSING:
        return
    generation, workers = reload.back_to
    if happened.fault:
        turn.change(plan=msgspec.structs.replace(happened.plan, generation=generation, workers=workers))
        _fail(turn, happened.fault)
        return
    turn.change(plan=msgspec.structs.replace(happened.plan, generation=reload.latest + 1))
    turn.change_reload(latest=reload.latest + 1)
    for row, child in enumerate(turn.state.workers):
        if child.phase is ChildPhase.WAITING:
            turn.change_child(row, phase=ChildPhase.ABSENT, due_ns=NEVER_NS)
    _raise(turn)


def cross_failed(turn: Turn, happened: CrossFailed) -> None:
    if turn.state.reload.phase is ReloadPhase.CROSSING:
        _fail(turn, happened.message)


def failed(turn: Turn, row: int, why: str) -> None:
    """A worker will not become ready: if it is a new one, that is the end of the reload."""
    boots = turn.state.reload.phase is ReloadPhase.BOOTING and row != DESK
    if boots and turn.state.child(row).generation == turn.state.plan.generation:
        _fall_back(turn, why)


def lost(turn: Turn, row: int, why: str) -> bool:
    """A worker that was not leaving is gone; return whether that is dealt with here, by the reload."""
    if turn.state.reload.phase not in _RAISING or row == DESK:
        return False
    turn.change_child(row, phase=ChildPhase.ABSENT, due_ns=NEVER_NS)
    failed(turn, row, why)
    look(turn)
    return True


def look(turn: Turn) -> None:
    """A worker has become ready, or a row free: go on if that was what is waited for."""
    if turn.state.reload.phase is ReloadPhase.MAKING_ROOM:
        _raise(turn)
    elif turn.state.reload.phase is ReloadPhase.BOOTING:
        new = [child for child in turn.state.workers if child.generation == turn.state.plan.generation]
        if sum(child.phase is ChildPhase.READY for child in new) == _target(turn.state):
            _complete(turn)
    elif turn.state.reload.phase is ReloadPhase.NONE and turn.state.phase is Phase.SERVING:
        _fork_missing(turn, turn.state.reload.missing)


def cancel(turn: Turn) -> None:
    """The service stops, whatever a reload has come to."""
    if turn.state.reload.phase is ReloadPhase.CHECKING:
        turn.commands.append(KillTrial())
    if turn.state.reload.phase is not ReloadPhase.NONE:
        turn.change_reload(again=False)
        _end(turn, STOPPING)


def renew_desk(turn: Turn) -> None:
    """Have a desk of another generation end, so that one of ours takes its place. It has no calls."""
    desk = turn.state.desk
    settled = turn.state.phase is Phase.SERVING and turn.state.reload.phase is ReloadPhase.NONE
    serves = desk.phase is ChildPhase.READY and not desk.leaving
    if settled and serves and desk.generation != turn.state.plan.generation:
        turn.change_child(DESK, leaving=True, hurried=True, due_ns=turn.now_ns + HURRY_NS)
        turn.signal(DESK, "drain")


# The steps


def _target(state: State) -> int:
    """Return how many workers the new generation has: what the configuration says if it says something new."""
    reload = state.reload
    return reload.wanted if state.plan.workers == reload.back_to[1] else state.plan.workers


def _raise(turn: Turn) -> None:
    """Start the new workers, or make room for them."""
    target, free = _target(turn.state), free_rows(turn.state)
    if len(free) >= target:
        turn.change_reload(phase=ReloadPhase.BOOTING, due_ns=NEVER_NS)
        for row in free[:target]:
            turn.fork(row)
        return
    ending = {row for row, child in enumerate(turn.state.workers) if child.hurried and child.phase in ALIVE}
    for generation in draining(turn.state):
        rows = [row for row in _rows_of(turn.state, generation) if turn.state.child(row).leaving]
        if len(free) + len(ending) < target:
            _end_generation(turn, generation, rows)
            ending.update(rows)
    if len(free) + len(ending) < target:
        _fall_back(turn, f"{target} new workers do not fit into {len(turn.state.workers)} rows; a restart is needed")
    elif turn.state.reload.phase is not ReloadPhase.MAKING_ROOM:
        turn.change_reload(phase=ReloadPhase.MAKING_ROOM, due_ns=turn.now_ns + turn.state.plan.boot_ns)


def _complete(turn: Turn) -> None:
    plan = turn.state.plan
    for generation in draining(turn.state):
        for row in _rows_of(turn.state, generation):
            turn.retire(row, turn.now_ns + plan.generation_ns)
    left = draining(turn.state)
    for generation in left[: max(0, len(left) - plan.max_draining)]:
        _end_generation(turn, generation, _rows_of(turn.state, generation))
    told = turn.state.reload.asked
    turn.log("info", "reloaded", {"generation": plan.generation, "draining": len(left), **told})
    turn.commands.append(Reloaded(plan.generation, len(left), told))
    workers = _target(turn.state)
    _settle(turn, plan.generation, f"generation {plan.generation} takes new calls: {workers} workers")


def _fall_back(turn: Turn, why: str) -> None:
    """Give the new generation up and cross back. Those of it that have taken calls keep them to the end."""
    plan, reload = turn.state.plan, turn.state.reload
    for row in _rows_of(turn.state, plan.generation):
        if turn.state.child(row).phase in (ChildPhase.BOOTING, ChildPhase.FAILED):
            turn.change_child(row, leaving=True)
            turn.signal(row, "kill")
        else:
            turn.retire(row, turn.now_ns + plan.generation_ns)
    generation, workers = reload.back_to
    turn.change(plan=msgspec.structs.replace(plan, generation=generation, workers=workers))
    turn.log("error", f"reload: {why}; back to the old code")
    _cross(turn, Cross(why))


def _cross(turn: Turn, command: Cross, **fields: object) -> None:
    turn.change_reload(phase=ReloadPhase.CROSSING, due_ns=NEVER_NS, **fields)
    turn.commands.append(command)


def _change_settings(turn: Turn) -> None:
    reload, generation = turn.state.reload, turn.state.plan.generation
    words = ", ".join(f"{key} = {after} (was {before})" for key, (before, after) in reload.changes.items())
    text = f"generation {generation} goes on with {words}"
    turn.log("info", f"reloaded: {text}", reload.asked)
    turn.commands.append(Reloaded(generation, len(draining(turn.state)), reload.asked, reload.changes))
    _fork_wanted(turn)
    _settle(turn, NO_NEW_GENERATION, text)


def _fail(turn: Turn, text: str) -> None:
    """The old code serves on: with as many workers as it had, and its own desk."""
    _fork_wanted(turn)
    _end(turn, text)


def _fork_wanted(turn: Turn) -> None:
    """Have as many workers as there were to be: one may have been missing since a reload before, or have ended."""
    _fork_missing(turn, max(0, turn.state.reload.wanted - turn.state.wanted))


def _fork_missing(turn: Turn, missing: int) -> None:
    """Start so many workers, those for which there is no row yet when there is one.

    A worker that was being restarted when the reload began has lost its row to a new one, which may not be gone yet.
    """
    rows = free_rows(turn.state)[:missing]
    turn.change_reload(missing=missing - len(rows))
    for row in rows:
        turn.fork(row)


def _end(turn: Turn, text: str) -> None:
    turn.log("error", f"not reloaded: {text}", turn.state.reload.asked)
    turn.commands.append(ReloadFailed(text, turn.state.reload.asked))
    _settle(turn, 0, text)


def _settle(turn: Turn, generation: int, text: str) -> None:
    reload = turn.state.reload
    outcomes = (*reload.outcomes, Outcome(reload.attempt, generation, text))[-MOST_OUTCOMES:]
    turn.change_reload(phase=ReloadPhase.NONE, due_ns=NEVER_NS, again=False, outcomes=outcomes)
    renew_desk(turn)
    if reload.again:
        hung_up(turn)


def _end_generation(turn: Turn, generation: int, rows: list[int]) -> None:
    fields: Mapping[str, object] = {"generation": generation, "rows": rows}
    turn.log("warning", "too many generations keep calls: those of the oldest are ended", fields)
    for row in rows:
        if not turn.state.child(row).hurried:
            turn.hurry(row)


def _rows_of(state: State, generation: int) -> list[int]:
    workers = enumerate(state.workers)
    return [row for row, child in workers if child.phase in ALIVE and child.generation == generation]
