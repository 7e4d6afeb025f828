"""Debian's packages without installing them: downloaded and unpacked with apt and dpkg, as any user, into a folder.

Nothing is installed, apt's caches and lists are not written, the configured hooks do not run. The system's package
lists are tried first; where they are missing or too old, lists of our own are fetched into the working folder. Every
step has a time limit. Knows nothing of what is in a package.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from audiohook.errors import AudiohookError

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


class PackagesError(AudiohookError):
    """The packages cannot be had here; the message is a line that says why."""


def download(packages: list[str], work: Path) -> list[Path]:
    """Fetch the packages into the empty folder `work`; return their archives. Raises PackagesError.

    With lists of our own if the system's do not lead to them.
    """
    for command in ("apt-get", "dpkg"):
        if shutil.which(command) is None:
            raise PackagesError(f"there is no {command} here")
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
            raise PackagesError(failure)
    return sorted(work.glob("*.deb"))


def unpack(archives: list[Path], work: Path) -> Path:
    """Unpack the archives one over the other into a folder below `work`, which is returned. Raises PackagesError."""
    unpacked = work / "unpacked"
    for archive in archives:
        failure = _run(["dpkg", "-x", str(archive.absolute()), str(unpacked.absolute())], work)
        if failure:
            raise PackagesError(failure)
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
