"""Opus messages into the ring: what each framing policy promises, with real packets, the real decoder, a real ring.

`fixed:N` and `self_delimited` restore any re-cutting exactly, `message` passes any stream untouched, a broken packet
costs its own 20 ms and nothing else.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.codec.framing_self_delimited import self_delimited
from audiohook.memory import layout
from audiohook.memory.cards import read_card
from audiohook.memory.row import Row
from audiohook.memory.timeline import Span, Timeline, Totals
from audiohook.memory.writer import StreamWriter
from audiohook.session.events import Media
from audiohook.worker.feed import OpusFeed, decoder_for, feed_for
from tests.support.cuts import cut_at
from tests.support.memory import Bench, Samples, bench
from tests.support.opus_streams import decoded, packets

RATE_HZ = 16_000
FRAMES = 320
BROKEN = b"\xff\x00"
"""A code 3 packet of no Opus frames: libopus refuses it."""

SECONDS = 90
LONG = 4000


class Fed:
    """One stream that messages are given to, as a worker gives them, and what a reader then finds."""

    def __init__(self, house: Bench, framing: str) -> None:
        media = Media("opus", RATE_HZ, ("mono",), framing)
        slot = house.pool.acquire(0, 1, rate_hz=RATE_HZ, channels=1, channel_names="mono")
        assert slot is not None
        self._house = house
        self._slot = slot
        self._row = Row(house.arena, 0)
        self._refused_before = self.count("concealed_packets")
        self.recut_told: list[int] = []
        writer = StreamWriter(house.arena, slot, RATE_HZ, 1)
        feed = feed_for(decoder_for(media, "little"), media, writer, self._row, self.recut_told.append)
        assert isinstance(feed, OpusFeed)
        self.feed = feed
        self._now_ns = 0

    def take(self, messages: Sequence[bytes]) -> "Fed":
        for message in messages:
            self._now_ns += 1
            self.feed.take(message, self._now_ns)
        return self

    def finish(self) -> "Fed":
        self.feed.finish(self._now_ns)
        return self

    def count(self, name: str) -> int:
        return self._house.arena.words[layout.counter_word(self._house.geometry, 0, name)]

    @property
    def concealed_packets(self) -> int:
        return self.count("concealed_packets") - self._refused_before

    def end(self) -> tuple[Samples, Totals, list[Span]]:
        """Return all samples, the sums and the descriptors, and give the slot back."""
        card = read_card(self._house.reader, self._slot)
        stream = self._house.stream(self._slot)
        timeline = Timeline(self._house.reader, self._slot, card)
        newest = timeline.newest()
        totals = timeline.totals()
        self._house.pool.release(self._slot, end_reason="peer_closed")
        if newest is None:
            return np.zeros(0, np.int16), totals, []
        spans = timeline.spans(0, newest.media_end, newest)
        blocks = list(stream.blocks(FRAMES * 50, start="oldest"))
        return np.concatenate([block.samples[:, 0] for block in blocks]), totals, spans


@pytest.fixture(scope="module")
def house() -> Iterator[Bench]:
    with bench(layout.geometry(slots=2, rows=1, ring_seconds=SECONDS, event_records=8)) as made:
        yield made


some_cuts = st.lists(st.integers(0, 100_000), max_size=60)


@settings(max_examples=40)
@given(
    bitrate_bps=st.sampled_from([16_000, 24_000, 64_000]),
    count=st.integers(0, 60),
    cuts=some_cuts,
    missing=st.integers(0, 5),
)
def test_fixed_restores_any_cut_of_a_constant_stream(
    house: Bench, bitrate_bps: int, count: int, cuts: list[int], missing: int
) -> None:
    """Sample for sample; and what is missing of the last packet at the close is filled in."""
    sent = packets("speech", RATE_HZ, 20, bitrate_bps, constant=True)[200 : 200 + count]
    whole = b"".join(sent)
    whole = whole[: len(whole) - missing]
    size = bitrate_bps // 400
    fed = Fed(house, f"fixed:{size}").take(cut_at(whole, [cut % (len(whole) + 1) for cut in cuts])).finish()
    samples, totals, _ = fed.end()
    wanted = sent if not missing else (*sent[:-1], *([BROKEN] if count else []))
    np.testing.assert_array_equal(samples, decoded(wanted))
    assert (totals.packets, totals.wire_bytes) == (count, len(whole))
    assert fed.concealed_packets == (1 if missing and count else 0)


@settings(max_examples=40)
@given(constant=st.booleans(), count=st.integers(0, 60), cuts=some_cuts, missing=st.integers(0, 5))
def test_self_delimited_restores_any_cut_of_any_stream(
    house: Bench, constant: bool, count: int, cuts: list[int], missing: int
) -> None:
    sent = packets("speech", constant=constant)[200 : 200 + count]
    whole = b"".join(self_delimited(packet) for packet in sent)
    whole = whole[: len(whole) - missing]
    fed = Fed(house, "self_delimited").take(cut_at(whole, [cut % (len(whole) + 1) for cut in cuts])).finish()
    samples, totals, _ = fed.end()
    wanted = sent if not missing else (*sent[:-1], *([BROKEN] if count else []))
    np.testing.assert_array_equal(samples, decoded(wanted))
    assert totals.packets == count
    assert fed.concealed_packets == (1 if missing and count else 0)


any_message = st.one_of(
    st.integers(0, 899).map(lambda at: packets("speech")[at]),
    st.integers(0, 898).map(lambda at: packets("speech")[at] + packets("speech")[at + 1]),
    st.integers(0, 899).map(lambda at: packets("speech")[at][::2]),
    st.binary(min_size=1, max_size=300),
)


@settings(max_examples=40)
@given(messages=st.lists(any_message, max_size=60))
def test_message_passes_any_stream_untouched(house: Bench, messages: list[bytes]) -> None:
    """Also glued, cut and senseless ones: each message is one packet, and what it decodes to is what the ring has."""
    fed = Fed(house, "message").take(messages).finish()
    samples, totals, _ = fed.end()
    np.testing.assert_array_equal(samples, decoded(messages))
    assert (totals.packets, totals.wire_bytes) == (len(messages), sum(map(len, messages)))


@pytest.mark.parametrize("framing", ["message", "fixed:60", "self_delimited"])
def test_one_broken_packet_in_a_thousand_costs_only_its_own_time(house: Bench, framing: str) -> None:
    """80 s of speech. Of `self_delimited` a broken packet is one whose frame count breaks R5: it loses its place too,
    and is found again with the next message.
    """
    good = (packets("speech", constant=framing == "fixed:60") * 5)[:LONG]
    broken = sorted(random.Random(12).sample(range(100, LONG - 100), LONG // 1000))
    sent = [BROKEN + packet[2:] if at in broken else packet for at, packet in enumerate(good)]
    messages = [
        self_delimited(packet) if framing == "self_delimited" and at not in broken else packet
        for at, packet in enumerate(sent)
    ]
    fed = Fed(house, framing).take(messages).finish()
    samples, totals, spans = fed.end()

    assert totals.length == LONG * FRAMES
    assert totals.concealed == len(broken) * FRAMES
    assert totals.decoded == (LONG - len(broken)) * FRAMES
    assert (totals.packets, fed.concealed_packets) == (LONG, len(broken))
    where = [(span.media_first, span.media_end - span.media_first) for span in spans if span.cause == layout.CONCEALED]
    assert where == [(at * FRAMES, FRAMES) for at in broken]
    assert {span.cause for span in spans} == {layout.DECODED, layout.CONCEALED}

    np.testing.assert_array_equal(samples, decoded(sent))
    _assert_it_heals(samples, decoded(good), broken)


def _assert_it_heals(samples: Samples, unbroken: Samples, broken: Sequence[int]) -> None:
    """Before a broken packet all is as it would have been; after it the decoder finds back, within a second.

    Not at once (but for a few packets, mostly): what an Opus packet says is partly a difference from the one before.
    """
    difference = np.abs(samples.astype(int) - unbroken.astype(int)).reshape(-1, FRAMES).max(axis=1)
    assert not difference[: broken[0]].any()
    ends = [*broken[1:], len(difference)]
    for at, end in zip(broken, ends, strict=True):
        later = difference[at + 50 : end]
        assert len(later) == 0 or later.max() <= 2, (at, later.max())


def test_a_stream_that_is_cut_anew_is_told_once(house: Bench) -> None:
    sent = packets("speech", constant=True)
    whole = b"".join(sent)
    messages = [whole[at : at + 100] for at in range(0, len(whole), 100)]
    fed = Fed(house, "message").take(messages).take(messages)
    assert fed.recut_told == [60]
    fed.end()
    fed = Fed(house, "fixed:60").take(messages)
    assert fed.recut_told == []
    fed.end()


def test_a_good_stream_is_told_nothing(house: Bench) -> None:
    for constant in (True, False):
        fed = Fed(house, "message").take(packets("speech", constant=constant))
        assert fed.recut_told == []
        fed.end()


def test_what_may_not_be_heard_is_not_kept_and_still_counted(house: Bench) -> None:
    """A stream is masked or on hold for a while, in the middle of a packet: what is noticed afterwards is right."""
    whole = b"".join(packets("speech", constant=True))
    messages = [whole[at : at + 100] for at in range(0, len(whole), 100)]
    for kept_out in ("masked", "on hold"):
        fed = Fed(house, "message").take(messages[:30])
        if kept_out == "masked":
            fed.feed.masked = True
            fed.take(messages[30:58])
            fed.feed.masked = False
        else:
            for message in messages[30:58]:
                fed.feed.skip([message], layout.HOLD, 31)
        fed.take(messages[58:])
        assert fed.recut_told == [60]
        fed.end()
