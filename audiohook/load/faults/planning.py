"""Puts a fault into a plan: which calls have it, at which packet, at which instant. PURE: the seed decides.

Invariants (tests/unit/test_load_faults_planning.py):

- the same seed makes the same plan; of each dialect the same share of calls is chosen, at least one;
- a call that ends by its fault sends at least one packet before and, where it has two, at least one fewer than planned;
- what happens to all at once happens when all are open, in the middle of their calls;
- who comes back does so within RETURN_WITHIN_NS of that instant, in the same process, under the same names but for the
  session's, and plays what no other call plays.
"""

import msgspec

from audiohook.load.errors import LoadError
from audiohook.load.faults.planned import (
    DEFAULT_SHARES,
    GARBAGE,
    HALF_OPEN,
    KINDS,
    MASS_RECONNECT,
    MAX_FOUND_WITHIN_SECONDS,
    MAX_STALL_SECONDS,
    RETURNED,
    RST,
    STALL,
    FaultWish,
    PlannedFault,
)
from audiohook.load.plan import Plan, PlannedCall, mixed, uuid_of
from audiohook.session.context import DIALECT as CONTEXT
from audiohook.units import NS_PER_MS, NS_PER_S, seconds_ns

ENDING = frozenset({HALF_OPEN, RST, GARBAGE})
"""Faults that end a call before its time."""

AT_ONCE = frozenset({MASS_RECONNECT, STALL})
RETURN_FROM_NS = 100 * NS_PER_MS
"""Nobody comes back before he is gone."""

RETURN_WITHIN_NS = NS_PER_S


def with_faults(plan: Plan, wish: FaultWish) -> Plan:
    """Return `plan` with the fault of `wish` in a share of its calls. LoadError: out of bounds."""
    share = _checked_share(wish)
    instant_ns = _instant_ns(plan) if wish.kind in AT_ONCE else 0
    lengths_ns = seconds_ns(wish.stall_seconds), seconds_ns(wish.found_within_seconds)
    faults: dict[int, PlannedFault] = {}
    for dialect in sorted({call.dialect for call in plan.calls}):
        theirs = [call.index for call in plan.calls if call.dialect == dialect]
        theirs.sort(key=lambda index: _draw(plan.seed, index))
        for rank, index in enumerate(theirs[: max(1, round(share * len(theirs)))]):
            draw = mixed(_draw(plan.seed, index))
            faults[index] = PlannedFault(wish.kind, rank, draw, instant_ns, *lengths_ns)
    calls = tuple(_shortened(call, faults[call.index]) if call.index in faults else call for call in plan.calls)
    returns: tuple[PlannedCall, ...] = ()
    if wish.kind == MASS_RECONNECT:
        formers = sorted(faults)
        returns = _returns(plan, formers, instant_ns)
        for again, former in zip(returns, formers, strict=True):
            faults[again.index] = PlannedFault(RETURNED, faults[former].rank, 0, instant_ns, former=former)
    watched = tuple(call for call in plan.watched if call not in faults)
    return msgspec.structs.replace(plan, calls=calls, watched=watched, faults=faults, returns=returns)


def _checked_share(wish: FaultWish) -> float:
    if wish.kind not in KINDS:
        raise LoadError(f"fault = {wish.kind}: wanted one of {', '.join(KINDS)}")
    share = DEFAULT_SHARES[wish.kind] if wish.share is None else wish.share
    if not 0 < share <= 1:
        raise LoadError(f"share of calls with a fault = {share}: wanted more than 0, at most 1")
    for name, seconds, longest in (
        ("stall", wish.stall_seconds, MAX_STALL_SECONDS),
        ("time to find a peer", wish.found_within_seconds, MAX_FOUND_WITHIN_SECONDS),
    ):
        if not 0 < seconds <= longest:
            raise LoadError(f"{name} = {seconds:g} s: wanted more than 0, at most {longest}")
    return share


def _instant_ns(plan: Plan) -> int:
    """Return the instant at which all calls are open: half a call after the last one has connected."""
    last_ns = max(call.connect_ns for call in plan.calls)
    length_ns = min(call.packets * call.packet_ns for call in plan.calls)
    if 2 * last_ns >= length_ns:
        raise LoadError(
            f"calls of {length_ns / NS_PER_S:g} s that connect within {last_ns / NS_PER_S:g} s are never all open in "
            "their middle: wanted more seconds, fewer calls or more connects per second"
        )
    return last_ns + length_ns // 2


def _shortened(call: PlannedCall, fault: PlannedFault) -> PlannedCall:
    if fault.kind not in ENDING:
        return call
    return msgspec.structs.replace(call, packets=1 + fault.draw % max(1, call.packets - 1))


def _returns(plan: Plan, formers: list[int], instant_ns: int) -> tuple[PlannedCall, ...]:
    step_ns = (RETURN_WITHIN_NS - RETURN_FROM_NS) // len(formers)
    returns = []
    for place, index in enumerate(formers):
        call = plan.calls[index]
        again = f"{call.session_id}-again"
        returns.append(
            msgspec.structs.replace(
                call,
                index=len(plan.calls) + place,
                packets=max(1, call.packets // 2),
                connect_ns=instant_ns + RETURN_FROM_NS + place * step_ns,
                session_id=again if call.dialect == CONTEXT else uuid_of(call.session_id.encode(), again),
            )
        )
    return tuple(returns)


def _draw(seed: int, index: int) -> int:
    return mixed(mixed(seed) ^ mixed(index + 1))
