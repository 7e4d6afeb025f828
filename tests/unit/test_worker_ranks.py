"""worker/ranks.py: who is served before whom, of those who have not spoken."""

import pytest

from audiohook.worker.ranks import FRESH, LEAVING, SILENT, SLOW, rank_after
from tests.support.calls import BINARY, CLOSE, PING, PONG, TEXT, frame


@pytest.mark.parametrize("opcode", [TEXT, PING, PONG, CLOSE])
def test_who_has_a_stream_and_sends_no_audio_comes_first(opcode: int) -> None:
    assert rank_after(frame(b"12", opcode), streaming=True) == SILENT < LEAVING < FRESH < SLOW


@pytest.mark.parametrize("fin", [True, False])
def test_who_talks_is_no_newcomer(fin: bool) -> None:
    assert rank_after(frame(b"12", BINARY, fin), streaming=True) == 0


@pytest.mark.parametrize("data", [b"G", b"", frame(b"12")])
def test_who_has_no_stream_comes_last(data: bytes) -> None:
    assert rank_after(data, streaming=False) == SLOW


def test_the_end_of_what_a_silent_one_sends_changes_nothing() -> None:
    assert rank_after(b"", streaming=True) == SILENT
