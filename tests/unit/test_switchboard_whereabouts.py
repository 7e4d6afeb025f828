"""Where the supervisor finds a slot's stream, by its card."""

from collections.abc import Iterator

import pytest

from audiohook.memory import layout
from audiohook.memory.cards import read_card, update_card
from audiohook.supervisor.chores import Chores
from audiohook.supervisor.switchboard import Whereabouts
from tests.support.memory import Bench, bench

ROW = 1


@pytest.fixture
def memory() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.mark.parametrize("state", range(len(layout.STREAM_STATES)), ids=layout.STREAM_STATES)
def test_a_stream_is_with_its_worker_or_with_nobody_or_nowhere(memory: Bench, state: int) -> None:
    chores = Chores(memory.arena, memory.new_pool(), 0, 0)
    slot = memory.pool.acquire(ROW, 1, rate_hz=16_000, channels=1)
    assert slot is not None
    update_card(memory.arena, slot, state=state)
    epoch = read_card(memory.arena, slot)["epoch"]
    expected = {layout.PARKED: Whereabouts(epoch, None)}
    expected |= {owned: Whereabouts(epoch, ROW) for owned in layout.OWNED_STATES}
    assert chores.whereabouts(slot) == expected.get(state)


def test_a_slot_that_does_not_exist_is_nowhere(memory: Bench) -> None:
    chores = Chores(memory.arena, memory.new_pool(), 0, 0)
    for slot in (memory.geometry.slots, (1 << 32) - 1):
        assert chores.whereabouts(slot) is None


def test_what_the_supervisor_refuses_is_counted_in_its_row(memory: Bench) -> None:
    chores = Chores(memory.arena, memory.new_pool(), 0, 0)
    chores.commands_refused(3)
    at = layout.counter_word(memory.geometry, memory.geometry.supervisor_row, "commands_refused")
    assert memory.arena.words[at] == 3
