"""What a loop waits for, and on whom, as it goes from one stream of a call to the next: watches, bells, heartbeats.

And many streams in one loop, where each is its own. Nothing here sleeps, but what is woken at once.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from audiohook.control.async_hub import AsyncStream
from audiohook.control.census import Census, Chains
from audiohook.control.desk_thread import DeskThread
from audiohook.control.many import ManyStreams
from audiohook.control.waiting_thread import WaitingThread
from audiohook.errors import WriterGone
from audiohook.memory import layout
from audiohook.memory.block import Block
from audiohook.memory.cards import update_card
from audiohook.memory.following import EARLY_NS, Following
from audiohook.memory.options import BlockOptions
from audiohook.memory.stream import Stream
from audiohook.memory.view import WRITER_GONE_NS
from audiohook.memory.waiting import Pause
from audiohook.units import NS_PER_MS
from tests.support.memory import Bench, KnownWriter, NeverWatched, bench
from tests.support.returning import ROOMY, Return, Steps, come_back, give_away, leave, spans, two


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench(ROOMY) as made:
        for row in range(made.geometry.rows + 1):
            made.beat(row, time.monotonic_ns())
        yield made


@pytest.fixture
def known(house: Bench) -> KnownWriter:
    return KnownWriter(house.arena, house.pool)


def test_a_parked_stream_is_waited_for_on_its_own_word_or_the_supervisors_bell(
    house: Bench, known: KnownWriter
) -> None:
    """Not on its worker's bell, which rings for other calls a thousand times a second."""
    following = Following(house.stream(known.slot), BlockOptions(frames=160), "raise").steps()
    sizes, arena = house.geometry, house.reader

    def waits() -> list[int]:
        pause = next(following)
        assert isinstance(pause, Pause)
        assert pause.commit is not None
        return [pause.commit[0], *(address for address, _ in pause.bells)]

    commit = arena.word_address(layout.cursor_word(sizes, known.slot, "commit"))
    assert waits() == [commit, arena.word_address(layout.row_word(sizes, 0, "bell"))]
    leave(known)
    assert waits() == [commit, arena.word_address(layout.row_word(sizes, sizes.supervisor_row, "bell"))]
    second = come_back(house, known)
    commit = arena.word_address(layout.cursor_word(sizes, second.slot, "commit"))
    assert waits() == [commit, arena.word_address(layout.row_word(sizes, 0, "bell"))]


def test_what_cannot_have_come_yet_is_waited_for_by_the_clock_from_the_last_arrival_on(
    house: Bench, known: KnownWriter
) -> None:
    """Between two messages of 200 ms a loop sleeps until just before the next one, wherever it begins to read."""
    began_ns = time.monotonic_ns()
    message = known.rate_hz // 5
    known.now_ns = began_ns - 150 * NS_PER_MS
    known.audio(message)
    pause = next(Following(house.stream(known.slot), BlockOptions(frames=message), "raise").steps())
    assert isinstance(pause, Pause)
    assert not pause.bells
    assert 0 < pause.timeout_ns <= 200 * NS_PER_MS - EARLY_NS - 150 * NS_PER_MS
    known.now_ns = began_ns - 190 * NS_PER_MS
    known.audio(message)
    late = next(Following(house.stream(known.slot), BlockOptions(frames=message), "raise").steps())
    assert isinstance(late, Pause)
    assert late.bells, "it may come at any time now"


# ------------------------------------------------------------------------------------------------ who keeps it


def test_a_parked_stream_is_the_supervisors(house: Bench, known: KnownWriter) -> None:
    """Its worker may be long gone."""
    stream = house.stream(known.slot)
    known.audio(320)
    leave(known)
    old_ns = time.monotonic_ns() - WRITER_GONE_NS - 1
    house.beat(0, old_ns)
    stream.check_writer()
    blocks = stream.blocks(200, start="oldest")
    assert spans([next(blocks), next(blocks)]) == [(0, 200), (200, 120)]
    house.beat(house.geometry.supervisor_row, old_ns)
    with pytest.raises(WriterGone):
        next(blocks)
    come_back(house, known)
    stream.check_writer()


def test_the_writer_of_the_stream_in_which_it_goes_on(house: Bench, known: KnownWriter) -> None:
    second = two(house, known)
    update_card(house.arena, second.slot, row=1)
    house.beat(0, 1)
    steps = Steps(house.stream(known.slot), frames=4000, start="oldest")
    assert spans(steps.take()) == [(0, 700)]
    house.beat(1, 1)
    with pytest.raises(WriterGone):
        steps.take()


class Playing(NeverWatched):
    """A watcher that lets the next thing happen whenever a loop is about to sleep."""

    def __init__(self, *acts: Any) -> None:
        self._acts = list(acts)
        self.told: list[tuple[str, int, int]] = []

    def watch(self, slot: int, epoch: int) -> bool:
        self.told.append(("watch", slot, epoch))
        self._acts.pop(0)()
        return True

    def unwatch(self, slot: int, epoch: int) -> None:
        self.told.append(("unwatch", slot, epoch))


def test_the_watch_goes_with_the_loop(house: Bench, known: KnownWriter) -> None:
    later: list[KnownWriter] = []

    def go_and_come() -> None:
        known.audio(160)
        leave(known)
        later.append(come_back(house, known))

    def say_and_end() -> None:
        later[0].audio(160)
        later[0].end()

    playing = Playing(go_and_come, say_and_end)
    stream = Stream(house.reader, known.slot, house.stream(known.slot).card(), playing)
    assert spans(list(stream.blocks(160))) == [(0, 160), (160, 160)]
    first, second = known.key, later[0].key
    assert playing.told == [("watch", *first), ("unwatch", *first), ("watch", *second), ("unwatch", *second)]


# ------------------------------------------------------------------------------------------------ in an event loop


def test_a_coroutine_hears_the_same(house: Bench, known: KnownWriter) -> None:
    second = two(house, known)
    leave(second)
    come_back(house, second, 40).end()
    card = house.stream(known.slot).card()
    desk, threads = Playing(), (WaitingThread(house.reader), DeskThread())
    stream = AsyncStream(house.reader, known.slot, card, desk, threads)  # type: ignore[arg-type]

    async def read() -> list[Block]:
        return [block async for block in stream.blocks(512, start="oldest")]

    got = asyncio.run(read())
    assert spans(got) == spans(list(house.stream(known.slot).blocks(512, start="oldest")))
    assert sum(frames for _, frames in spans(got)) == 2040
    assert isinstance(stream.continued_by, AsyncStream)
    threads[1].close()


# ------------------------------------------------------------------------------------------------ many streams


def census(house: Bench) -> Census[Stream]:
    return Census(house.reader, lambda slot, card: Stream(house.reader, slot, card, NeverWatched()))


def test_of_a_call_that_comes_back_only_the_first_stream_is_given_out(house: Bench, known: KnownWriter) -> None:
    looking, chains = census(house), Chains()
    seen: set[tuple[int, int]] = set()

    def given() -> list[tuple[int, int]]:
        new = [one for one in looking.look() if (one.slot, one.epoch) not in seen]
        seen.update((one.slot, one.epoch) for one in new)
        return [(one.slot, one.epoch) for one in new if chains.begins(one)]

    assert given() == [known.key]
    leave(known)
    coming = Return(house, known)
    later = KnownWriter(house.arena, house.pool)
    assert given() == [later.key], "also while the first one's card does not name the second"
    second = coming.link()
    leave(second)
    third = come_back(house, second)
    other = give_away(house, known)
    assert given() == [other.key]
    leave(third)
    fourth = come_back(house, third)
    assert given() == []
    assert len({known.key, second.key, third.key, fourth.key, other.key, later.key}) == 6


def test_a_return_to_what_was_never_given_out_is(house: Bench, known: KnownWriter) -> None:
    leave(known)
    second = come_back(house, known)
    chains = Chains()
    given = [one.slot for one in census(house).look() if not one.over and chains.begins(one)]
    assert given == [second.slot]


def test_a_session_that_names_an_earlier_one_is_given_out(house: Bench, known: KnownWriter) -> None:
    """`audiohook2`: the loop over the earlier one ends with it."""
    names: dict[str, int | str] = {"continues_slot": known.slot, "continues_epoch": known.card["epoch"]}
    second = KnownWriter(house.arena, house.pool, identity=names)
    chains = Chains()
    assert [one.slot for one in census(house).look() if chains.begins(one)] == [known.slot, second.slot]


def test_many_streams_in_one_loop_are_each_their_own(house: Bench, known: KnownWriter) -> None:
    many: ManyStreams[Stream] = ManyStreams(house.reader, BlockOptions(frames=512))
    looking = census(house)

    def heard() -> list[tuple[int, int, int] | int]:
        for one in looking.look():
            if many.know(one):
                assert many.add(one, "oldest")
        return [
            stream.slot if block is None else (stream.slot, block.first_frame, block.frames)
            for stream, block in many.ready()
        ]

    known.audio(700)
    assert heard() == [(known.slot, 0, 512)]
    leave(known)
    assert heard() == [(known.slot, 512, 188)], "its rest, and no end"
    assert heard() == []
    coming = Return(house, known)
    assert heard() == []
    second = coming.link()
    assert heard() == [known.slot]
    second.gap(300, layout.HOLD | layout.MEASURED)
    second.audio(724)
    assert heard() == [(second.slot, 700, 512), (second.slot, 1212, 512)]
    leave(second)
    assert house.pool.end_parked(*second.key)
    assert heard() == [second.slot]
