"""How a shared word may be stored: never by `struct.pack_into`, which shows other processes values nobody stored."""

import ast
import mmap
import os
from collections import Counter
from pathlib import Path

import pytest

import audiohook
from tests.stress.children import CONTROL_SECONDS, SECONDS, running, until
from tests.stress.packing_writer import FIRST, SECOND

PACKAGE = Path(audiohook.__file__).parent


def look(manner: str, seconds: float, *, stop_at_false: bool) -> tuple[Counter[int], int]:
    """Return how often each value was seen in the word, and how often one that was never stored."""
    fd = os.memfd_create("test:word", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, mmap.PAGESIZE)
        words = memoryview(mmap.mmap(fd, mmap.PAGESIZE)).cast("Q")
        seen: Counter[int] = Counter()
        false = 0
        with running("packing_writer.py", fd, manner, fds=[fd]):
            assert any(words[8] for _ in until(30)), "the writer never began"
            for _ in until(seconds):
                batch = Counter([words[0] for _ in range(2000)])
                false += sum(count for value, count in batch.items() if value not in (FIRST, SECOND))
                seen += batch
                if stop_at_false and false:
                    break
        return seen, false
    finally:
        os.close(fd)


def test_a_memoryview_of_words_stores_whole_values() -> None:
    seen, false = look("cast", SECONDS / 2, stop_at_false=False)
    assert false == 0, seen
    assert min(seen[FIRST], seen[SECOND]) > 1000, "nothing changed while it was looked at"


def test_the_trap_pack_into_shows_values_that_were_never_stored() -> None:
    """CPython clears the bytes first and then sets them one by one; 15 to 22 % of reads saw it."""
    seen, false = look("pack_into", CONTROL_SECONDS, stop_at_false=True)
    assert false > 0, seen


def uses_of_pack_into(source: str) -> list[int]:
    """Return the lines of a Python source on which `pack_into` is named."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Attribute) and node.attr == "pack_into")
        or (isinstance(node, ast.Name) and node.id == "pack_into")
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "pack_into" for alias in node.names))
    ]


@pytest.mark.parametrize(
    "source", ["struct.pack_into('<Q', m, 0, 1)", "from struct import pack_into", "p = s.pack_into"]
)
def test_the_check_below_finds_it(source: str) -> None:
    assert uses_of_pack_into(source) == [1]


def test_no_source_uses_pack_into() -> None:
    sources = list(PACKAGE.rglob("*.py"))
    assert len(sources) > 20
    assert {path: lines for path in sources if (lines := uses_of_pack_into(path.read_text()))} == {}
