"""Cards under `kill -9`: writers die in the middle of one, thousands of times; no reader sees half a card or hangs."""

import json
from collections.abc import Iterator

import pytest

from audiohook.memory.cards import new_card, read_card
from tests.stress.card_killer import fields_of, is_whole
from tests.stress.children import SECONDS, finished, running, until
from tests.support.memory import Bench, bench


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench() as made:
        new_card(made.arena, 0, **fields_of(0))
        yield made


def test_no_card_is_torn_and_none_is_stuck(house: Bench) -> None:
    """`read_card` raises if a card never holds still, so coming back at all is half of the proof."""
    reads, epochs = 0, set()
    with running("card_killer.py", house.files.arena, "copies", SECONDS, fds=[house.files.arena]) as killer:
        for _ in until(SECONDS, lambda: killer.poll() is not None):
            card = read_card(house.reader, 0)
            assert is_whole(card), card
            reads += 1
            epochs.add(card["epoch"])
        said = json.loads(killer.communicate(timeout=60)[0])
    assert said["kills"] > 100
    assert reads > 1000
    assert len(epochs) > 20, "the writers did not get on"
    assert is_whole(read_card(house.reader, 0))


def test_the_check_sees_a_mixture() -> None:
    assert not is_whole({**fields_of(7), "ani": fields_of(8)["ani"]})


def test_control_a_sequence_lock_is_left_odd(house: Bench) -> None:
    """What was rejected: 98 % of kills left it odd, and nobody can read it until somebody repairs it."""
    said = json.loads(
        finished("card_killer.py", house.files.arena, "seqlock", SECONDS / 4, fds=[house.files.arena], seconds=SECONDS)
    )
    assert said["odd"] > said["kills"] // 4 > 0
