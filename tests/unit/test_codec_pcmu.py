"""PCMU against G.711's formula, the reference's numbers and CPython's own codec; L16 is in test_codec_pcm16.py."""

import sys
import warnings
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiohook.codec.pcmu import DECODED, PcmuDecoder, encode

ALL = bytes(range(256))
CANARY = 0x5A5A
EDGE = 8


class Decoder(Protocol):
    def frames_in(self, payload: bytes) -> int: ...

    def decode_into(self, payload: bytes, address: int) -> int: ...


def decoded(decoder: Decoder, payload: bytes, channels: int = 1) -> NDArray[np.int16]:
    """Decode into room of exactly the size that the decoder asks for, and see that nothing around it was touched."""
    samples = decoder.frames_in(payload) * channels
    room = np.full(samples + 2 * EDGE, CANARY, np.int16)
    assert decoder.decode_into(payload, room[EDGE:].ctypes.data) * channels == samples
    assert (room[:EDGE] == CANARY).all()
    assert (room[EDGE + samples :] == CANARY).all()
    heard = room[EDGE : EDGE + samples]
    return heard if channels == 1 else heard.reshape(-1, channels)


@pytest.mark.parametrize(
    ("sample", "byte"), [(0, 0xFF), (-1, 0x7F), (32767, 0x80), (-32768, 0x00), (1000, 0xCE), (-1000, 0x4E)]
)
def test_bytes_of_known_samples(sample: int, byte: int) -> None:
    assert encode(np.array([sample], np.int16)) == bytes([byte])


def test_a_cycle_of_the_reference_tone() -> None:
    cycle = bytes.fromhex("FF0D060DFF8D868D")
    assert decoded(PcmuDecoder(1), cycle).tolist() == [0, -18812, -25980, -18812, 0, 18812, 25980, 18812]
    assert encode(DECODED[list(cycle)]) == cycle


def test_full_scale_and_both_zeros() -> None:
    assert (int(DECODED.min()), int(DECODED.max())) == (-32124, 32124)
    assert (int(DECODED[0x00]), int(DECODED[0x80])) == (-32124, 32124)
    assert (int(DECODED[0xFF]), int(DECODED[0x7F])) == (0, -1)


def test_every_byte_comes_back() -> None:
    assert encode(decoded(PcmuDecoder(1), ALL)) == ALL


def test_every_sample_gets_a_level_within_half_a_step_of_its_segment() -> None:
    samples = np.arange(-32_124, 32_125, dtype=np.int16)
    heard = decoded(PcmuDecoder(1), encode(samples))
    loudness = np.abs(samples.astype(int))
    step = np.left_shift(8, np.log2(loudness + 132).astype(int) - 7)
    assert (np.abs(heard.astype(int) - samples) <= step // 2).all()
    assert (np.diff(heard.astype(int)) >= 0).all(), "louder stays louder"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="CPython has no audioop any more")
def test_cpython_decodes_alike_but_for_the_second_zero() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    theirs = np.frombuffer(audioop.ulaw2lin(ALL, 2), np.int16)
    assert np.flatnonzero(theirs != DECODED).tolist() == [0x7F]
    every = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
    differ = np.flatnonzero(np.frombuffer(audioop.lin2ulaw(every.tobytes(), 2), np.uint8) != list(encode(every)))
    assert (len(differ), int(every[differ].max())) == (381, -1), "and encodes 381 negative samples one step off"


@given(payload=st.binary(max_size=700), channels=st.sampled_from([1, 2]))
def test_whole_frames_and_nothing_around_them(payload: bytes, channels: int) -> None:
    decoder = PcmuDecoder(channels)
    whole = payload[: len(payload) - len(payload) % channels]
    assert decoder.frames_in(payload) == len(whole) // channels
    assert decoded(decoder, payload, channels).ravel().tolist() == [int(DECODED[byte]) for byte in whole]


def test_stereo_is_interleaved_as_it_was_sent() -> None:
    external, internal = np.array([1000, -1000], np.int16), np.array([0, 32767], np.int16)
    payload = encode(np.stack([external, internal], axis=1))
    assert payload == bytes([0xCE, 0xFF, 0x4E, 0x80])
    heard = decoded(PcmuDecoder(2), payload, 2)
    assert heard[:, 0].tolist() == DECODED[[0xCE, 0x4E]].tolist()


def test_the_largest_message() -> None:
    payload = ALL * 256
    assert decoded(PcmuDecoder(2), payload, 2).shape == (32_768, 2)
