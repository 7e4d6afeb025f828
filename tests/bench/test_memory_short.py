"""tests/bench/memory.py and idle.py in short: counts only, of calls, descriptors and mappings."""

import pytest

from tests.bench import idle, memory
from tests.bench.memory_parts import parts

DECODER_BYTES = 16_000
"""libopus' state of one channel, at the least."""


@pytest.mark.parametrize("dialect", memory.DIALECTS)
def test_a_call_has_one_descriptor_and_two_mappings(dialect: str) -> None:
    found = memory.measure(dialect, (0, 3, 6))
    none, half, all_of_them = found.steps
    assert [step.calls for step in found.steps] == [0, 3, 6]
    assert (half.descriptors - none.descriptors, all_of_them.descriptors - half.descriptors) == (3, 3)
    # Python's own memory may come in mappings too, but there are few of them.
    assert 0 <= all_of_them.mappings - none.mappings - 2 * 6 <= 6
    assert all(step.taken.anonymous > 0 < step.taken.tables for step in found.steps)
    assert len(list(memory.lines_of(found))) == 5


def test_what_a_call_keeps() -> None:
    found = parts(4)
    assert found[0].bytes_a_call >= found[-1].bytes_a_call > 0
    kept = {part.where: part.bytes_a_call for part in found}
    assert {"audiohook/call.py", "audiohook/worker/connection.py"} <= kept.keys()
    assert kept["audiohook/codec/opus.py"] > DECODER_BYTES
    assert sum(part.bytes_a_call for part in found) / 1024 < memory.TARGET_KIB
    assert len(list(memory.lines_of_parts("context", found))) <= 21


@pytest.mark.parametrize("kind", ["before the upgrade", "streams"])
def test_connections_that_say_nothing(kind: str) -> None:
    found = idle.measure(kind, 30, idle_s=0.1)
    assert (found.kind, found.connections) == (kind, 30)
    assert bool(found.slot_bytes) == (kind == "streams")
    assert 0 < found.answer_ms <= found.answer_worst_ms
    assert len(list(idle.lines_of(found))) == 5


def test_what_stands_in_the_way_is_said() -> None:
    assert "RLIMIT_NOFILE" in idle.room(1 << 30, streams=False)
    assert idle.room(10, streams=True) == ""
