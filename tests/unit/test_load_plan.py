"""The plan of a run: shares, spread, names, and that no two calls carry the same audio."""

from itertools import islice, pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.load.errors import LoadError
from audiohook.load.plan import DIALECTS, MAX_CALLS, MAX_SECONDS, WATCHED_CALLS, Plan, make_plan, played, playlist
from audiohook.units import NS_PER_MS, NS_PER_S

PACKET_NS = 20 * NS_PER_MS
MESSAGE_NS = 100 * NS_PER_MS
COUNTS = st.integers(1, 300)
CLIPS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
SEEDS = st.integers(0, 2**64 - 1)


def plan_of(
    calls: int,
    *,
    seconds: float = 1.0,
    processes: int = 2,
    ramp_ns: int = NS_PER_S,
    token: bytes = b"t",
    dialect: str = "context",
) -> Plan:
    return make_plan(
        calls=calls,
        seconds=seconds,
        processes=processes,
        dialects=DIALECTS[dialect],
        packet_ns={"context": PACKET_NS, "audiohook2": MESSAGE_NS},
        ramp_ns=ramp_ns,
        token=token,
        seed=0,
    )


@given(COUNTS, st.integers(1, 130))
def test_every_call_belongs_to_one_process_and_shares_are_even(calls: int, processes: int) -> None:
    plan = plan_of(calls, processes=processes)
    shares = [plan.of_process(process) for process in range(plan.processes)]
    assert sorted(call.index for share in shares for call in share) == list(range(calls))
    assert all(call.process == process for process, share in enumerate(shares) for call in share)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert min(map(len, shares)) >= 1


@given(COUNTS, st.integers(0, 10 * NS_PER_S))
def test_connects_are_spread_over_the_ramp(calls: int, ramp_ns: int) -> None:
    times = [call.connect_ns for call in plan_of(calls, ramp_ns=ramp_ns).calls]
    assert times[0] == 0
    assert all(0 <= time <= ramp_ns for time in times)
    assert_even(times, ramp_ns // calls)


@given(COUNTS, st.integers(1, 8))
def test_phases_are_spread_over_the_packet_interval(calls: int, processes: int) -> None:
    plan = plan_of(calls, processes=processes)
    assert all(0 <= call.phase_ns < PACKET_NS for call in plan.calls)
    assert_even([call.phase_ns for call in plan.calls], PACKET_NS // calls)
    for process in range(plan.processes):
        mine = [call.phase_ns for call in plan.of_process(process)]
        assert_even(mine, plan.processes * PACKET_NS // calls)


def assert_even(times: list[int], step: int) -> None:
    assert all(abs(later - earlier - step) <= 1 for earlier, later in pairwise(times))


@given(st.integers(0, 10**15), st.integers(0, 299))
def test_the_first_packet_is_due_at_the_next_instant_of_the_phase(open_ns: int, index: int) -> None:
    call = plan_of(300).calls[index]
    due_ns = call.first_due_ns(open_ns)
    assert open_ns <= due_ns < open_ns + PACKET_NS
    assert due_ns % PACKET_NS == call.phase_ns


@given(COUNTS, st.binary(min_size=1, max_size=20))
def test_pairs_share_a_call_id_in_both_directions(calls: int, token: bytes) -> None:
    plan = plan_of(calls, token=token)
    for inbound, outbound in zip(plan.calls[::2], plan.calls[1::2], strict=False):
        assert (inbound.direction, outbound.direction) == ("inbound", "outbound")
        assert inbound.call_id == outbound.call_id
    assert len({call.call_id for call in plan.calls}) == (calls + 1) // 2
    assert len({call.participant_id for call in plan.calls}) == calls
    assert {call.session_id for call in plan.calls} == {plan.run}
    assert all(str(UUID(call.call_id)) == call.call_id for call in plan.calls)


@given(COUNTS, st.binary(min_size=1, max_size=20))
def test_calls_of_audiohook2_have_names_of_their_own_all_uuids(calls: int, token: bytes) -> None:
    planned = plan_of(calls, token=token, dialect="audiohook2").calls
    names = [name for call in planned for name in (call.call_id, call.session_id, call.participant_id)]
    assert len(set(names)) == 3 * calls
    assert all(str(UUID(name)) == name for name in names)
    assert {call.direction for call in planned} == {"unknown"}


@given(COUNTS)
def test_mixed_calls_take_turns_and_each_dialect_has_its_packets(calls: int) -> None:
    plan = plan_of(calls, dialect="mixed", seconds=2.0)
    assert [call.dialect for call in plan.calls] == [("context", "audiohook2")[index % 2] for index in range(calls)]
    assert {(call.dialect, call.packets, call.packet_ns) for call in plan.calls} <= {
        ("context", 100, PACKET_NS),
        ("audiohook2", 20, MESSAGE_NS),
    }
    context = plan.calls[::2]
    for inbound, outbound in zip(context[::2], context[1::2], strict=False):
        assert (inbound.direction, outbound.direction) == ("inbound", "outbound")
        assert inbound.call_id == outbound.call_id
    assert len({call.call_id for call in plan.calls}) == (len(context) + 1) // 2 + calls // 2
    assert all(0 <= call.phase_ns < call.packet_ns for call in plan.calls)


def test_another_token_makes_other_names() -> None:
    one, other = plan_of(2, token=b"1"), plan_of(2, token=b"2")
    assert one.run != other.run
    assert one.calls[0].call_id != other.calls[0].call_id


@given(COUNTS)
def test_watched_calls_are_some_of_the_calls(calls: int) -> None:
    plan = plan_of(calls)
    assert len(set(plan.watched)) == min(calls, WATCHED_CALLS)
    assert all(0 <= call < calls for call in plan.watched)


@given(CLIPS, SEEDS)
def test_no_two_calls_begin_at_the_same_packet(clips: list[int], seed: int) -> None:
    lists = [playlist(index, clips, seed) for index in range(sum(clips))]
    assert len({(what.order[0], what.first_packet) for what in lists}) == sum(clips)
    for what in lists:
        assert sorted(what.order) == list(range(len(clips)))
        assert 0 <= what.first_packet < clips[what.order[0]]


def test_calls_beyond_the_packets_go_on_in_another_order() -> None:
    clips = [3] * 9
    first, again = playlist(0, clips, 7), playlist(27, clips, 7)
    assert (first.order[0], first.first_packet) == (again.order[0], again.first_packet)
    assert first.order != again.order


def test_the_seed_decides_what_is_played() -> None:
    clips = [40, 7, 19, 80, 33]
    assert playlist(5, clips, 1) == playlist(5, clips, 1)
    assert [playlist(call, clips, 1) for call in range(20)] != [playlist(call, clips, 2) for call in range(20)]


@given(CLIPS, SEEDS, st.integers(0, 500))
def test_what_is_played_goes_on_for_ever_and_repeats_whole(sizes: list[int], seed: int, index: int) -> None:
    clips = [[b"%d.%d" % (clip, packet) for packet in range(size)] for clip, size in enumerate(sizes)]
    what = playlist(index, sizes, seed)
    first_round = sum(sizes) - what.first_packet
    items = list(islice(played(clips, what), first_round + 2 * sum(sizes)))
    assert items[0] == clips[what.order[0]][what.first_packet]
    whole = [packet for clip in what.order for packet in clips[clip]]
    assert items[:first_round] == whole[what.first_packet :]
    assert items[first_round:] == whole + whole


@pytest.mark.parametrize(("seconds", "packets"), [(1, 50), (0.02, 1), (0.001, 1), (MAX_SECONDS, 4_320_000), (0.059, 2)])
def test_seconds_are_whole_packets_and_at_least_one(seconds: float, packets: int) -> None:
    assert plan_of(1, seconds=seconds).calls[0].packets == packets


@pytest.mark.parametrize("calls", [0, -1, MAX_CALLS + 1])
def test_calls_out_of_bounds_are_refused(calls: int) -> None:
    with pytest.raises(LoadError, match="calls = "):
        plan_of(calls)


@pytest.mark.parametrize("seconds", [0, -1, MAX_SECONDS + 1, float("nan"), float("inf")])
def test_seconds_out_of_bounds_are_refused(seconds: float) -> None:
    with pytest.raises(LoadError, match="seconds = "):
        plan_of(1, seconds=seconds)
