"""Streams of real Opus packets, made by libopus of sounds that a telephone carries; the same at every call."""

import functools
from collections.abc import Sequence

import numpy as np

from audiohook.codec.opus import OpusDecoder, OpusEncoder
from tests.support.memory import Samples

SECONDS = 18


@functools.cache
def sound(kind: str, rate_hz: int, frames: int) -> bytes:
    """Return mono int16: `speech` (a voice that comes and goes over noise), `tone`, `ringing`, `noise`, `silence`."""
    at = np.arange(frames) / rate_hz
    noise = np.random.default_rng(5).normal(0, 1, frames)
    if kind == "silence":
        wave = np.zeros(frames)
    elif kind == "tone":
        wave = 8000 * np.sin(2 * np.pi * 400 * at)
    elif kind == "ringing":
        wave = 5000 * (np.sin(2 * np.pi * 440 * at) + np.sin(2 * np.pi * 480 * at)) * (at % 6 < 2)
    elif kind == "noise":
        wave = 3000 * noise
    else:
        voice = sum(np.sin(2 * np.pi * (110 + 30 * np.sin(2 * at)) * k * at) / k for k in range(1, 12))
        wave = 5000 * voice * np.clip(np.sin(2 * np.pi * 1.3 * at) + 0.4, 0, 1) * (at % 5 < 3.4) + 150 * noise
    return wave.astype(np.int16).tobytes()


@functools.cache
def packets(
    kind: str, rate_hz: int = 16_000, ms: int = 20, bitrate_bps: int = 24_000, constant: bool = False
) -> tuple[bytes, ...]:
    """Return the packets of SECONDS of a sound, for durations below 20 ms of as many packets as there are of 20 ms."""
    frames = rate_hz * ms // 1000
    count = SECONDS * 1000 // max(ms, 20)
    pcm = sound(kind, rate_hz, frames * count)
    encoder = OpusEncoder(rate_hz, 1, bitrate_bps, constant)
    return tuple(encoder.encode(pcm[at : at + 2 * frames], frames) for at in range(0, len(pcm), 2 * frames))


def decoded(sent: Sequence[bytes], rate_hz: int = 16_000) -> Samples:
    """Decode packets one after another; one that is refused is filled in for as long as the last good one was."""
    decoder = OpusDecoder(rate_hz)
    room = np.zeros(decoder.bound_frames, np.int16)
    pieces = []
    usual = rate_hz // 50
    for packet in sent:
        frames = decoder.decode_into(packet, room.ctypes.data)
        usual = frames if frames > 0 else usual
        pieces.append(room[: frames if frames > 0 else decoder.conceal_into(usual, room.ctypes.data)].copy())
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
