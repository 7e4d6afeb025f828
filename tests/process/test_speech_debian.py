"""Debian's recorded prompts: fetched for real (once, into `var/`), and what happens where they cannot be had."""

import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from audiohook.load import debian_packages, speech_debian
from audiohook.load.speech import Clip, load_clips, obtain
from audiohook.load.speech_source import SpeechError

VAR = Path(__file__).parents[2] / "var"


@pytest.fixture(scope="module")
def directory() -> Path:
    directory = obtain(VAR)
    if directory.name != "debian":
        pytest.skip("Debian's packages could not be had when var/speech was made: no apt, or no network")
    return directory


@pytest.fixture(scope="module")
def clips(directory: Path) -> dict[str, Clip]:
    return {clip.name: clip for clip in load_clips(directory, 10_000)}


def test_there_are_minutes_of_speech_at_both_rates(clips: dict[str, Clip]) -> None:
    for rate_hz in (8000, 16000):
        seconds = [len(clip.samples) / rate_hz for clip in clips.values() if clip.rate_hz == rate_hz]
        assert len(seconds) > 100
        assert sum(seconds) > 600
        assert min(seconds) >= speech_debian.SHORTEST_SECONDS
    assert all(name.startswith(str(clip.rate_hz)) for name, clip in clips.items())


def test_no_clip_is_silent(clips: dict[str, Clip]) -> None:
    assert min(np.abs(clip.samples.astype(int)).max() for clip in clips.values()) > 3000


def test_the_wideband_prompts_say_the_same_as_the_narrowband_ones(clips: dict[str, Clip]) -> None:
    """The two packages hold one recording, so this shows that G.722 was decoded, and at the right rate.

    Compared from 300 to 4,000 Hz: below, the narrowband ones were filtered before they were published.
    """
    for name in sorted(name for name in clips if name.startswith("16000/"))[:40]:
        spectra = []
        for twin, top in ((name, 2), (name.replace("16000/", "8000/"), 1)):
            first_seconds = clips[twin].samples[: 32000 * top]
            spectrum = np.fft.rfft(first_seconds, 1 << (16 + top))[: 1 << 16]
            spectrum[: round(300 / 4000 * len(spectrum))] = 0
            spectra.append(spectrum)
        together = np.fft.irfft(spectra[0] * spectra[1].conj())
        alone = [np.fft.irfft(np.abs(spectrum) ** 2)[0] for spectrum in spectra]
        assert together.max() / np.sqrt(alone[0] * alone[1]) > 0.7, name


def test_the_licence_comes_along(directory: Path) -> None:
    for package in (speech_debian.PACKAGE_8000, speech_debian.PACKAGE_16000):
        assert "CC-BY-SA-3.0" in (directory / f"{package}.copyright").read_text(encoding="utf-8")


def test_packages_that_apt_cannot_find_are_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without package lists and without sources: the update that is tried brings nothing either."""
    configuration = tmp_path / "apt.conf"
    (tmp_path / "lists/partial").mkdir(parents=True)
    configuration.write_text(
        f'Dir::State::lists "{tmp_path}/lists"; Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "/dev/null";'
    )
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    filled = tmp_path / "filled"
    filled.mkdir()
    with pytest.raises(SpeechError, match="apt-get"):
        speech_debian.make(filled)
    assert list(filled.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apt.conf", "filled", "lists"]


def _is_dead(pid: int) -> bool:
    """Say whether the process is over, if only as a zombie: not every machine has somebody who reaps orphans."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def test_a_step_that_takes_too_long_is_ended_with_all_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian_packages, "STEP_SECONDS", 0.3)
    said = debian_packages._run(["sh", "-c", "sleep 600 & echo $! > child; wait"], tmp_path)
    assert said == "sh took longer than 0 s"
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 30
    while not _is_dead(child):  # killed with its parent, it may run on for a moment yet
        assert time.monotonic() < deadline, f"{child} runs on"
        time.sleep(0.01)


def test_a_step_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    assert debian_packages._run(["sh", "-c", "exit 0"], tmp_path) == ""
    assert debian_packages._run(["sh", "-c", "exit 7"], tmp_path) == "sh failed: exit status 7"
    assert debian_packages._run(["sh", "-c", "echo W: a; echo E: b; exit 1"], tmp_path) == "sh failed: E: b"
