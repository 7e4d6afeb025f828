"""Cards: two copies, one version; strings cut at a character; nothing of an earlier caller."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.memory import layout
from audiohook.memory.cards import TornCard, card_version, new_card, read_card, update_card
from tests.support.memory import Bench, bench

TEXTS = [name for name in layout.CARD.names or () if layout.CARD[name].kind == "S"]
NUMBERS = [name for name in layout.CARD.names or () if layout.CARD[name].kind == "u"]


@pytest.fixture(scope="module")
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


def raw(house: Bench, slot: int) -> bytes:
    """Return both copies of a card as they lie in memory."""
    return bytes(house.reader.cards[slot].tobytes())


@given(st.sampled_from(TEXTS), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=150))
def test_texts_come_back_or_are_cut_at_a_character(house: Bench, name: str, text: str) -> None:
    new_card(house.arena, 0, **{name: text})
    got = read_card(house.reader, 0)[name]
    room = layout.CARD[name].itemsize
    assert text.startswith(got)
    assert "�" not in got or "�" in text
    if len(text.encode()) <= room:
        assert got == text
    else:
        assert room - 4 < len(got.encode()) <= room


@pytest.mark.parametrize("letter", ["a", "é", "漢", "🎧"])
@pytest.mark.parametrize("name", ["codec", "call_id", "stream_id"])
def test_cut_for_every_length_of_character(house: Bench, letter: str, name: str) -> None:
    room = layout.CARD[name].itemsize
    for lead in range(4):
        text = "x" * lead + letter * 200
        new_card(house.arena, 0, **{name: text})
        got = read_card(house.reader, 0)[name]
        assert got == "x" * lead + letter * ((room - lead) // len(letter.encode()))


def test_a_lone_surrogate_does_not_fail(house: Bench) -> None:
    new_card(house.arena, 0, call_id="a\udc80b")
    assert read_card(house.reader, 0)["call_id"] == "a?b"


@given(st.sampled_from(NUMBERS), st.data())
def test_numbers_come_back(house: Bench, name: str, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, int(np.iinfo(layout.CARD[name]).max)))
    update_card(house.arena, 0, **{name: value})
    assert read_card(house.reader, 0)[name] == value


def test_an_update_keeps_what_it_does_not_name(house: Bench) -> None:
    new_card(house.arena, 1, call_id="one", state=layout.LIVE, rate_hz=8000)
    version = card_version(house.reader, 1)
    update_card(house.arena, 1, state=layout.ENDED, end_reason="peer_closed")
    card = read_card(house.reader, 1)
    assert (card["call_id"], card["state"], card["rate_hz"]) == ("one", layout.ENDED, 8000)
    assert card["version"] == version + 1 == card_version(house.reader, 1)


def test_a_new_card_keeps_nothing_of_the_caller_before(house: Bench) -> None:
    for times in range(1, 4):
        fields: dict[str, int | str] = {name: "SECRET-CALLER"[: layout.CARD[name].itemsize] for name in TEXTS}
        new_card(house.arena, 1, **fields, epoch=0x5345435245545345)
        for _ in range(times):
            update_card(house.arena, 1, state=layout.ENDED)
        new_card(house.arena, 1, state=layout.FREE)
        assert raw(house, 1) == bytes(2 * layout.CARD_BYTES)


def test_a_failed_update_changes_nothing(house: Bench) -> None:
    new_card(house.arena, 1, call_id="kept")
    before = read_card(house.reader, 1)
    with pytest.raises(ValueError):
        update_card(house.arena, 1, call_id="lost", no_such_field=1)
    with pytest.raises(OverflowError):
        update_card(house.arena, 1, call_id="lost", state=-1)
    assert read_card(house.reader, 1) == before


def test_neighbours_are_left_alone(house: Bench) -> None:
    new_card(house.arena, 0, call_id="zero")
    new_card(house.arena, 2, call_id="two")
    new_card(house.arena, 1, **dict.fromkeys(TEXTS, "z" * 200))
    assert read_card(house.reader, 0)["call_id"] == "zero"
    assert read_card(house.reader, 2)["call_id"] == "two"


def test_a_reader_cannot_write(house: Bench) -> None:
    with pytest.raises((ValueError, TypeError)):
        update_card(house.reader, 0, state=layout.LIVE)


class Restless:
    """Words of an arena whose card versions never hold still."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self.loads = 0

    def __getitem__(self, at: int) -> int:
        self.loads += 1
        return self._words[at] + self.loads


def test_a_card_that_never_holds_still_is_an_error_and_no_hang() -> None:
    with bench() as made:
        restless = Restless(made.reader.words)
        made.reader.words = restless  # type: ignore[assignment]
        with pytest.raises(TornCard):
            read_card(made.reader, 0)
        assert restless.loads >= 1000


def test_the_version_near_the_end_of_u32(house: Bench) -> None:
    house.arena.words[layout.card_word(house.geometry, 2)] = 2**32 - 2
    for number in range(5):
        update_card(house.arena, 2, call_id=f"call {number}")
        assert read_card(house.reader, 2)["call_id"] == f"call {number}"
    assert card_version(house.reader, 2) == 2**32 + 3
