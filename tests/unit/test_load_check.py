"""The comparison finds every kind of difference, in any cut of the blocks, and calls nothing equal that is not."""

from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook import Gap
from audiohook.codec import pcmu
from audiohook.codec.opus import OpusDecoder, OpusEncoder
from audiohook.load.check import AWAY, CHUNK_FRAMES, NOT_SENT, ExpectedPcm, StreamCheck
from audiohook.load.reports import StreamVerdict

Samples = npt.NDArray[np.int16]

RATE_HZ = 8000
PACKET_FRAMES = 160
PACKETS = 120
LENGTH = PACKETS * PACKET_FRAMES


def encoded() -> list[bytes]:
    noise = np.random.default_rng(5).integers(-9000, 9000, LENGTH).astype(np.int16)
    encoder = OpusEncoder(RATE_HZ, 1)
    return [encoder.encode(part.tobytes(), PACKET_FRAMES) for part in noise.reshape(PACKETS, PACKET_FRAMES)]


def decoded(packets: list[bytes]) -> Samples:
    decoder = OpusDecoder(RATE_HZ, 1)
    into = np.zeros(len(packets) * PACKET_FRAMES + decoder.bound_frames, np.int16)
    for place, packet in enumerate(packets):
        assert decoder.decode_into(packet, into.ctypes.data + place * PACKET_FRAMES * 2) == PACKET_FRAMES
    return into[: len(packets) * PACKET_FRAMES, np.newaxis]


SENT = encoded()
PCM = decoded(SENT)


def check_of(packets: list[bytes] = SENT) -> StreamCheck:
    expected = ExpectedPcm(iter(packets), OpusDecoder(RATE_HZ, 1), PACKET_FRAMES)
    return StreamCheck(StreamVerdict(call=0, rate_hz=RATE_HZ), expected)


def ended(check: StreamCheck, sent_frames: int = LENGTH) -> StreamVerdict:
    check.finish(sent_frames)
    check.verdict.ended = True
    return check.verdict


CUTS = st.lists(st.integers(0, LENGTH), max_size=12).map(lambda cuts: [0, *sorted(cuts), LENGTH])


@given(CUTS)
@settings(max_examples=30)
def test_equal_audio_is_verified_in_any_cut(cuts: list[int]) -> None:
    check = check_of()
    for first, end in pairwise(cuts):
        check.on_block(first, PCM[first:end])
    verdict = ended(check)
    assert verdict.perfect
    assert (verdict.verified, verdict.length) == (LENGTH, LENGTH)


@given(CUTS, st.integers(0, LENGTH - 1), st.integers(1, 40))
@settings(max_examples=30)
def test_a_wrong_sample_is_found_where_it_is(cuts: list[int], place: int, width: int) -> None:
    wrong = PCM.copy()
    wrong[place : place + width] ^= 1
    check = check_of()
    for first, end in pairwise(cuts):
        check.on_block(first, wrong[first:end])
    verdict = ended(check)
    assert verdict.first_difference == place
    assert verdict.different == min(width, LENGTH - place)
    assert verdict.verified == LENGTH - verdict.different
    assert not verdict.perfect


@given(st.integers(0, LENGTH), st.integers(0, LENGTH))
@settings(max_examples=30)
def test_frames_that_were_jumped_over_are_missing_and_the_rest_is_verified(one: int, other: int) -> None:
    first, end = sorted((one, other))
    check = check_of()
    check.on_block(0, PCM[:first])
    check.on_block(end, PCM[end:])
    verdict = ended(check)
    if end < LENGTH:
        assert (verdict.missing, verdict.missing_tail) == (end - first, 0)
    else:
        assert (verdict.missing, verdict.missing_tail) == (0, LENGTH - first)
    assert verdict.verified == first + LENGTH - end
    assert verdict.perfect is (first == end)


@given(st.integers(0, LENGTH), st.integers(0, LENGTH))
@settings(max_examples=30)
def test_frames_that_came_twice_are_told_and_do_not_count_twice(one: int, other: int) -> None:
    first, end = sorted((one, other))
    check = check_of()
    check.on_block(0, PCM[:end])
    check.on_block(first, PCM[first:])
    verdict = ended(check)
    assert verdict.repeated == end - first
    assert verdict.verified == LENGTH
    assert verdict.perfect is (first == end)


@pytest.mark.parametrize("left_out", [(10, 1), (10, 30), (0, 5), (50, 60)])
@pytest.mark.parametrize("cut", [100, PACKET_FRAMES, 1600, LENGTH])
def test_a_gap_is_told_by_cause_and_what_follows_is_verified(left_out: tuple[int, int], cut: int) -> None:
    """The daemon did not decode those packets, so neither does the comparison: its decoder has the same history."""
    first, count = left_out
    sent = SENT[:first] + SENT[first + count :]
    pcm = np.insert(decoded(sent)[:, 0], first * PACKET_FRAMES, np.zeros(count * PACKET_FRAMES, np.int16))[
        :, np.newaxis
    ]
    low, high = first * PACKET_FRAMES, (first + count) * PACKET_FRAMES
    check = check_of()
    for place in range(0, LENGTH, cut):
        end = min(place + cut, LENGTH)
        inside = max(low, place), min(high, end)
        gaps = [Gap(inside[0], inside[1] - inside[0], "dropped")] if inside[0] < inside[1] else []
        check.on_block(place, pcm[place:end], gaps)
    verdict = ended(check)
    assert verdict.gap_frames == {"dropped": high - low}
    assert (verdict.verified, verdict.different, verdict.missing) == (LENGTH - (high - low), 0, 0)
    assert not verdict.perfect


@pytest.mark.parametrize("cause", sorted(NOT_SENT))
@pytest.mark.parametrize("cut", [100, PACKET_FRAMES, LENGTH])
def test_a_gap_that_the_client_announced_takes_no_packet_away(cause: str, cut: int) -> None:
    at, width = 1234, 777
    pcm = np.insert(PCM[:, 0], at, np.zeros(width, np.int16))[:, np.newaxis]
    check = check_of()
    for place in range(0, LENGTH + width, cut):
        end = min(place + cut, LENGTH + width)
        inside = max(at, place), min(at + width, end)
        gaps = [Gap(inside[0], inside[1] - inside[0], cause)] if inside[0] < inside[1] else []
        check.on_block(place, pcm[place:end], gaps)
    verdict = ended(check)
    assert (verdict.verified, verdict.not_sent, verdict.missing_tail) == (LENGTH, width, 0)
    assert verdict.gap_frames == {cause: width}
    assert verdict.perfect


@pytest.mark.parametrize("cut", [100, PACKET_FRAMES, LENGTH])
def test_a_stream_that_continues_another_begins_where_that_ended_and_with_nobody_there(cut: int) -> None:
    first, away = 5000, 640
    pcm = np.concatenate([np.zeros((away, 1), np.int16), PCM])
    expected = ExpectedPcm(iter(SENT), OpusDecoder(RATE_HZ, 1), PACKET_FRAMES)
    check = StreamCheck(StreamVerdict(call=0, rate_hz=RATE_HZ), expected, first_frame=first, not_sent=AWAY)
    for place in range(0, len(pcm), cut):
        part = pcm[place : place + cut]
        lost = min(away, place + len(part)) - place
        check.on_block(first + place, part, [Gap(first + place, lost, "lost")] if lost > 0 else [])
    verdict = ended(check)
    assert (verdict.length, verdict.verified, verdict.not_sent) == (LENGTH + away, LENGTH, away)
    assert (verdict.missing, verdict.missing_tail, verdict.gap_frames) == (0, 0, {"lost": away})
    assert verdict.perfect


def test_a_lost_gap_in_a_stream_that_continues_none_is_a_loss() -> None:
    check = check_of()
    check.on_block(0, PCM, [Gap(1600, 160, "lost")])
    assert not ended(check).perfect


def test_a_gap_in_place_of_audio_that_was_sent_is_found() -> None:
    """Whatever it is called: what the client did not leave out is not on the timeline, and what follows is moved."""
    check = check_of()
    check.on_block(0, PCM, [Gap(1600, 160, "paused")])
    assert not ended(check).perfect


@pytest.mark.parametrize("channel", [0, 1])
@given(cuts=CUTS, place=st.integers(0, LENGTH - 1))
@settings(max_examples=10)
def test_each_channel_is_compared(channel: int, cuts: list[int], place: int) -> None:
    stereo = np.random.default_rng(1).integers(-9000, 9000, (LENGTH, 2)).astype(np.int16)
    packets = [pcmu.encode(part) for part in np.split(stereo, PACKETS)]
    heard = pcmu.DECODED[np.frombuffer(b"".join(packets), np.uint8)].reshape(-1, 2)
    for wrong, verified in ((0, LENGTH), (1, LENGTH - 1)):
        tampered = heard.copy()
        tampered[place, channel] ^= wrong
        expected = ExpectedPcm(iter(packets), pcmu.PcmuDecoder(2), PACKET_FRAMES, 2)
        check = StreamCheck(StreamVerdict(call=0, rate_hz=RATE_HZ), expected)
        for first, end in pairwise(cuts):
            check.on_block(first, tampered[first:end])
        verdict = ended(check)
        assert (verdict.verified, verdict.first_difference) == (verified, place if wrong else -1)


def test_more_than_was_sent_is_surplus() -> None:
    check = check_of(SENT[:10])
    check.on_block(0, PCM)
    verdict = ended(check, 10 * PACKET_FRAMES)
    assert (verdict.verified, verdict.surplus) == (10 * PACKET_FRAMES, LENGTH - 10 * PACKET_FRAMES)
    assert not verdict.perfect


def test_a_stream_that_was_cut_short_has_a_missing_tail() -> None:
    check = check_of()
    check.on_block(0, PCM[: 30 * PACKET_FRAMES])
    verdict = ended(check, 40 * PACKET_FRAMES)
    assert (verdict.verified, verdict.missing_tail) == (30 * PACKET_FRAMES, 10 * PACKET_FRAMES)
    assert not verdict.perfect


def test_a_stream_whose_end_was_not_seen_is_not_perfect() -> None:
    check = check_of()
    check.on_block(0, PCM)
    check.finish(LENGTH)
    assert not check.verdict.perfect


def test_audio_of_another_call_is_not_equal() -> None:
    check = check_of(SENT[1:] + SENT[:1])
    check.on_block(0, PCM)
    assert check.verdict.first_difference >= 0
    assert check.verdict.verified < LENGTH // 10


def test_the_expected_samples_are_the_decoders_in_any_lengths() -> None:
    expected = ExpectedPcm(iter(SENT), OpusDecoder(RATE_HZ, 1), PACKET_FRAMES)
    place = 0
    for frames in (1, 159, 160, 161, 7, CHUNK_FRAMES, 3, CHUNK_FRAMES):
        part = expected.take(frames)
        assert np.array_equal(part, PCM[place : place + frames])
        place += len(part)


def test_a_packet_that_libopus_refuses_is_our_own_fault_and_loud() -> None:
    bad = b"\xff\xff\xff"
    expected = ExpectedPcm(iter([bad]), OpusDecoder(RATE_HZ, 1), PACKET_FRAMES)
    with pytest.raises(ValueError, match="that it has made itself"):
        expected.take(1)


def test_the_end_of_the_packets_is_the_end() -> None:
    expected = ExpectedPcm(islice(SENT, 2), OpusDecoder(RATE_HZ, 1), PACKET_FRAMES)
    assert len(expected.take(1000)) == 2 * PACKET_FRAMES
    assert len(expected.take(1)) == 0
