"""What the calls play, made ready once before the first call: packets of audio, and the same as masked frames.

A `Script` is one dialect's: Opus packets for `context`, messages of two channels of PCMU for `audiohook2`, in which
each channel says something else.

One process encodes; the children of the fork share the bytes, and a call is an iterator over references to them, so
that 20,000 calls cost no more audio than one. Every packet has one masking key from the kernel (RFC 6455 section 5.3),
used in every call that sends it: a key hides nothing here, and a mask for each send would cost more than the send.

Knows nothing of sockets, processes or time.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from audiohook.codec import pcmu
from audiohook.codec.opus import RATES_HZ, OpusEncoder
from audiohook.load.errors import LoadError
from audiohook.load.plan import played, playlist
from audiohook.session.audiohook2_terms import DIALECT as AUDIOHOOK2
from audiohook.session.context import DIALECT as CONTEXT
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
    """The material of a dialect's calls: for each clip its `packets`, and the same as `frames`, ready to be sent."""

    packets: tuple[tuple[bytes, ...], ...]
    frames: tuple[tuple[bytes, ...], ...]
    packet_ns: int

    def packets_of(self, index: int, seed: int) -> Iterator[bytes]:
        """Yield, without end, the packets of call `index`."""
        return self._walk(self.packets, index, seed)

    def frames_of(self, index: int, seed: int) -> Iterator[bytes]:
        """Yield, without end, the wire bytes of call `index`: one masked binary frame for each packet."""
        return self._walk(self.frames, index, seed)

    def _walk(self, columns: tuple[tuple[bytes, ...], ...], index: int, seed: int) -> Iterator[bytes]:
        return played(columns, playlist(index, [len(clip) for clip in self.packets], seed))


Scripts = Mapping[str, Script]
"""By dialect."""


def encode_scripts(clips: Sequence[SpokenClip], packet_ns: Mapping[str, int]) -> Scripts:
    """Return the script of `clips` for each dialect of `packet_ns`, in packets of that length; LoadError if empty."""
    encode = {CONTEXT: _encode_opus, AUDIOHOOK2: _encode_pcmu}
    return {dialect: _script(encode[dialect](clips, length_ns), length_ns) for dialect, length_ns in packet_ns.items()}


def _script(clips: Iterable[tuple[bytes, ...]], packet_ns: int) -> Script:
    packets = tuple(filter(None, clips))
    if not packets:
        raise LoadError("there is no audio to play: the folder has no WAV file with samples in it")
    frames = tuple(tuple(masked_frame(packet, secrets.token_bytes(4)) for packet in clip) for clip in packets)
    return Script(packets, frames, packet_ns)


def _encode_opus(clips: Sequence[SpokenClip], packet_ns: int) -> Iterator[tuple[bytes, ...]]:
    return (encode_clip(clip, packet_ns) for clip in clips)


def _encode_pcmu(clips: Sequence[SpokenClip], message_ns: int) -> Iterator[tuple[bytes, ...]]:
    """Yield the messages of each clip: it is the channel `external`; on `internal` the next one speaks, from its middle
    on, over and over."""
    step = pcmu.RATE_HZ * message_ns // NS_PER_S
    heard = [at_8000(clip) for clip in clips if len(clip.samples)]
    for place, external in enumerate(heard):
        other = heard[(place + 1) % len(heard)]
        pcm = np.zeros((-(-len(external) // step) * step, 2), np.int16)
        pcm[: len(external), 0] = external
        pcm[:, 1] = np.resize(np.roll(other, len(other) // 2), len(pcm))
        yield tuple(pcmu.encode(pcm[at : at + step]) for at in range(0, len(pcm), step))


def at_8000(clip: SpokenClip) -> npt.NDArray[np.int16]:
    """Return a clip at 8,000 Hz. Of 16,000 Hz each pair of samples becomes its mean: a filter that is good enough for
    a voice which only has to come out as it went in."""
    if clip.rate_hz == pcmu.RATE_HZ:
        return clip.samples
    if clip.rate_hz != 2 * pcmu.RATE_HZ:
        raise LoadError(f"{clip.name}: {clip.rate_hz} Hz cannot be sent as PCMU; wanted 8000 or 16000")
    pairs = clip.samples[: len(clip.samples) // 2 * 2].reshape(-1, 2).astype(np.int32)
    halved: npt.NDArray[np.int16] = (pairs.sum(axis=1) // 2).astype(np.int16)
    return halved


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
