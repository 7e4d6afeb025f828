"""Recorded speech: the prompts of Debian's packages `asterisk-core-sounds-en-wav` (8 kHz) and `-g722` (16 kHz).

They are downloaded and unpacked as they are on any Debian or Ubuntu, by any user, and nothing is installed
(`debian_packages.py`).

The 16 kHz prompts are G.722 and need the wheel `G722`; without it there are the 8 kHz ones only.
"""

import shutil
import tempfile
import wave
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from audiohook.load.debian_packages import PackagesError, download, unpack
from audiohook.load.speech_source import SpeechError, write_wav

PACKAGE_8000 = "asterisk-core-sounds-en-wav"
PACKAGE_16000 = "asterisk-core-sounds-en-g722"

SHORTEST_SECONDS = 2.0
"""Shorter prompts (digits, letters) are left out: a call that repeats one sounds like a stuck record."""


def make(directory: Path) -> None:
    """Fill `directory` with `8000/*.wav`, `16000/*.wav` and the packages' copyright files; raise `SpeechError`."""
    packages = [PACKAGE_8000] + [PACKAGE_16000] * (find_spec("G722") is not None)
    with tempfile.TemporaryDirectory(prefix="debian.", dir=directory.parent, ignore_cleanup_errors=True) as work:
        try:
            unpacked = unpack(download(packages, Path(work)), Path(work))
        except PackagesError as error:
            raise SpeechError(str(error)) from None
        for path, name in _prompts(unpacked, "*.wav"):
            _keep(directory / "8000" / name, 8000, _wav_pcm(path))
        for path, name in _prompts(unpacked, "*.g722"):
            _keep(directory / "16000" / name, 16000, _g722_pcm(path))
        for package in packages:
            shutil.copy(unpacked / "usr/share/doc" / package / "copyright", directory / f"{package}.copyright")


def _prompts(unpacked: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    """Yield each prompt and its name below the voice's folder; the folder `silence` holds just that."""
    for path in unpacked.glob(f"usr/share/asterisk/sounds/*/**/{pattern}"):
        name = Path(*path.relative_to(unpacked / "usr/share/asterisk/sounds").parts[1:])
        if name.parts[0] != "silence":
            yield path, str(name.with_suffix(".wav"))


def _keep(path: Path, rate_hz: int, pcm: bytes) -> None:
    if len(pcm) >= SHORTEST_SECONDS * rate_hz * 2:
        write_wav(path, rate_hz, pcm)


def _wav_pcm(path: Path) -> bytes:
    with wave.open(str(path), "rb") as file:
        return file.readframes(file.getnframes())


def _g722_pcm(path: Path) -> bytes:
    """Decode a whole file of 64 kbit/s G.722. The decoder is stateful: a new one for each."""
    decoder = import_module("G722").G722(16000, 64000, use_numpy=False)
    return bytes(decoder.decode(path.read_bytes()))
