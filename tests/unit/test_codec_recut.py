"""`looks_recut`: every way to cut a stream of one-size packets anew is noticed, no good stream ever is.

The streams are real: libopus made them, of something like speech (a voice that comes and goes in noise), of tones, of
silence, constant and variable, and with pauses in which an encoder with DTX sends almost nothing.
"""

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.codec import recut
from audiohook.codec.recut import (
    SMALLEST_BYTES,
    SPREAD_MESSAGES,
    WAIT,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    RecutWatch,
)
from tests.support.cuts import cut_at
from tests.support.opus_streams import packets


def noticed(messages: Sequence[bytes]) -> int | None:
    """Return what a watch says of a stream, once, or None."""
    watch = RecutWatch()
    return next((size for size in map(watch.take, messages) if size is not None), None)


def pieces_of(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def glued(sent: Sequence[bytes], share: float) -> list[bytes]:
    """Glue a packet to the one after it, each with this chance."""
    dice = random.Random(3)
    messages = [sent[0]]
    for packet in sent[1:]:
        if dice.random() < share:
            messages[-1] += packet
        else:
            messages.append(packet)
    return messages


def some_cut(sent: Sequence[bytes], share: float) -> list[bytes]:
    """Cut packets in two, each with this chance."""
    dice = random.Random(4)
    places = [dice.randrange(2, len(packet)) if dice.random() < share else len(packet) for packet in sent]
    halves = [half for packet, at in zip(sent, places, strict=True) for half in (packet[:at], packet[at:])]
    return [half for half in halves if half]


def anywhere(sent: Sequence[bytes]) -> list[bytes]:
    whole = b"".join(sent)
    dice = random.Random(len(whole))
    return [piece for piece in cut_at(whole, [dice.randrange(len(whole)) for _ in sent]) if piece]


CUTS: dict[str, Callable[[Sequence[bytes]], list[bytes]]] = {
    "pairs": lambda sent: pieces_of(b"".join(sent), 2 * len(sent[0])),
    "triples": lambda sent: pieces_of(b"".join(sent), 3 * len(sent[0])),
    "one in five glued": lambda sent: glued(sent, 0.2),
    "one in twenty glued": lambda sent: glued(sent, 0.05),
    "halves": lambda sent: [half for one in sent for half in (one[: len(one) // 2], one[len(one) // 2 :])],
    "one in twenty cut": lambda sent: some_cut(sent, 0.05),
    "anywhere": anywhere,
    "what a network's packet holds": lambda sent: pieces_of(b"".join(sent), 1448),
    "512 bytes": lambda sent: pieces_of(b"".join(sent), 512),
    "one byte less": lambda sent: pieces_of(b"".join(sent), len(sent[0]) - 1),
    "one large message and another": lambda sent: pieces_of(b"".join(sent), 17_000),
}


@pytest.mark.parametrize(("rate_hz", "bitrate_bps"), [(8000, 16_000), (8000, 64_000), (16_000, 24_000)])
@pytest.mark.parametrize("how", CUTS)
def test_a_constant_stream_that_is_cut_anew_is_noticed(how: str, rate_hz: int, bitrate_bps: int) -> None:
    sent = packets("speech", rate_hz, 20, bitrate_bps, constant=True)
    (size,) = {len(packet) for packet in sent}
    assert size == bitrate_bps // 400
    assert noticed(CUTS[how](sent)) == size


@pytest.mark.parametrize("ms", [10, 40, 60])
@pytest.mark.parametrize("how", ["pairs", "halves", "anywhere", "what a network's packet holds"])
def test_packets_of_other_durations_too(how: str, ms: int) -> None:
    sent = packets("speech", 16_000, ms, constant=True) * 2
    assert noticed(CUTS[how](sent)) == len(sent[0])


GOOD = [
    (kind, rate_hz, ms, bitrate_bps, constant)
    for kind in ("speech", "tone", "ringing", "silence", "noise")
    for rate_hz, ms, bitrate_bps in (
        *((8000, 20, 12_000), (16_000, 20, 24_000), (16_000, 20, 64_000)),
        *((16_000, 60, 24_000), (16_000, 10, 48_000)),
    )
    for constant in (False, True)
]


@pytest.mark.parametrize("good", GOOD, ids=lambda good: "-".join(map(str, good)))
def test_a_good_stream_is_never_noticed(good: tuple[str, int, int, int, bool]) -> None:
    """Neither one a message, nor with pauses cut out of it, nor with the tiny packets of DTX in them."""
    sent = packets(*good)
    assert noticed(sent) is None
    quiet = [(at // 40) % 3 == 2 for at in range(len(sent))]
    assert noticed([packet for packet, pause in zip(sent, quiet, strict=True) if not pause]) is None
    assert noticed([packet[:1] if pause else packet for packet, pause in zip(sent, quiet, strict=True)]) is None


def test_a_stream_that_changes_is_not_noticed() -> None:
    """From one size to another, from silence to speech, from one configuration to the other."""
    small, large = (packets("speech", 16_000, 20, rate, constant=True) for rate in (16_000, 64_000))
    narrow = packets("speech", 8000, 20, 24_000, constant=True)
    for first, second in ((small, large), (large, small), (packets("silence"), small), (narrow, large)):
        for at in (30, 70, 100, 200):
            assert noticed([*first[:at], *second]) is None
            assert noticed([*(packet for pair in zip(first[:at], second, strict=False) for packet in pair)]) is None


def test_a_packet_that_is_broken_now_and_then_is_not_noticed() -> None:
    for constant in (False, True):
        for harm in (b"", b"\0", b"\xff" * 33):
            sent = list(packets("speech", constant=constant))
            for at in range(0, len(sent), 40):
                sent[at] = sent[at][: len(sent[at]) - 7] + harm
            assert noticed(sent) is None


def test_the_trap_of_a_tone_in_two_sizes() -> None:
    """Packets of 40, 41, 40, 41 bytes that begin alike are not 81-byte packets cut in two."""
    dice = random.Random(1)
    messages = [bytes([0x48]) + dice.randbytes(39 + at % 2) for at in range(2000)]
    messages[7] = bytes([0x4C]) + messages[7][1:]
    assert noticed(messages) is None


def test_the_trap_of_packets_that_are_all_the_same() -> None:
    """Any byte of them can look like a TOC byte: here the middle one does."""
    packet = bytes([0x48]) + bytes(39) + bytes([0x48]) + bytes(39)
    assert noticed([packet] * 2000) is None
    dice = random.Random(2)
    half_same = [packet[:40] + packet[40:] if at % 3 else packet[:1] + dice.randbytes(79) for at in range(2000)]
    assert noticed(half_same) is None


@pytest.mark.parametrize("how", CUTS)
def test_silence_says_nothing_and_the_speech_after_it_does(how: str) -> None:
    sent = packets("silence", constant=True)[:300] + packets("speech", constant=True) * 4
    assert len({len(packet) for packet in sent}) == 1
    assert noticed(CUTS[how](packets("silence", constant=True))) is None
    assert noticed(CUTS[how](sent)) == len(sent[0])


@pytest.mark.parametrize("how", ["pairs", "halves", "anywhere", "512 bytes"])
def test_variable_packets_that_are_cut_anew_have_no_size_to_name(how: str) -> None:
    sent = packets("speech")
    assert len({len(packet) for packet in sent}) > 20
    assert noticed(CUTS[how](sent)) is None


def test_two_windows_must_say_the_same() -> None:
    """A stream of one size that later varies, cut anew: `fixed:N` would not mend it."""
    constant = packets("speech", 16_000, 20, 64_000, constant=True)[: WINDOW_BYTES // 160 + 1]
    stream = b"".join((*constant, *packets("speech", 16_000, 20, 64_000)))
    assert noticed(pieces_of(stream, 512)) is None


def test_it_is_said_within_ten_seconds() -> None:
    sent = packets("speech", bitrate_bps=48_000, constant=True)
    for cut in CUTS.values():
        watch = RecutWatch()
        taken = 0
        for message in cut(sent):
            taken += len(message)
            if watch.take(message) is not None:
                break
        assert taken < 10 * 50 * 120


@settings(max_examples=60)
@given(
    size=st.integers(SMALLEST_BYTES, 300),
    cuts=st.lists(st.integers(1, 900), min_size=1, max_size=6),
    passed_over=st.sets(st.integers(0, 40), max_size=2),
    number=st.integers(0, 2 * SPREAD_MESSAGES),
)
def test_any_cut_is_named_rightly_or_not_at_all(size: int, cuts: list[int], passed_over: set[int], number: int) -> None:
    """Also where messages in between must not be kept: their bytes count. Not at all: they fit, or are crumbs."""
    rows = np.random.default_rng(size).integers(0, 256, (160_000 // size, size), np.uint8)
    rows[:, 0] = 0x78
    watch = RecutWatch(number)
    found = None
    for number, message in enumerate(_in_turn(rows.tobytes(), cuts)):
        if number in passed_over:
            watch.pass_over(len(message))
            continue
        found = watch.take(message)
        if found is not None:
            break
    assert found in (None, size)
    if set(cuts) != {size} and min(cuts) >= size / 2:
        assert found == size


def _in_turn(stream: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = turn = 0
    while at < len(stream):
        yield stream[at : at + sizes[turn % len(sizes)]]
        at += sizes[turn % len(sizes)]
        turn += 1


@given(messages=st.lists(st.binary(min_size=1, max_size=2000), max_size=300))
def test_any_messages_at_all(messages: list[bytes]) -> None:
    assert noticed(messages) is None


def test_windows_are_rare_and_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it cheap: of 10,000 messages five windows are looked at, each of bounded length."""
    looked: list[tuple[int, int]] = []

    def look(window: bytes, sizes: Sequence[int], before: int) -> None:
        looked.append((len(window), len(sizes)))

    monkeypatch.setattr(recut, "packet_size", look)
    watch = RecutWatch()
    for size in (60, 5, 3000, 1 << 20):
        looked.clear()
        watch = RecutWatch()
        for _ in range(10_000):
            watch.take(bytes(size))
        assert 1 < len(looked) <= 2 + 10_000 // WAIT // WINDOW_MESSAGES // 2
        assert all(kept <= WINDOW_BYTES and count <= WINDOW_MESSAGES for kept, count in looked)


def test_streams_that_begin_at_one_instant_do_not_look_at_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 400 calls packets were 27 ms late, five seconds after they began; since then 10 (docs/performance.md)."""
    looks = 0

    def look(window: bytes, sizes: Sequence[int], before: int) -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(recut, "packet_size", look)
    watches = [RecutWatch(number) for number in range(10 * SPREAD_MESSAGES)]
    most = 0
    for _ in range(5 * (WINDOW_MESSAGES + SPREAD_MESSAGES)):
        looks = 0
        for watch in watches:
            watch.take(bytes(48))
        most = max(most, looks)
    assert most == 10
