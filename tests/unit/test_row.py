"""memory/row.py: counters, histograms and the doorbell, as whoever maps the arena read-only finds them."""

from collections.abc import Iterator

import pytest

from audiohook.memory import layout
from audiohook.memory.row import BELL_NS, Row
from audiohook.units import NS_PER_S
from tests.support.memory import SMALL, Bench, bench

START_NS = 1_000 * NS_PER_S


@pytest.fixture
def memory() -> Iterator[Bench]:
    with bench() as made:
        yield made


def seen(memory: Bench, row: int, name: str) -> int:
    return memory.reader.words[layout.row_word(SMALL, row, name)]


def counter(memory: Bench, row: int, name: str) -> int:
    return memory.reader.words[layout.counter_word(SMALL, row, name)]


def bucket(memory: Bench, row: int, name: str, number: int) -> int:
    return memory.reader.words[layout.histogram_word(SMALL, row, name) + number]


def page(memory: Bench, row: int) -> bytes:
    start = SMALL.rows_offset + row * layout.ROW_BYTES
    return memory.reader.map[start : start + layout.ROW_BYTES]


def test_words_are_seen_and_have_places_of_their_own(memory: Bench) -> None:
    row = Row(memory.arena, 1)
    for value, name in enumerate(layout.ROW, 100):
        row.set(name, value)
    assert [seen(memory, 1, name) for name in layout.ROW] == list(range(100, 100 + len(layout.ROW)))
    assert [row.get(name) for name in layout.ROW] == list(range(100, 100 + len(layout.ROW)))


def test_nothing_of_a_row_lies_in_another(memory: Bench) -> None:
    neighbours = [page(memory, row) for row in (0, 2)]
    row = Row(memory.arena, 1)
    for name in layout.ROW:
        row.set(name, (1 << 64) - 1)
    for name in layout.COUNTERS:
        row.count(name)
    for name in layout.HISTOGRAMS:
        for bits in range(layout.HISTOGRAM_BUCKETS):
            row.observe(name, (1 << bits) - 1)
    row.owed = True
    row.pay_bell(START_NS)
    assert [page(memory, row) for row in (0, 2)] == neighbours
    assert all(seen(memory, 1, name) == (1 << 64) - 1 for name in layout.ROW)
    assert [counter(memory, 1, name) for name in layout.COUNTERS if name != "bells"] == [1] * (len(layout.COUNTERS) - 1)
    for name in layout.HISTOGRAMS:
        assert [bucket(memory, 1, name, bits) for bits in range(layout.HISTOGRAM_BUCKETS)] == [1] * 64
    assert seen(memory, 1, "bell") == 1


def test_counting(memory: Bench) -> None:
    row = Row(memory.arena, 0)
    row.count("packets")
    row.count("packets", 41)
    assert counter(memory, 0, "packets") == 42


@pytest.mark.parametrize(("value", "number"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11)])
def test_a_bucket_is_a_bit_length(memory: Bench, value: int, number: int) -> None:
    Row(memory.arena, 0).observe("packet_bytes", value)
    found = [bucket(memory, 0, "packet_bytes", bits) for bits in range(layout.HISTOGRAM_BUCKETS)]
    assert found == [int(bits == number) for bits in range(layout.HISTOGRAM_BUCKETS)]


def test_a_successor_goes_on_counting(memory: Bench) -> None:
    first = Row(memory.arena, 0)
    first.take(pid=11, generation=1, state=layout.ROW_BOOTING)
    first.set("live", 7)
    first.count("packets", 5)
    first.observe("turn_ns", 8)
    second = Row(memory.arena, 0)
    second.take(pid=12, generation=2, state=layout.ROW_ACCEPTING)
    assert [seen(memory, 0, name) for name in ("pid", "generation", "state", "live")] == [
        12,
        2,
        layout.ROW_ACCEPTING,
        0,
    ]
    assert seen(memory, 0, "heartbeat_ns") >= seen(memory, 0, "started_ns") > 0
    assert (counter(memory, 0, "packets"), bucket(memory, 0, "turn_ns", 4)) == (5, 1)


def test_the_bell_is_rung_only_if_owed(memory: Bench) -> None:
    row = Row(memory.arena, 0)
    assert row.pay_bell(START_NS) is None
    assert (seen(memory, 0, "bell"), counter(memory, 0, "bells")) == (0, 0)
    row.owed = True
    row.owed = True
    assert row.pay_bell(START_NS) is None
    assert row.pay_bell(START_NS + BELL_NS) is None
    assert (seen(memory, 0, "bell"), counter(memory, 0, "bells")) == (1, 1)


def test_a_bell_that_is_not_due_yet_is_paid_later_and_never_lost(memory: Bench) -> None:
    row = Row(memory.arena, 0)
    row.owed = True
    row.pay_bell(START_NS)
    row.owed = True
    assert row.pay_bell(START_NS + 1) == START_NS + BELL_NS
    assert row.pay_bell(START_NS + BELL_NS - 1) == START_NS + BELL_NS
    assert seen(memory, 0, "bell") == 1
    assert row.pay_bell(START_NS + BELL_NS) is None
    assert seen(memory, 0, "bell") == 2
    assert row.pay_bell(START_NS + 2 * BELL_NS) is None
    assert seen(memory, 0, "bell") == 2


def test_at_most_a_thousand_bells_a_second(memory: Bench) -> None:
    row = Row(memory.arena, 0)
    for step in range(10_000):
        row.owed = True
        row.pay_bell(START_NS + step * NS_PER_S // 10_000)
    assert seen(memory, 0, "bell") == counter(memory, 0, "bells") == 1000
