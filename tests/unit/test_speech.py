"""Clips from any folder of WAV files, and `obtain`: made once, whole or not at all, by one process at a time."""

import fcntl
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from audiohook.load.speech import SpeechError, load_clips, obtain
from audiohook.load.speech_spoken import SENTENCES

OBTAIN = "import sys, pathlib; from audiohook.load.speech import obtain; print(obtain(pathlib.Path(sys.argv[1])))"


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


@pytest.fixture
def no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without apt-get, so that sentences are spoken, here and in child processes; returns a folder for `var`."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-commands"))
    return tmp_path / "var"


def is_complete(directory: Path) -> bool:
    return len(list(directory.rglob("*.wav"))) == 2 * len(SENTENCES)


def test_sentences_are_spoken_where_there_is_no_apt(no_apt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = obtain(no_apt)
    assert is_complete(directory)
    said = capsys.readouterr()
    assert said.out == "", "stdout belongs to reports"
    assert said.err.endswith(f"speech: sentences spoken by espeak-ng, in {directory}\n")
    clips = load_clips(directory, 99)
    assert {clip.rate_hz for clip in clips} == {8000, 16000}
    assert all(len(clip.samples) > 2 * clip.rate_hz for clip in clips)


def test_the_second_call_makes_nothing_and_waits_for_nobody(no_apt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = obtain(no_apt)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    capsys.readouterr()
    with (no_apt / "speech/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert obtain(no_apt) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    assert capsys.readouterr().err.count("\n") == 1


def test_several_processes_at_once_make_one_folder(no_apt: Path) -> None:
    command = [sys.executable, "-c", OBTAIN, str(no_apt)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert {out.strip() for out, _ in said} == {str(no_apt / "speech/spoken")}
    assert sum("made ready" in err for _, err in said) == 1
    assert is_complete(no_apt / "speech/spoken")
    assert sorted(path.name for path in (no_apt / "speech").iterdir()) == ["lock", "spoken"]


def test_a_killed_maker_leaves_nothing_that_others_trip_over(no_apt: Path) -> None:
    """Killed as soon as it has begun: no half folder has the final name; the next call makes one and tidies up."""
    home = no_apt / "speech"
    killed = subprocess.Popen([sys.executable, "-c", OBTAIN, str(no_apt)], stderr=subprocess.PIPE, env=os.environ)
    assert killed.stderr is not None
    assert b"made ready" in killed.stderr.readline()
    killed.kill()
    killed.communicate(timeout=60)
    was_complete = (home / "spoken").exists()
    assert not was_complete or is_complete(home / "spoken")
    (home / "new.dead" / "spoken").mkdir(parents=True, exist_ok=True)
    assert is_complete(obtain(no_apt))
    assert (home / "new.dead").exists() == was_complete
    if not was_complete:
        assert sorted(path.name for path in home.iterdir()) == ["lock", "spoken"]


def test_no_source_at_all_is_an_error_with_every_reason(no_apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechError, match=r"no apt-get here.*espeakng-loader.*--audio"):
        obtain(no_apt)
    assert [path.name for path in (no_apt / "speech").iterdir()] == ["lock"]
