"""L16 (linear PCM, 16 bit, 8,000 Hz), straight into memory that the caller names by address.

The byte order is a setting because nothing settles it. RTP's L16 is big-endian (RFC 3551 section 4.5.11), but AudioHook
is not RTP: its description does not say, and Genesys' reference server reads the order of its host, which is
little-endian wherever it runs. So `little` is the default; the wrong one sounds like loud noise, never like bad speech.

Knows nothing of rings, sockets or streams. Samples come out as int16 in native order, interleaved; lengths are frames
(one sample per channel).
"""

import ctypes
import sys
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ByteOrder = Literal["little", "big"]

RATE_HZ = 8000
SAMPLE_BYTES = 2
"""Bytes of one sample on the wire."""


def _wire_type(byte_order: ByteOrder) -> "np.dtype[np.int16]":
    return np.dtype("<i2" if byte_order == "little" else ">i2")


def encode(samples: NDArray[np.int16], byte_order: ByteOrder = "little") -> bytes:
    """Return `samples` (any shape, C order: for stereo `(frames, 2)`) as L16, two bytes a sample."""
    return np.asarray(samples, np.int16).astype(_wire_type(byte_order)).tobytes()


class L16Decoder:
    """One stream's decoder. Without state: a payload means the same whatever came before."""

    __slots__ = ("_frame_bytes", "_native", "_wire")

    def __init__(self, channels: int, byte_order: ByteOrder = "little") -> None:
        self._frame_bytes = channels * SAMPLE_BYTES
        self._wire = _wire_type(byte_order)
        self._native = byte_order == sys.byteorder

    def frames_in(self, payload: bytes) -> int:
        """Return how many whole frames `payload` has: what must be writable where it is decoded to."""
        return len(payload) // self._frame_bytes

    def decode_into(self, payload: bytes, address: int) -> int:
        """Decode the whole frames of `payload` to `address`; return how many. Bytes of a broken last one are ignored.

        Never fails and never writes more than `frames_in(payload)` frames.
        """
        frames = len(payload) // self._frame_bytes
        size = frames * self._frame_bytes
        if self._native:
            ctypes.memmove(address, payload, size)
        elif size:
            samples = size // SAMPLE_BYTES
            memory: Any = (ctypes.c_int16 * samples).from_address(address)
            np.copyto(np.frombuffer(memory, np.int16), np.frombuffer(payload, self._wire, samples))
        return frames
