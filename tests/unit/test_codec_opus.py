"""The decoder and the encoder against real libopus: what is written where, what is refused, and that nothing leaks."""

import ctypes
import gc
import random
import subprocess
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiohook.codec import opus
from audiohook.codec.opus import INVALID_PACKET, RATES_HZ, OpusDecoder, OpusEncoder, OpusError

CANARY = 0x5A5A


class Room:
    """Memory for one decode with a canary on either side; everything in it starts as the canary."""

    EDGE = 64

    def __init__(self, samples: int) -> None:
        self._all = np.full(samples + 2 * self.EDGE, CANARY, np.int16)
        self.samples: NDArray[np.int16] = self._all[self.EDGE : -self.EDGE]
        self.address = self.samples.ctypes.data

    def edges_are_whole(self) -> bool:
        return bool((self._all[: self.EDGE] == CANARY).all() and (self._all[-self.EDGE :] == CANARY).all())


def voice(rate_hz: int, frames: int, channels: int = 1) -> bytes:
    """Make a tone with overtones that swells and fades: speech enough for an encoder, the same at every call."""
    t = np.arange(frames) / rate_hz
    wave = sum(np.sin(2 * np.pi * 160 * k * t) / k for k in range(1, 8)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    mono = (wave * 8000).astype(np.int16)
    return np.repeat(mono, channels).tobytes()


def packets(rate_hz: int, count: int, milliseconds: float = 20, channels: int = 1, **encoder: int) -> list[bytes]:
    frames = round(rate_hz * milliseconds / 1000)
    step = frames * 2 * channels
    pcm = voice(rate_hz, frames * count, channels)
    made = OpusEncoder(rate_hz, channels, **encoder)
    return [made.encode(pcm[at : at + step], frames) for at in range(0, len(pcm), step)]


def decoded(decoder: OpusDecoder, payload: bytes) -> NDArray[np.int16]:
    room = Room(decoder.bound_frames)
    frames = decoder.decode_into(payload, room.address)
    assert frames > 0
    assert room.edges_are_whole()
    return room.samples[:frames].copy()


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("milliseconds", [2.5, 5, 10, 20, 40, 60])
def test_a_packet_of_every_duration_fills_its_frames(rate_hz: int, milliseconds: float) -> None:
    decoder = OpusDecoder(rate_hz, 1)
    for packet in packets(16000, 3, milliseconds):
        assert len(decoded(decoder, packet)) == rate_hz * milliseconds / 1000


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_what_is_decoded_is_what_was_said(rate_hz: int) -> None:
    """The correlation with the input, at the codec's delay, is high: not only the right number of samples."""
    decoder = OpusDecoder(rate_hz, 1)
    heard = np.concatenate([decoded(decoder, packet) for packet in packets(rate_hz, 50)]).astype(float)
    said = np.frombuffer(voice(rate_hz, rate_hz), np.int16).astype(float)
    best = max(np.corrcoef(heard[lag:], said[: len(said) - lag])[0, 1] for lag in range(rate_hz // 50))
    assert best > 0.9


def test_two_decoders_share_nothing() -> None:
    sent = packets(16000, 30)
    alone = OpusDecoder(16000)
    expected = [decoded(alone, packet) for packet in sent]
    first, second = OpusDecoder(16000), OpusDecoder(16000)
    for packet, other, pcm in zip(sent, reversed(sent), expected, strict=True):
        assert np.array_equal(decoded(first, packet), pcm)
        decoded(second, other)


def test_stereo_is_decoded_to_either_channel_count() -> None:
    stereo = packets(16000, 5, channels=2, bitrate_bps=64000)
    mono, both = OpusDecoder(16000, 1), OpusDecoder(16000, 2)
    for packet in stereo:
        assert len(decoded(mono, packet)) == 320
        room = Room(2 * both.bound_frames)
        assert both.decode_into(packet, room.address) == 320
        left, right = room.samples[:640:2], room.samples[1:640:2]
        assert np.abs(left - right.astype(int)).max() < 2000
        assert (room.samples[640:] == CANARY).all()


def test_an_empty_payload_is_refused_and_writes_nothing() -> None:
    """libopus itself would silently conceal 120 ms: the second half shows that the trap is still there."""
    decoder = OpusDecoder(16000)
    decoded(decoder, packets(16000, 1)[0])
    room = Room(decoder.bound_frames)
    assert decoder.decode_into(b"", room.address) == INVALID_PACKET
    assert (room.samples == CANARY).all()
    raw = opus._binding().decode(decoder._memory, b"", 0, ctypes.c_void_p(room.address), decoder.bound_frames, 0)
    assert raw == decoder.bound_frames


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_hostile_packets_never_leave_the_bound(rate_hz: int) -> None:
    """Real packets cut, flipped and glued, and noise: a count within the bound, or a code, and no byte beyond it."""
    dice = random.Random(rate_hz)
    real = packets(16000, 20)
    decoder = OpusDecoder(rate_hz)
    room = Room(decoder.bound_frames)
    outcomes = set()
    for turn in range(3000):
        packet = bytearray(dice.choice(real))
        match turn % 4:
            case 0:
                packet = packet[: dice.randrange(1, len(packet) + 1)]
            case 1:
                packet[dice.randrange(min(4, len(packet)))] = dice.randrange(256)
            case 2:
                packet += dice.choice(real)
            case _:
                packet = bytearray(dice.randbytes(dice.randrange(1, 200)))
        frames = decoder.decode_into(bytes(packet), room.address)
        assert frames < 0 or 0 < frames <= decoder.bound_frames
        assert room.edges_are_whole()
        outcomes.add(frames > 0)
    assert outcomes == {True, False}


def test_a_refused_packet_leaves_the_decoder_as_it_was() -> None:
    sent = packets(16000, 10)
    undisturbed, disturbed = OpusDecoder(16000), OpusDecoder(16000)
    room = Room(disturbed.bound_frames)
    for packet in sent:
        assert disturbed.decode_into(b"\xff", room.address) == INVALID_PACKET
        assert np.array_equal(decoded(disturbed, packet), decoded(undisturbed, packet))


def test_one_byte_is_a_legal_packet_of_silence_or_concealment() -> None:
    """DTX: a TOC byte alone lasts as long as it says, not as long as there is room."""
    decoder = OpusDecoder(16000)
    packet = packets(16000, 1)[0]
    decoded(decoder, packet)
    assert len(decoded(decoder, bytes([packet[0] & 0xFC]))) == 320


@given(steps=st.integers(1, 400), rate_hz=st.sampled_from([8000, 16000]), channels=st.sampled_from([1, 2]))
def test_concealment_has_exactly_the_length_asked_for(steps: int, rate_hz: int, channels: int) -> None:
    """2.5 ms to 1 s, so mostly longer than the 120 ms that libopus does in one call."""
    decoder = OpusDecoder(rate_hz, channels)
    frames = steps * rate_hz // 400
    room = Room(frames * channels)
    assert decoder.conceal_into(frames, room.address) == frames
    assert room.edges_are_whole()
    assert not room.samples.any(), "nothing was decoded before, so concealment is silence"


def test_concealment_follows_on_and_fades() -> None:
    decoder = OpusDecoder(16000)
    for packet in packets(16000, 20):
        loud = np.abs(decoded(decoder, packet).astype(int)).max()
    room = Room(16000)
    assert decoder.conceal_into(16000, room.address) == 16000
    assert np.abs(room.samples[:320].astype(int)).max() > loud / 4
    assert np.abs(room.samples[-3200:].astype(int)).max() < loud / 4, "the voice is gone, comfort noise is left"


@pytest.mark.parametrize("frames", [-40, 0, 1, 39, 41, 1919])
def test_concealment_of_another_length_is_our_error(frames: int) -> None:
    decoder = OpusDecoder(16000)
    room = Room(decoder.bound_frames)
    with pytest.raises(ValueError, match=r"2\.5 ms"):
        decoder.conceal_into(frames, room.address)
    assert (room.samples == CANARY).all()


@pytest.mark.parametrize(("rate_hz", "channels"), [(11025, 1), (0, 1), (16000, 0), (16000, 3)])
def test_a_decoder_that_cannot_be_made_says_why(rate_hz: int, channels: int) -> None:
    with pytest.raises(OpusError, match="invalid argument") as caught:
        OpusDecoder(rate_hz, channels)
    assert caught.value.code == -1


@pytest.mark.parametrize("packet_bytes", [60, 120, 160])
@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_constant_bit_rate_has_one_packet_size(packet_bytes: int, rate_hz: int) -> None:
    sent = packets(rate_hz, 100, bitrate_bps=400 * packet_bytes, constant=True)
    silence = OpusEncoder(rate_hz, bitrate_bps=400 * packet_bytes, constant=True)
    sent += [silence.encode(bytes(rate_hz // 25), rate_hz // 50) for _ in range(50)]
    assert {len(packet) for packet in sent} == {packet_bytes}


def test_variable_bit_rate_varies() -> None:
    assert len({len(packet) for packet in packets(16000, 100)}) > 3


def test_the_encoder_is_never_let_read_past_its_input() -> None:
    encoder = OpusEncoder(16000)
    for wrong in (b"", bytes(639), bytes(641), bytes(320)):
        with pytest.raises(ValueError, match="frames"):
            encoder.encode(wrong, 320)
    with pytest.raises(OpusError, match="123 frames"):
        encoder.encode(bytes(246), 123)
    with pytest.raises(OpusError, match="bitrate"):
        OpusEncoder(16000, bitrate_bps=-5)


def test_every_encoder_is_freed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    binding = opus._binding()
    freed: list[int] = []
    real = binding.encoder_destroy

    def counted(state: int) -> None:
        freed.append(state)
        real(state)

    monkeypatch.setattr(binding, "encoder_destroy", counted)
    alive: list[object] = [OpusEncoder(16000) for _ in range(20)]
    states = sorted(one._state for one in alive)  # type: ignore[attr-defined]
    assert freed == []
    alive.append(alive)  # a cycle: the collector must free them too
    del alive
    gc.collect()
    assert sorted(freed) == states


def test_a_decoders_state_goes_with_it() -> None:
    decoder = OpusDecoder(16000)
    memory = weakref.ref(decoder._memory)
    assert memory() is not None
    del decoder
    assert memory() is None


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_copied_decoder_is_as_libopus_makes_one(rate_hz: int, channels: int) -> None:
    binding = opus._binding()
    sent = packets(16000, 30, channels=channels)
    other = OpusDecoder(rate_hz, channels)
    room, wanted = Room(other.bound_frames * channels), Room(other.bound_frames * channels)
    for packet in reversed(sent):
        other.decode_into(packet, room.address)  # what one has decoded is not in the next
    copied, made = OpusDecoder(rate_hz, channels), opus._create("decoder", binding.decoder_create, rate_hz, channels)
    state, address = ctypes.c_void_p(made), ctypes.c_void_p(wanted.address)
    for packet in (*sent, *(b"" for _ in range(3)), *sent):
        if packet:
            assert copied.decode_into(packet, room.address) == rate_hz // 50
            frames = binding.decode(state, packet, len(packet), address, other.bound_frames, 0)
        else:
            copied.conceal_into(rate_hz // 50, room.address)
            frames = binding.decode(state, None, 0, address, rate_hz // 50, 0)
        assert frames == rate_hz // 50
        assert np.array_equal(room.samples[: frames * channels], wanted.samples[: frames * channels])
    binding.decoder_destroy(made)


def test_a_decoder_that_lives_to_the_end_of_the_process_makes_no_noise() -> None:
    code = "from audiohook.codec.opus import *\nDECODER = OpusDecoder(16000)\nENCODER = OpusEncoder(8000)\n"
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_an_address_is_a_plain_integer_into_any_memory() -> None:
    """What the ring needs: an offset into a foreign buffer, no cast."""
    decoder = OpusDecoder(8000)
    buffer = ctypes.create_string_buffer(decoder.bound_frames * 2 + 10)
    assert decoder.decode_into(packets(8000, 1)[0], ctypes.addressof(buffer) + 10) == 160
    assert buffer.raw[:10] == bytes(10)
    assert any(buffer.raw[10:])
