"""The material: packets that decode to the clip's length, and frames that are those packets, masked."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest

from audiohook.codec import pcmu
from audiohook.codec.opus import OpusDecoder
from audiohook.load.errors import LoadError
from audiohook.load.script import encode_clip, encode_scripts
from audiohook.units import NS_PER_MS
from audiohook.wire.frames import WebSocket

PACKET_NS = 20 * NS_PER_MS


@dataclass(frozen=True)
class Clip:
    name: str
    rate_hz: int
    samples: npt.NDArray[np.int16]


def tone(rate_hz: int, frames: int, name: str = "tone") -> Clip:
    return Clip(name, rate_hz, (np.sin(np.arange(frames) / 7) * 9000).astype(np.int16))


@pytest.mark.parametrize(
    ("rate_hz", "frames", "packets"), [(8000, 160, 1), (8000, 161, 2), (16000, 3200, 10), (8000, 0, 0)]
)
def test_a_clip_is_cut_into_whole_packets(rate_hz: int, frames: int, packets: int) -> None:
    encoded = encode_clip(tone(rate_hz, frames), PACKET_NS)
    assert len(encoded) == packets
    decoder = OpusDecoder(16000, 1)
    into = np.zeros(decoder.bound_frames, np.int16)
    assert [decoder.decode_into(packet, into.ctypes.data) for packet in encoded] == [320] * packets


def test_a_clip_of_an_odd_rate_is_refused() -> None:
    with pytest.raises(LoadError, match="44100 Hz is no rate of Opus"):
        encode_clip(tone(44100, 882), PACKET_NS)


@pytest.mark.parametrize("dialect", ["context", "audiohook2"])
def test_no_audio_at_all_is_refused(dialect: str) -> None:
    with pytest.raises(LoadError, match="no audio to play"):
        encode_scripts([tone(8000, 0)], {dialect: PACKET_NS})


@pytest.mark.parametrize("dialect", ["context", "audiohook2"])
def test_frames_are_the_packets_and_a_server_reads_them(dialect: str) -> None:
    clips = [tone(8000, 1000, "a"), tone(8000, 0, "empty"), tone(16000, 4000, "b")]
    script = encode_scripts(clips, {dialect: PACKET_NS})[dialect]
    assert len(script.packets) == 2
    server = WebSocket(client=False, max_message_bytes=65536)
    for index in range(30):
        wire = b"".join(islice(script.frames_of(index, 3), 40))
        assert server.receive_data(wire) == list(islice(script.packets_of(index, 3), 40))


@pytest.mark.parametrize("message_ms", [20, 100, 33])
def test_the_two_channels_of_audiohook2_say_different_things(message_ms: int) -> None:
    quiet, loud = tone(8000, 4000, "a"), Clip("b", 16000, np.full(6000, 8000, np.int16))
    script = encode_scripts([quiet, loud], {"audiohook2": message_ms * NS_PER_MS})["audiohook2"]
    for clip, frames in zip(script.packets, (4000, 3000), strict=True):
        assert {len(message) for message in clip} == {2 * 8 * message_ms}
        assert len(clip) == -(-frames // (8 * message_ms))
    heard = pcmu.DECODED[np.frombuffer(b"".join(script.packets[0]), np.uint8)].reshape(-1, 2)
    # What is left of 8000 after PCMU has been through it.
    assert np.array_equal(heard[:4000, 0], pcmu.DECODED[np.frombuffer(pcmu.encode(quiet.samples), np.uint8)])
    assert set(heard[:, 1].tolist()) == {int(pcmu.DECODED[pcmu.encode(loud.samples)[0]])}


def test_one_clip_alone_still_differs_from_itself() -> None:
    (clip,) = encode_scripts([tone(8000, 4001)], {"audiohook2": PACKET_NS})["audiohook2"].packets
    heard = np.frombuffer(b"".join(clip), np.uint8).reshape(-1, 2)
    assert not np.array_equal(heard[:, 0], heard[:, 1])
