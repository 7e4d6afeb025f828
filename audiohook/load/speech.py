"""Speech for the load client, the tests and `make run`: clips to send, and a folder of them where nobody names one.

`load_clips` reads WAV files of any folder. `obtain` makes a folder once under `var/` and finds it again at every later
call: recorded speech out of Debian's packages (`speech_debian.py`) where they can be had, else sentences spoken by a
synthesiser (`speech_spoken.py`). Recordings are not part of this repository (their licence is CC-BY-SA-3.0).

Invariants of `obtain`: a folder that carries its final name is complete (it is filled under another name and renamed);
one process at a time makes it, and one that is killed while it does leaves nothing that another trips over.
"""

import fcntl
import shutil
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiohook.load import speech_debian, speech_spoken
from audiohook.load.speech_source import RATES_HZ, SpeechError


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One utterance. `samples` is int16, mono, read-only, shape (frames,), `rate_hz` 8000 or 16000."""

    name: str
    rate_hz: int
    samples: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    what: str
    make: Callable[[Path], None]


SOURCES = (
    _Source("debian", "recorded prompts from Debian's asterisk-core-sounds-en", speech_debian.make),
    _Source("spoken", "sentences spoken by espeak-ng", speech_spoken.make),
)


def load_clips(directory: Path, limit: int) -> list[Clip]:
    """Return at most `limit` clips from the WAV files in and below `directory`.

    What is not linear PCM, 16 bit, mono, 8 or 16 kHz, or has no sample in it, is passed over. The order is that of the
    paths, rates taking turns, so that a small limit gets both: the same files give the same list. Raises `SpeechError`
    if nothing is left.
    """
    found: dict[int, list[Clip]] = {rate_hz: [] for rate_hz in RATES_HZ}
    for clip in _clips(directory):
        clips = found[clip.rate_hz]
        if len(clips) < limit:
            clips.append(clip)
        if all(len(clips) >= limit for clips in found.values()):
            break
    turns = chain.from_iterable(zip_longest(*found.values()))
    chosen = [clip for clip in turns if clip is not None][:limit]
    if not chosen:
        raise SpeechError(f"{directory}: no WAV file of 16-bit mono PCM at 8,000 or 16,000 Hz in it")
    return chosen


def _clips(directory: Path) -> Iterator[Clip]:
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() != ".wav" or not path.is_file():
            continue
        try:
            with wave.open(str(path), "rb") as file:
                shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
                if shape not in {(1, 2, rate_hz) for rate_hz in RATES_HZ}:
                    continue
                raw = file.readframes(file.getnframes())
        except (wave.Error, EOFError):
            continue
        if len(raw) >= 2:
            samples = np.frombuffer(raw, "<i2", len(raw) // 2)
            yield Clip(path.relative_to(directory).with_suffix("").as_posix(), shape[2], samples)


def obtain(var_dir: Path) -> Path:
    """Return a folder of speech below `var_dir`, made now if there is none yet; say on stderr which source it is.

    The first call may take seconds (29 MB are fetched), up to two minutes where a network swallows what it is sent.
    A source is chosen once: to try Debian again after sentences were spoken, remove `var/speech`.
    Nothing is installed and no rights are needed. Raises `SpeechError` with each source's reason if none works.
    """
    home = var_dir / "speech"
    source = _ready(home)
    if source is None:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            source = _ready(home) or _make(home)
    directory = home / source.name
    print(f"speech: {source.what}, in {directory}", file=sys.stderr)
    return directory


def _ready(home: Path) -> _Source | None:
    return next((source for source in SOURCES if (home / source.name).is_dir()), None)


def _make(home: Path) -> _Source:
    """Fill the first source that works. The caller holds the lock, so any half-filled folder is a dead process'."""
    for left_over in home.glob("new.*"):
        shutil.rmtree(left_over, ignore_errors=True)
    print("speech: made ready once, from Debian's packages if they can be had", file=sys.stderr)
    reasons = []
    for source in SOURCES:
        with tempfile.TemporaryDirectory(prefix="new.", dir=home, ignore_cleanup_errors=True) as staging:
            filled = Path(staging) / source.name
            filled.mkdir()
            try:
                source.make(filled)
                load_clips(filled, 1)
            except SpeechError as error:
                reasons.append(f"{source.name}: {error}")
                continue
            filled.rename(home / source.name)
            return source
    raise SpeechError(f"no speech to send; {'; '.join(reasons)}; name a folder of WAV files with --audio")
