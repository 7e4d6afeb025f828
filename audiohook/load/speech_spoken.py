"""Made-up speech: sentences spoken by espeak-ng out of the wheel `espeakng-loader`, at 8 and 16 kHz.

espeak-ng speaks at 22,050 Hz. `resample` brings that to telephone rates by cutting the spectrum: a stretch of whole
20 ms blocks (441 samples become 320 or 160, so no rounding) is transformed, what lies above the new Nyquist frequency
is dropped, and the rest is transformed back. That is the ideal low-pass of a periodic signal; silence around each
sentence keeps its end from reaching into its beginning.

Synchronous mode: the samples arrive in a callback of the calling thread and espeak-ng starts no thread of its own,
which a process that forks could not have (tests/unit/test_speech_spoken.py counts).
"""

import ctypes
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiohook.load.speech_source import RATES_HZ, SpeechError, write_wav

SPOKEN_HZ = 22050
BLOCKS_HZ = 50
"""20 ms blocks a second: they have a whole number of samples at 22,050, 16,000 and 8,000 Hz."""

SILENCE_SECONDS = 0.1

VOICES = ("en-us", "en-us+f3", "en-gb-scotland", "en-us+m3", "en-gb-scotland+f2")

SENTENCES = (
    "Good morning, you are through to customer service, how may I help you today?",
    "I have been waiting for my parcel since last Thursday and nobody can tell me where it is.",
    "Let me look that up for you, could you give me the order number, please?",
    "It begins with seven four nine, then two zeros, and ends with thirty one.",
    "Thank you, I can see it here, it left the warehouse this morning at a quarter past six.",
    "That is what I was told on Monday, and on Tuesday I was told the opposite.",
    "I am sorry about that, I will stay on the line until we have found out what went wrong.",
    "My address has not changed, but the street was given a new name in the spring.",
    "Would you prefer to be called back, or shall I put you through to the depot?",
    "Please do not put me on hold again, the music is far too loud.",
    "The quick brown fox jumps over the lazy dog, while five wizards box on the quay.",
    "We can offer you a refund of eighteen pounds and fifty pence, or a voucher for twenty five.",
)

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def make(directory: Path) -> None:
    """Fill `directory` with `8000/*.wav` and `16000/*.wav`, a file a sentence; raise `SpeechError`."""
    with Speaker() as speaker:
        for number, sentence in enumerate(SENTENCES):
            spoken = speaker.speak(sentence, VOICES[number % len(VOICES)])
            for rate_hz in RATES_HZ:
                write_wav(directory / str(rate_hz) / f"{number:02}.wav", rate_hz, resample(spoken, rate_hz).tobytes())


class Speaker:
    """espeak-ng, open. One at a time in a process: its state is global."""

    def __init__(self) -> None:
        """Open the library of the wheel; raise `SpeechError` if it is missing or does not start."""
        try:
            # Untyped, and not there without the extra `develop`.
            loader = import_module("espeakng_loader")
            library = ctypes.CDLL(loader.get_library_path())
            data = str(loader.get_data_path())
        except (ImportError, OSError, RuntimeError) as error:
            raise SpeechError(f"the wheel espeakng-loader cannot be used: {error}") from error
        rate_hz = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), 0)
        if rate_hz != SPOKEN_HZ:
            raise SpeechError(f"espeak-ng starts with {rate_hz}, not with {SPOKEN_HZ} Hz")
        self._library = library
        self._heard: list[bytes] = []
        # Kept: the library calls it for as long as it speaks.
        self._callback = _Callback(self._hear)
        library.espeak_SetSynthCallback(self._callback)

    def __enter__(self) -> "Speaker":
        return self

    def __exit__(self, *_: Any) -> None:
        self._library.espeak_Terminate()

    def _hear(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._heard.append(ctypes.string_at(samples, 2 * count))
        return 0

    def speak(self, text: str, voice: str) -> NDArray[np.int16]:
        """Return `text` spoken by `voice`, mono at SPOKEN_HZ."""
        self._heard.clear()
        coded = text.encode() + b"\0"
        size = ctypes.c_size_t(len(coded))
        for status in (
            self._library.espeak_SetVoiceByName(voice.encode()),
            self._library.espeak_Synth(coded, size, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None),
        ):
            if status != 0:
                raise SpeechError(f"espeak-ng does not speak with the voice {voice} (status {status})")
        return np.frombuffer(b"".join(self._heard), np.int16)


def resample(spoken: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
    """Return `spoken`, mono at SPOKEN_HZ, at `rate_hz` (lower, a multiple of 50), with silence at both ends.

    The result has whole 20 ms blocks: SILENCE_SECONDS, the speech, and at least SILENCE_SECONDS.
    """
    silence = round(SILENCE_SECONDS * SPOKEN_HZ)
    blocks = -(-(len(spoken) + 2 * silence) * BLOCKS_HZ // SPOKEN_HZ)
    before = np.zeros(blocks * SPOKEN_HZ // BLOCKS_HZ)
    before[silence : silence + len(spoken)] = spoken
    frames = blocks * rate_hz // BLOCKS_HZ
    spectrum = np.fft.rfft(before)[: frames // 2]
    after = np.fft.irfft(spectrum, frames) * (frames / len(before))
    return np.clip(np.rint(after), -32768, 32767).astype("<i2")
