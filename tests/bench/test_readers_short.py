"""tests/bench/readers.py in short: counts only. That a window is constant is counted in loads, not in time."""

import msgspec
import pytest

from audiohook.memory import layout
from tests.bench import readers, readers_live, readers_windows
from tests.support.memory import KnownWriter, bench

LOADS = 60
"""More words than any window takes: two spans, and one bisect of 3,072 descriptors, which has 12 steps."""

BISECT_STEPS = 12


def test_a_window_costs_the_same_whatever_its_length() -> None:
    rows = readers_windows.measure(calls=10)
    assert [row.frames for row in rows] == [round(row.seconds * 16_000) for row in rows]
    assert all(row.us > 0 for row in rows)
    # The shortest lies in the newest span. All others differ by how many steps the bisect has.
    loads = [row.loads for row in rows[1:]]
    assert max(loads) - min(loads) <= BISECT_STEPS
    assert max(loads) < LOADS
    assert len(list(readers.lines_of_windows(rows))) == 1 + len(rows)


def test_each_gap_in_a_window_costs_one_bisect_more() -> None:
    """Of 3,000 spans, half of which come behind the only gap of the window."""
    sizes = layout.geometry(slots=1, rows=1, ring_seconds=30, event_records=8)
    with bench(sizes) as house:
        known = KnownWriter(house.arena, house.pool)
        for number in range(1500):
            if number == 700:
                known.gap(320, layout.LOSS)
            known.audio(320)
        stream = house.stream(known.slot)
        assert [(gap.first_frame, gap.frames) for gap in stream.latest(30).gaps] == [(700 * 320, 320)]
        assert stream.latest(10).gaps == ()
        known.gap(100, layout.PAUSE)
        newest = stream.timeline.newest()
        assert newest is not None
        assert stream.timeline.gap_spans(newest.media_end, newest.media_end, newest) == [], "no part of a gap"
        assert [gap.frames for gap in stream.gaps()] == [320, 100]
        assert readers_windows.loads_of(stream, 30) < readers_windows.loads_of(stream, 10) + 2 * LOADS


@pytest.mark.parametrize("kind", ["slot", "bell"])
def test_waking(kind: str) -> None:
    row = readers_live.waking(kind, 0.5, calls=2)
    assert row.wakes > 0
    assert row.lost_frames == 0
    assert 0 < row.p50_us <= row.p99_us
    assert kind in list(readers.lines_of_waking([row]))[1]


def test_one_process_reads_all_streams() -> None:
    row = readers_live.many(6, 1.0)
    assert row.blocks > 0
    assert (row.broken, row.lost_frames) == (0, 0)
    # Of what came to be in the time: a block more or less of each stream at either end.
    assert abs(row.blocks - row.wanted) <= 2 * row.streams + 0.2 * row.wanted
    assert "of a core" in "".join(readers.lines_of_many([row]))


def test_readers_that_wait_and_none_in_turn() -> None:
    rows = readers_live.ingest(4, (0, 3), rounds=2, seconds=0.3)
    assert [row.readers for row in rows] == [0, 3]
    assert rows[0].ratio == 1
    assert all(row.cpu_us > 0 for row in rows)
    assert rows[0].blocks_a_second == 0 < rows[1].blocks_a_second
    assert rows[1].lost_frames == 0
    assert len(list(readers.lines_of_ingest(rows))) == 3
    assert msgspec.json.encode(readers.Figures(ingest=rows))
