"""From costs to calls and hosts: the figures of one example by hand, and what must hold for any costs and any host."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.cli.capacity_sums import (
    AFTER_A_LOSS,
    CPU,
    DESCRIPTORS,
    HEADROOM,
    MEMORY,
    NETWORK,
    SLOTS,
    WORKER_BYTES,
    Cost,
    Host,
    call_bits,
    calls_a_core,
    core_ns,
    first_limit,
    fleet,
    limits,
    wire_bytes,
)

OPUS = Cost("opus", 50, 47, message_ns=20_000, admission_ns=1_800_000, call_bytes=40_000)
HOST = Host(4.0, 4, 8_000_000_000, 1_160_000, 16_384, 20_000, 10**9)

costs = st.builds(
    Cost,
    kind=st.just("any"),
    messages_a_second=st.integers(1, 1000),
    message_bytes=st.integers(1, 64_000),
    message_ns=st.integers(100, 10**8),
    admission_ns=st.integers(0, 10**9),
    call_bytes=st.integers(0, 10**7),
)
hosts = st.builds(
    Host,
    cores=st.floats(0.1, 256),
    workers=st.integers(1, 256),
    memory_bytes=st.integers(0, 1 << 42),
    slot_bytes=st.integers(1 << 12, 1 << 28),
    most_slots=st.integers(1, 16_384),
    most_descriptors=st.none() | st.integers(0, 1 << 20),
    link_bits=st.none() | st.integers(10**6, 10**12),
)
lengths = st.floats(1, 86_400)
more = st.integers(0, 1 << 40)


@pytest.mark.parametrize(
    ("payload_bytes", "on_the_wire"),
    [
        (47, 47 + 6 + 22 + 90),
        (125, 125 + 6 + 22 + 90),
        (126, 126 + 8 + 22 + 90),
        (1418, 1448 + 90),
        (1419, 1449 + 2 * 90),
        (1600, 1630 + 2 * 90),
        (65_536, 65_536 + 14 + 22 + 46 * 90),
    ],
)
def test_a_message_on_the_wire(payload_bytes: int, on_the_wire: int) -> None:
    assert wire_bytes(payload_bytes) == on_the_wire


def test_an_example_by_hand() -> None:
    assert core_ns(OPUS, 180) == 50 * 20_000 + 10_000
    assert calls_a_core(OPUS, 180) == 693
    assert call_bits(OPUS) == 8 * 50 * 165
    assert limits(OPUS, HOST, 180) == {
        CPU: 2772,
        MEMORY: (5_600_000_000 - 4 * WORKER_BYTES) // 1_200_000,
        SLOTS: 16_384,
        DESCRIPTORS: 20_000,
        NETWORK: 10_606,
    }
    assert first_limit(limits(OPUS, HOST, 180)) == (CPU, 2772)
    found = fleet(OPUS, HOST, 180, 10_000)
    assert found is not None
    assert (found.hosts, found.calls_a_host, found.traffic_bits) == (4, 2500, 660_000_000)
    assert found.busy == pytest.approx(10.1 / 16)
    assert found.after == pytest.approx(10.1 / 12)
    assert found.admitted_again_seconds == pytest.approx(2500 * 0.0018 / (12 - 10.1 * 3 / 4))


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"memory_bytes": 10**9}, MEMORY),
        ({"most_slots": 2771}, SLOTS),
        ({"most_descriptors": 100}, DESCRIPTORS),
        ({"link_bits": 10**8}, NETWORK),
        ({"cores": 0.5}, CPU),
        ({"link_bits": None, "most_descriptors": None}, CPU),
    ],
)
def test_what_is_short_comes_first(changed: dict[str, int], first: str) -> None:
    found = limits(OPUS, replace(HOST, **changed), 180)
    assert first_limit(found)[0] == first
    assert first_limit(found)[1] == min(calls for calls in found.values() if calls is not None)


def test_a_host_that_takes_no_call_makes_no_fleet() -> None:
    assert fleet(OPUS, replace(HOST, memory_bytes=10**8), 180, 10_000) is None
    assert limits(OPUS, replace(HOST, memory_bytes=0), 180)[MEMORY] == 0


def calls_of(cost: Cost, host: Host, length: float) -> int:
    return first_limit(limits(cost, host, length))[1]


@given(costs, hosts, lengths, more)
def test_more_of_anything_is_never_fewer_calls(cost: Cost, host: Host, length: float, extra: int) -> None:
    before = calls_of(cost, host, length)
    for name in ("cores", "memory_bytes", "most_slots", "most_descriptors", "link_bits"):
        there = getattr(host, name)
        if there is not None:
            assert calls_of(cost, replace(host, **{name: there + extra}), length) >= before, name
            assert calls_of(cost, replace(host, **{name: None}), length) >= before if name in OPEN else True
    assert calls_of(cost, host, length + extra) >= before


OPEN = ("most_descriptors", "link_bits")
"""Of which there may be no limit."""


@given(costs, hosts, lengths, more)
def test_a_higher_cost_is_never_more_calls(cost: Cost, host: Host, length: float, extra: int) -> None:
    before = calls_of(cost, host, length)
    for name in ("messages_a_second", "message_bytes", "message_ns", "admission_ns", "call_bytes"):
        assert calls_of(replace(cost, **{name: getattr(cost, name) + extra}), host, length) <= before, name
    assert calls_of(cost, replace(host, slot_bytes=host.slot_bytes + extra), length) <= before


@given(costs, hosts, lengths)
def test_what_is_planned_with_is_there(cost: Cost, host: Host, length: float) -> None:
    """Counted again in fractions; a float may be off by one call."""
    found = limits(cost, host, length)
    a_call_ns = Fraction(cost.messages_a_second * cost.message_ns) + Fraction(cost.admission_ns) / Fraction(length)
    cpu = found[CPU]
    assert cpu is not None
    assert (cpu - 1) * a_call_ns <= Fraction(HEADROOM) * Fraction(host.cores) * 10**9 < (cpu + 2) * a_call_ns
    memory = found[MEMORY]
    assert memory is not None
    if memory:
        needed_bytes = memory * (host.slot_bytes + cost.call_bytes) + host.workers * WORKER_BYTES
        assert needed_bytes <= host.memory_bytes * HEADROOM + 1


@given(costs, hosts, lengths, st.integers(1, 10**6))
def test_hosts_are_enough_and_not_one_too_many(cost: Cost, host: Host, length: float, calls: int) -> None:
    found = fleet(cost, host, length, calls)
    a_host = calls_of(cost, host, length)
    without_one = first_limit(limits(cost, host, length, AFTER_A_LOSS))[1]
    if found is None:
        assert a_host == 0
        return

    def enough(hosts: int) -> bool:
        return hosts >= 2 and hosts * a_host >= calls and (hosts - 1) * without_one >= calls

    assert enough(found.hosts)
    assert not enough(found.hosts - 1)
    assert found.hosts * found.calls_a_host >= calls
    assert found.busy < found.after
    assert found.after <= AFTER_A_LOSS + 1e-6
    assert found.admitted_again_seconds >= 0
