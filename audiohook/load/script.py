"""What the calls play, made ready once before the first call: Opus packets, and the same packets as masked frames.

One process encodes; the children of the fork share the bytes, and a call is an iterator over references to them, so
that 20,000 calls cost no more audio than one. Every packet has one masking key from the kernel (RFC 6455 section 5.3),
used in every call that sends it: a key hides nothing here, and a mask for each send would cost more than the send.

Knows nothing of sockets, processes or time.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from audiohook.codec.opus import RATES_HZ, OpusEncoder
from audiohook.load.errors import LoadError
from audiohook.load.plan import played, playlist
from audiohook.units import NS_PER_S
from audiohook.wire.client import masked_frame

MAX_CLIPS = 48
"""Clips that a run takes: some minutes of speech, encoded in about a second."""


class SpokenClip(Protocol):
    """What is needed of a clip of `speech.py`: mono int16 samples at `rate_hz`."""

    @property
    def name(self) -> str: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def samples(self) -> npt.NDArray[np.int16]: ...


class Script(msgspec.Struct, frozen=True):
    """The material of all calls: for each clip its `packets`, and the same as `frames`, ready to be sent."""

    packets: tuple[tuple[bytes, ...], ...]
    frames: tuple[tuple[bytes, ...], ...]
    packet_ns: int

    def packets_of(self, index: int, seed: int) -> Iterator[bytes]:
        """Yield, without end, the Opus packets of call `index`."""
        return self._walk(self.packets, index, seed)

    def frames_of(self, index: int, seed: int) -> Iterator[bytes]:
        """Yield, without end, the wire bytes of call `index`: one masked binary frame for each packet."""
        return self._walk(self.frames, index, seed)

    def _walk(self, columns: tuple[tuple[bytes, ...], ...], index: int, seed: int) -> Iterator[bytes]:
        return played(columns, playlist(index, [len(clip) for clip in self.packets], seed))


def encode_script(clips: Iterable[SpokenClip], packet_ns: int) -> Script:
    """Return the script of `clips`, each encoded at its own rate into packets of `packet_ns`; LoadError if empty."""
    packets = tuple(filter(None, (encode_clip(clip, packet_ns) for clip in clips)))
    if not packets:
        raise LoadError("there is no audio to play: the folder has no WAV file with samples in it")
    frames = tuple(tuple(masked_frame(packet, secrets.token_bytes(4)) for packet in clip) for clip in packets)
    return Script(packets, frames, packet_ns)


def encode_clip(clip: SpokenClip, packet_ns: int) -> tuple[bytes, ...]:
    """Return the packets of one clip; its end is filled up with silence to a whole packet."""
    if clip.rate_hz not in RATES_HZ:
        raise LoadError(f"{clip.name}: {clip.rate_hz} Hz is no rate of Opus; wanted one of {RATES_HZ}")
    step = clip.rate_hz * packet_ns // NS_PER_S
    count = -(-len(clip.samples) // step)
    pcm = np.zeros(count * step, np.int16)
    pcm[: len(clip.samples)] = clip.samples
    encoder = OpusEncoder(clip.rate_hz)
    return tuple(encoder.encode(pcm[place : place + step].tobytes(), step) for place in range(0, len(pcm), step))
