"""What calls are held to, as the configuration says it: worker/process.py, `terms_of`."""

from pathlib import Path

import pytest

from audiohook.config import load
from audiohook.worker.process import MOST_CUT_BYTES, terms_of


def context_limit(tmp_path: Path, *settings: str, target: str = "/") -> int:
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    return terms_of(load(str(empty), settings)).context_for(target).max_message_bytes


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), 1 << 20),
        (('context.framing="fixed:160"',), MOST_CUT_BYTES),
        (('context.framing="self_delimited"',), MOST_CUT_BYTES),
        (('context.framing="fixed:160"', "context.max_message_bytes=4000"), 4000),
        (("context.max_message_bytes=16000000",), 16_000_000),
    ],
)
def test_a_message_that_is_cut_into_packets_has_a_limit_of_its_own(
    tmp_path: Path, settings: tuple[str, ...], expected: int
) -> None:
    assert context_limit(tmp_path, *settings) == expected


def test_a_path_that_cuts_is_limited_and_the_others_are_not(tmp_path: Path) -> None:
    settings = ('context.paths={"/trunk"={framing="fixed:160"}}',)
    assert context_limit(tmp_path, *settings, target="/trunk?x=1") == MOST_CUT_BYTES
    assert context_limit(tmp_path, *settings, target="/other") == 1 << 20
