"""What every source of speech shares: its rates, its error, and how a clip is written."""

import wave
from pathlib import Path

from audiohook.errors import AudiohookError

RATES_HZ = (8000, 16000)
"""The rates of telephone speech that clips have."""


class SpeechError(AudiohookError):
    """There is no speech to be had here. The message says what was tried and what came of it."""


def write_wav(path: Path, rate_hz: int, pcm: bytes) -> None:
    """Write `pcm`, mono int16 little-endian, to a new WAV file; make the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
