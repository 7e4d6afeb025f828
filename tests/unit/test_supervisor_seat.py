"""The words of a child's report: any cut of the bytes gives the same words."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from audiohook.net.seat import MAX_UNREAD_BYTES, ChangesOnly, ReportReader, Word

SAID = b'R\nEno libopus \xc3\xa9 here\nwhatever\n\nE\nEcut \xff\nC{"log.level": 1}\nR\nEunfin'
WORDS = [None, "no libopus é here", "", "cut \N{REPLACEMENT CHARACTER}", ChangesOnly('{"log.level": 1}'), None]


def read(pieces: list[bytes]) -> list[Word]:
    reader = ReportReader()
    return [word for piece in pieces for word in reader.receive_data(piece)]


def test_words_whole_and_byte_by_byte() -> None:
    assert read([SAID]) == WORDS
    assert read([bytes([byte]) for byte in SAID]) == WORDS


@given(st.lists(st.integers(0, len(SAID)), max_size=8))
def test_words_in_random_cuts(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SAID)]
    assert read([SAID[start:end] for start, end in pairwise(edges)]) == WORDS


def test_signs_of_life_are_counted_and_are_no_words() -> None:
    reader = ReportReader()
    assert [word for piece in (b"B\nR\n", b"B", b"\nBB\nB\n") for word in reader.receive_data(piece)] == [None]
    assert reader.beats == 3


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    reader = ReportReader()
    for _ in range(100):
        assert reader.receive_data(b"x" * 10_000) == []
    assert len(reader.unread) == MAX_UNREAD_BYTES
    assert reader.receive_data(b"\nR\n") == [None]
