"""`obtain`: speech is made once, whole or not at all, by one process at a time."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audiohook.load.speech import SpeechError, load_clips, obtain
from audiohook.load.speech_spoken import SENTENCES

OBTAIN = "import sys, pathlib; from audiohook.load.speech import obtain; print(obtain(pathlib.Path(sys.argv[1])))"


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
