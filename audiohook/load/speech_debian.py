"""Recorded speech: the prompts of Debian's packages `asterisk-core-sounds-en-wav` (8 kHz) and `-g722` (16 kHz).

They are downloaded and unpacked with apt and dpkg as they are on any Debian or Ubuntu, by any user: nothing is
installed, apt's caches and lists are not written, the configured hooks do not run. The system's package lists are tried
first; where they are missing or too old, lists of our own are fetched into the working folder. Every step has a time
limit.

The 16 kHz prompts are G.722 and need the wheel `G722`; without it there are the 8 kHz ones only.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from audiohook.load.speech_source import SpeechError, write_wav

PACKAGE_8000 = "asterisk-core-sounds-en-wav"
PACKAGE_16000 = "asterisk-core-sounds-en-g722"

SHORTEST_SECONDS = 2.0
"""Shorter prompts (digits, letters) are left out: a call that repeats one sounds like a stuck record."""

STEP_SECONDS = 60.0
"""How long one run of apt or dpkg may take."""

# After the system's own configuration, so that it wins. The hooks would act on the system (docker-clean, for one,
# empties its archive cache); the empty cache names keep apt from writing there; no sandbox user: he could not write
# here.
_APT_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Cache::archives "{work}/archives";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "0";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
"""


def make(directory: Path) -> None:
    """Fill `directory` with `8000/*.wav`, `16000/*.wav` and the packages' copyright files; raise `SpeechError`."""
    for command in ("apt-get", "dpkg"):
        if shutil.which(command) is None:
            raise SpeechError(f"there is no {command} here")
    packages = [PACKAGE_8000] + [PACKAGE_16000] * (find_spec("G722") is not None)
    with tempfile.TemporaryDirectory(prefix="debian.", dir=directory.parent, ignore_cleanup_errors=True) as work:
        unpacked = _unpack(_download(packages, Path(work)), Path(work))
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


def _download(packages: list[str], work: Path) -> list[Path]:
    """Fetch the packages into `work`; with lists of our own if the system's do not lead to them."""
    configuration = work / "apt.conf"
    configuration.write_text(_APT_CONFIGURATION.format(work=work.absolute()))
    (work / "archives/partial").mkdir(parents=True)
    apt = ["apt-get", "-q", "-c", str(configuration.absolute())]
    if _run([*apt, "download", *packages], work):
        (work / "lists/partial").mkdir(parents=True)
        apt += ["-o", f"Dir::State::lists={work.absolute()}/lists"]
        # Whether it fails does not matter, one of many sources may be out of reach: the download tells.
        _run([*apt, "update"], work)
        failure = _run([*apt, "download", *packages], work)
        if failure:
            raise SpeechError(failure)
    return sorted(work.glob("*.deb"))


def _unpack(archives: list[Path], work: Path) -> Path:
    unpacked = work / "unpacked"
    for archive in archives:
        failure = _run(["dpkg", "-x", str(archive.absolute()), str(unpacked.absolute())], work)
        if failure:
            raise SpeechError(failure)
    return unpacked


def _run(command: list[str], work: Path) -> str:
    """Run `command` in `work`; return "" or, in a line, why it failed.

    Its output goes to a file and its process group is killed at the time limit: apt's children would hold a pipe open.
    """
    name = " ".join([command[0], *[word for word in command[1:] if word in ("update", "download")]])
    log = work / "log"
    environment = {**os.environ, "LC_ALL": "C"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(STEP_SECONDS)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return f"{name} took longer than {STEP_SECONDS:.0f} s"
            raise
    if status == 0:
        return ""
    said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(("E:", "dpkg"))]
    return f"{name} failed: {said[-1] if said else f'exit status {status}'}"
