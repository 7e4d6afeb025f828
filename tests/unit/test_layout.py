"""The layout: every offset aligned and apart, LAYOUT.md says what layout.py does, every slug has its counter."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import audiohook.memory.layout as layout
from audiohook.errors import CLOSURES, PEER_CLOSED, PEER_VANISHED, REFUSALS, WORKER_DIED
from audiohook.memory.layout import Geometry, geometry
from audiohook.memory.layout_tables import describe

CONTRACT = Path(layout.__file__).with_name("LAYOUT.md")
BEGIN, END = "<!-- tables of layout.py: begin -->", "<!-- tables of layout.py: end -->"

geometries = st.builds(
    geometry,
    slots=st.integers(1, 3000),
    rows=st.integers(1, layout.MAX_ROWS),
    ring_seconds=st.floats(1, 120, allow_nan=False),
    event_records=st.integers(1, 5000),
)


@given(geometries, st.data())
def test_sections_are_aligned_and_apart(sizes: Geometry, data: st.DataObject) -> None:
    slot = data.draw(st.integers(0, sizes.slots - 1))
    row = data.draw(st.integers(0, sizes.rows))
    rows_end = sizes.rows_offset + (sizes.rows + 1) * layout.ROW_BYTES
    sections = [
        (0, len(layout.HEADER) * layout.WORD_BYTES),
        (sizes.rows_offset, rows_end),
        (sizes.cards_offset, sizes.cards_offset + sizes.slots * layout.CARD_STRIDE),
        (sizes.cursors_offset, sizes.cursors_offset + sizes.slots * layout.CURSOR_BYTES),
        (sizes.descriptors_offset, sizes.descriptors_offset + sizes.slots * sizes.descriptor_block_bytes),
        (sizes.events_offset, sizes.events_offset + (sizes.rows + 1) * sizes.event_ring_bytes),
        (sizes.rings_offset, sizes.rings_offset + sizes.slots * sizes.ring_bytes),
    ]
    assert all(start % layout.PAGE_BYTES == 0 for start, _ in sections)
    assert all(before[1] <= after[0] for before, after in pairwise(sections))
    assert sections[-1][1] == sizes.arena_bytes
    assert sizes.ring_offset(slot) % layout.PAGE_BYTES == 0
    assert sizes.ring_bytes % layout.PAGE_BYTES == 0
    assert layout.event_offset(sizes, row) % layout.PAGE_BYTES == 0
    for word in (
        layout.card_word(sizes, slot),
        *(layout.cursor_word(sizes, slot, name) for name in layout.CURSORS),
        *(layout.totals_word(sizes, slot, copy) for copy in (0, 1)),
        *(layout.row_word(sizes, row, name) for name in ("pid", "bell")),
    ):
        assert word * layout.WORD_BYTES % layout.LINE_BYTES == 0


@given(geometries, st.data())
def test_no_two_words_of_a_slot_share_a_place(sizes: Geometry, data: st.DataObject) -> None:
    slot = data.draw(st.integers(0, sizes.slots - 1))
    block = range(
        sizes.cursors_offset + slot * layout.CURSOR_BYTES, sizes.cursors_offset + (slot + 1) * layout.CURSOR_BYTES
    )
    words = [
        *(layout.cursor_word(sizes, slot, name) for name in layout.CURSORS),
        *(layout.totals_word(sizes, slot, copy) + at for copy in (0, 1) for at in range(len(layout.CAUSES))),
    ]
    assert len(set(words)) == len(words)
    assert all(word * layout.WORD_BYTES in block for word in words)
    lines = [word * layout.WORD_BYTES // layout.LINE_BYTES for word in words[: len(layout.CURSORS)]]
    assert len(set(lines)) == len(lines), "two cursors on one cache line"
    columns = [layout.column_word(sizes, slot, name) for name in layout.COLUMNS]
    assert all(after - before == sizes.descriptors for before, after in pairwise(columns))
    end = sizes.descriptors_offset + (slot + 1) * sizes.descriptor_block_bytes
    assert (columns[-1] + sizes.descriptors) * layout.WORD_BYTES == end


@given(geometries, st.data())
def test_no_two_words_of_a_row_share_a_place(sizes: Geometry, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, sizes.rows))
    start = (sizes.rows_offset + row * layout.ROW_BYTES) // layout.WORD_BYTES
    words = [
        *(layout.row_word(sizes, row, name) for name in (*layout.ROW, "bell")),
        *(layout.counter_word(sizes, row, name) for name in layout.COUNTERS),
        *(
            layout.histogram_word(sizes, row, name) + bucket
            for name in layout.HISTOGRAMS
            for bucket in range(layout.HISTOGRAM_BUCKETS)
        ),
    ]
    assert len(set(words)) == len(words)
    assert all(start <= word < start + layout.ROW_BYTES // layout.WORD_BYTES for word in words)
    assert len(layout.COUNTERS) <= layout.COUNTER_SLOTS


@given(geometries)
def test_a_ring_holds_what_was_asked_for_and_the_longest_packet(sizes: Geometry) -> None:
    assert sizes.descriptors * layout.DESCRIPTOR_RING_BYTES >= sizes.ring_bytes
    assert sizes.ring_bytes % layout.RING_STEP_BYTES == 0


def test_thirty_seconds_are_what_the_documents_say() -> None:
    sizes = geometry(256, 8, 30, 1024)
    assert sizes.ring_bytes == 983_040
    assert sizes.descriptors == 3072


@given(st.floats(0.5, 300))
def test_ring_seconds_are_kept_beside_a_claim(seconds: float) -> None:
    longest_packet = 120 * layout.RING_RATE_HZ * 2 // 1000
    assert geometry(1, 1, seconds, 1).ring_bytes - longest_packet >= round(seconds * layout.RING_RATE_HZ) * 2


def test_card_fields_are_aligned_apart_and_inside_a_copy() -> None:
    fields = sorted((offset, kind.itemsize, kind) for kind, offset, *_ in (layout.CARD.fields or {}).values())
    assert all(before[0] + before[1] <= after[0] for before, after in pairwise(fields))
    assert fields[-1][0] + fields[-1][1] <= layout.CARD_BYTES
    assert all(offset % size == 0 for offset, size, kind in fields if kind.kind == "u")
    assert layout.CARD_STRIDE % layout.LINE_BYTES == 0


@pytest.mark.parametrize(
    "slug",
    [*(cause.slug for cause in (*REFUSALS, *CLOSURES)), PEER_CLOSED, PEER_VANISHED, WORKER_DIED],
)
def test_every_slug_has_a_counter(slug: str) -> None:
    assert slug in layout.COUNTERS


def test_no_name_twice() -> None:
    for names in (layout.COUNTERS, layout.HEADER, layout.ROW, layout.CURSORS, layout.COLUMNS, layout.CAUSES):
        assert len(set(names)) == len(names)


def test_one_wait_covers_all_bells() -> None:
    """futex_waitv takes 128 words: every row's bell and the supervisor's."""
    assert layout.MAX_ROWS + 1 <= 128


def test_the_contract_has_the_tables() -> None:
    text = CONTRACT.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    tables = text.split(BEGIN)[1].split(END)[0]
    assert tables.strip() == describe().strip(), (
        "LAYOUT.md is behind layout.py: put layout_tables.describe() between the markers"
    )


def test_the_contract_names_every_size() -> None:
    """Numbers of the prose that a C program would copy."""
    text = CONTRACT.read_text()
    for number in (
        layout.MAGIC,
        layout.CARD_STRIDE,
        layout.CARD_BYTES,
        layout.CURSOR_BYTES,
        layout.ROW_BYTES,
        layout.TOTALS_OFFSET,
        layout.EVENT_BYTES,
        layout.EVENT_TEXT_BYTES,
        layout.GAP_STORED_MS,
        layout.DESCRIPTOR_MS,
    ):
        assert f"{number}" in text or f"{number:#x}" in text or f"{number:,}" in text, number
    for state in layout.STREAM_STATES:
        assert state in text
