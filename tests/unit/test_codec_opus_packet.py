"""RFC 6716 section 3's rules, each by hand, and all of them against libopus' own parser."""

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.codec.opus import OpusEncoder
from audiohook.codec.opus_library import libopus
from audiohook.codec.opus_packet import OpusPacket, packet_frames, parse

SILK_NB_10, SILK_NB_60, SILK_WB_20, HYBRID_SWB_10, CELT_NB_2_5, CELT_FB_20 = 0, 3, 9, 12, 16, 31


def toc(config: int, code: int, stereo: bool = False) -> int:
    return config << 3 | stereo << 2 | code


def libopus_parse(packet: bytes) -> tuple[int, ...] | int:
    """Return the sizes of the Opus frames as libopus finds them, or its error code."""
    function = libopus()["opus_packet_parse"]
    function.argtypes = (ctypes.c_char_p, ctypes.c_int32) + (ctypes.c_void_p,) * 4
    function.restype = ctypes.c_int
    first, frames, sizes, offset = ctypes.c_ubyte(), (ctypes.c_void_p * 48)(), (ctypes.c_int16 * 48)(), ctypes.c_int()
    addresses = [ctypes.addressof(one) for one in (first, frames, sizes, offset)]
    count = function(packet, len(packet), *addresses)
    return tuple(sizes[:count]) if count > 0 else int(count)


def libopus_frames(packet: bytes, rate_hz: int) -> int:
    function = libopus()["opus_packet_get_nb_samples"]
    function.argtypes, function.restype = (ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32), ctypes.c_int
    return int(function(packet, len(packet), rate_hz))


def libopus_channels(packet: bytes) -> int:
    function = libopus()["opus_packet_get_nb_channels"]
    function.argtypes, function.restype = (ctypes.c_char_p,), ctypes.c_int
    return int(function(packet))


def agrees_with_libopus(packet: bytes) -> None:
    ours, theirs = parse(packet), libopus_parse(packet)
    if ours is None:
        assert isinstance(theirs, int), f"libopus takes what we refuse: {theirs}"
        assert packet_frames(packet, 16000) is None
        return
    assert ours.sizes == theirs
    assert ours.stereo == (libopus_channels(packet) == 2)
    for rate_hz in (8000, 16000, 48000):
        assert packet_frames(packet, rate_hz) == libopus_frames(packet, rate_hz)


@pytest.mark.parametrize(
    ("packet", "sizes", "duration_us"),
    [
        (bytes([toc(SILK_WB_20, 0)]), (0,), 20_000),
        (bytes([toc(SILK_WB_20, 0)]) + bytes(1275), (1275,), 20_000),
        (bytes([toc(CELT_NB_2_5, 0), 1]), (1,), 2_500),
        (bytes([toc(SILK_NB_60, 1)]) + bytes(80), (40, 40), 120_000),
        (bytes([toc(HYBRID_SWB_10, 1)]), (0, 0), 20_000),
        (bytes([toc(SILK_WB_20, 2), 3]) + bytes(10), (3, 7), 40_000),
        (bytes([toc(SILK_WB_20, 2), 253, 2]) + bytes(261), (261, 0), 40_000),
        (bytes([toc(CELT_NB_2_5, 3), 48]) + bytes(96), (2,) * 48, 120_000),
        (bytes([toc(SILK_NB_10, 3), 12]), (0,) * 12, 120_000),
        (bytes([toc(SILK_WB_20, 3), 0x40 | 2, 3]) + bytes(7), (2, 2), 40_000),
        (bytes([toc(SILK_WB_20, 3), 0x40 | 1, 255, 1]) + bytes(260), (5,), 20_000),
        (bytes([toc(SILK_WB_20, 3), 0x80 | 3, 1, 0]) + bytes(5), (1, 0, 4), 60_000),
        (bytes([toc(SILK_WB_20, 3), 0xC0 | 2, 1, 2]) + bytes(4), (2, 1), 40_000),
    ],
)
def test_valid_packets(packet: bytes, sizes: tuple[int, ...], duration_us: int) -> None:
    shape = parse(packet)
    assert shape is not None
    assert shape.sizes == sizes
    assert shape.duration_us == duration_us
    assert packet_frames(packet, 16000) == duration_us * 2 // 125
    agrees_with_libopus(packet)


@pytest.mark.parametrize(
    ("rule", "packet"),
    [
        ("R1", b""),
        ("R2", bytes([toc(SILK_WB_20, 0)]) + bytes(1276)),
        ("R2", bytes([toc(SILK_WB_20, 1)]) + bytes(2552)),
        ("R2", bytes([toc(SILK_WB_20, 2), 0]) + bytes(1276)),
        ("R2", bytes([toc(SILK_WB_20, 3), 1]) + bytes(1276)),
        ("R2", bytes([toc(SILK_WB_20, 3), 0x80 | 1]) + bytes(1276)),
        ("R3", bytes([toc(SILK_WB_20, 1), 0])),
        ("R4", bytes([toc(SILK_WB_20, 2)])),
        ("R4", bytes([toc(SILK_WB_20, 2), 252])),
        ("R4", bytes([toc(SILK_WB_20, 2), 5]) + bytes(4)),
        ("R5", bytes([toc(SILK_WB_20, 3), 0])),
        ("R5", bytes([toc(SILK_WB_20, 3), 7]) + bytes(7)),
        ("R5", bytes([toc(CELT_NB_2_5, 3), 49]) + bytes(49)),
        ("R5", bytes([toc(SILK_NB_60, 3), 3]) + bytes(3)),
        ("R6", bytes([toc(SILK_WB_20, 3)])),
        ("R6", bytes([toc(SILK_WB_20, 3), 2]) + bytes(3)),
        ("R6", bytes([toc(SILK_WB_20, 3), 0x40 | 2, 5]) + bytes(4)),
        ("R6", bytes([toc(SILK_WB_20, 3), 0x40 | 2])),
        ("R6", bytes([toc(SILK_WB_20, 3), 0x40 | 2, 255])),
        ("R7", bytes([toc(SILK_WB_20, 3), 0x80 | 2])),
        ("R7", bytes([toc(SILK_WB_20, 3), 0x80 | 3, 1, 252])),
        ("R7", bytes([toc(SILK_WB_20, 3), 0x80 | 2, 5]) + bytes(4)),
        ("R7", bytes([toc(SILK_WB_20, 3), 0xC0 | 2, 3, 2]) + bytes(4)),
        ("R7", bytes([toc(SILK_WB_20, 3), 0xC0 | 2, 3]) + bytes(3)),
    ],
)
def test_malformed_packets(rule: str, packet: bytes) -> None:
    assert parse(packet) is None, rule
    assert packet_frames(packet, 16000) is None
    agrees_with_libopus(packet)


@pytest.mark.parametrize("config", range(32))
def test_every_configurations_duration_is_libopus(config: int) -> None:
    for stereo in (False, True):
        packet = bytes([toc(config, 0, stereo), 1])
        assert parse(packet) == OpusPacket(config, stereo, (1,), 0)
        agrees_with_libopus(packet)


def test_padding_is_counted() -> None:
    shape = parse(bytes([toc(SILK_WB_20, 3), 0x40 | 1, 255, 1]) + bytes(260))
    assert shape is not None
    assert shape.padding_bytes == 255


HEAD = st.lists(st.sampled_from([0, 1, 2, 3, 48, 49, 63, 64, 66, 129, 194, 251, 252, 253, 254, 255]), max_size=8)


@settings(max_examples=1000)
@given(head=st.binary(max_size=6) | HEAD.map(bytes), body=st.integers(0, 60) | st.integers(1200, 2700))
def test_any_bytes_are_judged_as_libopus_judges_them(head: bytes, body: int) -> None:
    agrees_with_libopus(head + bytes(body))


@given(
    milliseconds=st.sampled_from([2.5, 5, 10, 20, 40, 60]),
    rate_hz=st.sampled_from([8000, 16000, 48000]),
    channels=st.sampled_from([1, 2]),
    constant=st.booleans(),
    pcm=st.randoms(use_true_random=False),
    cut=st.integers(0, 1275),
)
def test_real_packets_whole_and_cut(milliseconds, rate_hz, channels, constant, pcm, cut) -> None:  # type: ignore[no-untyped-def]
    frames = round(rate_hz * milliseconds / 1000)
    packet = OpusEncoder(rate_hz, channels, 32000, constant).encode(pcm.randbytes(frames * 2 * channels), frames)
    assert packet_frames(packet, rate_hz) == frames
    agrees_with_libopus(packet)
    agrees_with_libopus(packet[:cut])
