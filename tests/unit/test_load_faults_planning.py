"""What is planned to go wrong: the same for the same seed, a share of each dialect, within the bounds of the calls."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.load.errors import LoadError
from audiohook.load.faults.kinds import CLASSES
from audiohook.load.faults.planned import DEFAULT_SHARES, KINDS, RETURNED, FaultWish
from audiohook.load.faults.planning import ENDING, RETURN_FROM_NS, RETURN_WITHIN_NS, with_faults
from audiohook.load.plan import DIALECTS, Plan, make_plan
from audiohook.units import NS_PER_MS, NS_PER_S

COUNTS = st.integers(1, 200)
SHARES = st.floats(0.01, 1)
SEEDS = st.integers(0, 2**32)


def plan_of(calls: int, *, seed: int = 0, ramp_ns: int = NS_PER_S, dialect: str = "mixed", seconds: float = 4) -> Plan:
    return make_plan(
        calls=calls,
        seconds=seconds,
        processes=3,
        dialects=DIALECTS[dialect],
        packet_ns={"context": 20 * NS_PER_MS, "audiohook2": 100 * NS_PER_MS},
        ramp_ns=ramp_ns,
        token=b"t",
        seed=seed,
    )


@pytest.mark.parametrize("kind", KINDS)
@given(calls=COUNTS, share=SHARES, seed=SEEDS)
def test_the_seed_decides_and_the_share_is_kept_in_each_dialect(kind: str, calls: int, share: float, seed: int) -> None:
    plan = plan_of(calls, seed=seed)
    planned = with_faults(plan, FaultWish(kind, share))
    assert planned == with_faults(plan, FaultWish(kind, share))
    for dialect in DIALECTS["mixed"]:
        theirs = [call for call in planned.calls if call.dialect == dialect]
        chosen = [planned.faults[call.index] for call in theirs if call.index in planned.faults]
        assert len(chosen) == (max(1, round(share * len(theirs))) if theirs else 0)
        assert sorted(fault.rank for fault in chosen) == list(range(len(chosen)))
        assert {fault.kind for fault in chosen} <= {kind}
    assert not set(planned.watched) & set(planned.faults)


def test_another_seed_chooses_other_calls() -> None:
    chosen = {tuple(sorted(with_faults(plan_of(40, seed=seed), FaultWish("rst")).faults)) for seed in range(5)}
    assert len(chosen) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_has_a_share_and_a_class(kind: str) -> None:
    planned = with_faults(plan_of(20), FaultWish(kind))
    assert len(planned.faults) - len(planned.returns) == 20 * DEFAULT_SHARES[kind]
    assert kind in CLASSES
    assert RETURNED in CLASSES


@pytest.mark.parametrize("kind", KINDS)
@given(calls=COUNTS, seed=SEEDS)
def test_a_call_that_ends_by_its_fault_sends_some_packets_and_not_all(kind: str, calls: int, seed: int) -> None:
    plan = plan_of(calls, seed=seed)
    planned = with_faults(plan, FaultWish(kind, 1))
    for before, after in zip(plan.calls, planned.calls, strict=True):
        assert (1 <= after.packets < before.packets) if kind in ENDING else after == before


def test_a_call_of_one_packet_still_sends_it() -> None:
    (call,) = with_faults(plan_of(1, seconds=0.02), FaultWish("rst")).calls
    assert call.packets == 1


@pytest.mark.parametrize("kind", ["mass-reconnect", "stall"])
@given(calls=COUNTS)
def test_what_happens_to_all_at_once_happens_when_all_are_open(kind: str, calls: int) -> None:
    planned = with_faults(plan_of(calls), FaultWish(kind))
    (instant_ns,) = {fault.instant_ns for fault in planned.faults.values()}
    assert all(call.connect_ns < instant_ns for call in planned.calls)
    assert all(instant_ns < call.connect_ns + call.packets * call.packet_ns for call in planned.calls)


def test_calls_that_are_never_all_open_are_refused() -> None:
    with pytest.raises(LoadError, match="never all open"):
        with_faults(plan_of(100, ramp_ns=3 * NS_PER_S), FaultWish("stall"))
    with_faults(plan_of(100, ramp_ns=3 * NS_PER_S), FaultWish("rst"))


@given(COUNTS, SHARES)
def test_who_comes_back_does_so_within_a_second_under_the_same_names(calls: int, share: float) -> None:
    planned = with_faults(plan_of(calls), FaultWish("mass-reconnect", share))
    dropped = [index for index, fault in planned.faults.items() if fault.kind == "mass-reconnect"]
    assert [planned.faults[again.index].former for again in planned.returns] == sorted(dropped)
    assert [again.index for again in planned.returns] == list(range(calls, calls + len(dropped)))
    sessions = {call.session_id for call in planned.calls}
    for again in planned.returns:
        fault = planned.faults[again.index]
        former = planned.calls[fault.former]
        assert RETURN_FROM_NS <= again.connect_ns - fault.instant_ns <= RETURN_WITHIN_NS
        assert (again.call_id, again.participant_id, again.direction) == (
            former.call_id,
            former.participant_id,
            former.direction,
        )
        assert again.session_id not in sessions
        assert again.dialect == "context" or str(UUID(again.session_id)) == again.session_id
        assert again in planned.of_process(former.process)
    assert sum(len(planned.of_process(process)) for process in range(planned.processes)) == calls + len(dropped)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (FaultWish("flood"), "fault = flood: wanted one of half-open"),
        (FaultWish("rst", 0), "share of calls with a fault = 0"),
        (FaultWish("rst", 1.1), "at most 1"),
        (FaultWish("rst", float("nan")), "share of calls"),
        (FaultWish("stall", stall_seconds=0), "stall = 0 s: wanted more than 0, at most 600"),
        (FaultWish("stall", stall_seconds=601), "stall = 601 s"),
        (FaultWish("half-open", found_within_seconds=float("nan")), "time to find a peer"),
    ],
)
def test_what_is_out_of_bounds_is_refused(wish: FaultWish, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        with_faults(plan_of(4), wish)
