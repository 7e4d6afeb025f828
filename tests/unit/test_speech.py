"""Clips from any folder of WAV files."""

import wave
from pathlib import Path

import numpy as np
import pytest

from audiohook.load.speech import SpeechError, load_clips


def wav(path: Path, rate_hz: int = 8000, frames: int = 800, channels: int = 1, width: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(bytes(range(256)) * (frames * channels * width // 256 + 1))
    return path


def names(directory: Path, limit: int) -> list[tuple[str, int]]:
    return [(clip.name, clip.rate_hz) for clip in load_clips(directory, limit)]


def test_a_clip_has_the_files_samples(tmp_path: Path) -> None:
    said = np.arange(-500, 500, dtype="<i2")
    with wave.open(str(tmp_path / "one.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(said.tobytes())
    (clip,) = load_clips(tmp_path, 10)
    assert (clip.name, clip.rate_hz) == ("one", 16000)
    assert clip.samples.dtype == np.int16
    assert np.array_equal(clip.samples, said)
    assert not clip.samples.flags.writeable


def test_folders_are_searched_in_the_order_of_paths_and_rates_take_turns(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c"):
        wav(tmp_path / f"{name}.wav", 8000)
    wav(tmp_path / "z.WAV", 16000)
    every = [("a", 8000), ("z", 16000), ("b/1", 8000), ("b/2", 8000), ("c", 8000)]
    for limit in range(1, 7):
        assert names(tmp_path, limit) == every[:limit]


def test_what_is_no_telephone_pcm_is_passed_over(tmp_path: Path) -> None:
    good = wav(tmp_path / "good.wav")
    wav(tmp_path / "stereo.wav", channels=2)
    wav(tmp_path / "wide.wav", width=3)
    wav(tmp_path / "music.wav", rate_hz=44100)
    (tmp_path / "text.wav").write_text("not a WAV file")
    (tmp_path / "nothing.wav").write_bytes(b"")
    (tmp_path / "head.wav").write_bytes(good.read_bytes()[:30])
    (tmp_path / "silent.wav").write_bytes(good.read_bytes()[:44])
    (tmp_path / "alaw.wav").write_bytes(good.read_bytes()[:20] + b"\x06\0" + good.read_bytes()[22:])
    (tmp_path / "notes.txt").write_bytes(good.read_bytes())
    (tmp_path / "folder.wav").mkdir()
    assert names(tmp_path, 99) == [("good", 8000)]


def test_a_file_that_was_cut_keeps_its_whole_samples(tmp_path: Path) -> None:
    whole = wav(tmp_path / "whole.wav", frames=400).read_bytes()
    (tmp_path / "whole.wav").write_bytes(whole[: 44 + 101])
    (clip,) = load_clips(tmp_path, 1)
    assert clip.samples.tobytes() == whole[44 : 44 + 100]


def test_a_folder_without_speech_is_an_error(tmp_path: Path) -> None:
    wav(tmp_path / "music.wav", rate_hz=44100)
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SpeechError, match="16-bit mono PCM"):
            load_clips(directory, 5)
