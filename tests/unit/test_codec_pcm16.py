"""L16 in both byte orders: every sample, whole frames only, nothing written around them."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.codec.l16 import ByteOrder, L16Decoder, encode
from tests.unit.test_codec_pcmu import decoded

EVERY_SAMPLE = np.arange(1 << 16, dtype=np.uint16).view(np.int16)


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_every_sample_comes_back(byte_order: ByteOrder) -> None:
    payload = encode(EVERY_SAMPLE, byte_order)
    assert decoded(L16Decoder(1, byte_order), payload).tolist() == EVERY_SAMPLE.tolist()


@pytest.mark.parametrize(("byte_order", "payload"), [("little", b"\x01\x02\xff\xff"), ("big", b"\x02\x01\xff\xff")])
def test_bytes_of_known_samples(byte_order: ByteOrder, payload: bytes) -> None:
    assert encode(np.array([0x0201, -1], np.int16), byte_order) == payload


def test_little_endian_is_the_default() -> None:
    assert encode(np.array([1], np.int16)) == b"\x01\x00"
    assert decoded(L16Decoder(1), b"\x01\x00").tolist() == [1]


@pytest.mark.parametrize("byte_order", ["little", "big"])
@given(payload=st.binary(max_size=700), channels=st.sampled_from([1, 2]))
def test_whole_frames_and_nothing_around_them(byte_order: ByteOrder, payload: bytes, channels: int) -> None:
    decoder = L16Decoder(channels, byte_order)
    frames = len(payload) // (2 * channels)
    sign = "<" if byte_order == "little" else ">"
    expected = struct.unpack(f"{sign}{frames * channels}h", payload[: frames * channels * 2])
    assert decoder.frames_in(payload) == frames
    assert decoded(decoder, payload, channels).ravel().tolist() == list(expected)
