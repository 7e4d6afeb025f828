"""espeak-ng really speaks, starts no thread, and what it says arrives whole at telephone rates."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.load.speech_source import RATES_HZ, SpeechError
from audiohook.load.speech_spoken import SENTENCES, SILENCE_SECONDS, SPOKEN_HZ, VOICES, Speaker, resample


def tone(hertz: float, rate_hz: int, frames: int, first_s: float = 0.0) -> np.ndarray:
    return 10000 * np.sin(2 * np.pi * hertz * (np.arange(frames) / rate_hz - first_s))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("hertz", [150, 440, 1000, 3300])
def test_a_tone_keeps_its_height_and_place(hertz: float, rate_hz: int) -> None:
    spoken = tone(hertz, SPOKEN_HZ, SPOKEN_HZ).astype(np.int16)
    heard = resample(spoken, rate_hz)
    silence = round(SILENCE_SECONDS * SPOKEN_HZ) / SPOKEN_HZ
    expected = tone(hertz, rate_hz, len(heard), silence)
    middle = slice(round(0.4 * rate_hz), round(0.8 * rate_hz))
    assert np.abs(heard[middle] - expected[middle]).max() < 30, "0.3 % of 10,000"


@pytest.mark.parametrize(("hertz", "rate_hz"), [(4500, 8000), (7000, 8000), (8500, 16000), (10000, 16000)])
def test_what_the_rate_cannot_carry_is_gone_and_not_folded_back(hertz: float, rate_hz: int) -> None:
    heard = resample(tone(hertz, SPOKEN_HZ, SPOKEN_HZ).astype(np.int16), rate_hz)
    assert np.abs(heard[round(0.4 * rate_hz) : round(0.8 * rate_hz)]).max() < 100


@given(frames=st.integers(0, 5000), rate_hz=st.sampled_from(RATES_HZ))
def test_any_length_becomes_whole_blocks_with_silence_around(frames: int, rate_hz: int) -> None:
    heard = resample(np.full(frames, 3000, np.int16), rate_hz)
    block = rate_hz // 50
    assert len(heard) % block == 0
    shortest = frames / SPOKEN_HZ + 2 * SILENCE_SECONDS
    assert shortest - 0.001 < len(heard) / rate_hz < shortest + 0.021


def test_loudness_beyond_the_scale_is_clipped_and_does_not_wrap() -> None:
    square = np.where(np.arange(SPOKEN_HZ) // 50 % 2, 32767, -32768).astype(np.int16)
    heard = resample(square, 16000).astype(int)
    near = np.sign(resample((square // 2).astype(np.int16), 16000).astype(int))
    loud = np.abs(heard) > 30000
    assert loud.sum() > 5000
    assert (np.sign(heard)[loud] == near[loud]).all()


def test_every_voice_speaks_every_sentence_without_a_thread() -> None:
    threads = len(os.listdir("/proc/self/task"))
    spoken = {}
    with Speaker() as speaker:
        for voice in VOICES:
            spoken[voice] = speaker.speak(SENTENCES[0], voice)
            assert len(os.listdir("/proc/self/task")) == threads
    for samples in spoken.values():
        assert 2 * SPOKEN_HZ < len(samples) < 10 * SPOKEN_HZ
        assert np.abs(samples.astype(int)).max() > 5000
    assert len({samples.tobytes() for samples in spoken.values()}) == len(VOICES), "two voices are the same"
    assert len(os.listdir("/proc/self/task")) == threads


def test_it_can_be_opened_again_and_refuses_a_voice_that_it_has_not() -> None:
    for _ in range(2):
        with Speaker() as speaker:
            with pytest.raises(SpeechError, match="voice nobody"):
                speaker.speak("Hello.", "nobody")
            assert len(speaker.speak("Hello.", VOICES[0])) > SPOKEN_HZ // 4
