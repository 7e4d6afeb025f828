"""The code that this process runs, kept in memory: what a reload that fails goes back to.

`pip install --upgrade` replaces the files under a running daemon, so the old code is not on the disk any more when it
is needed. Its Python files are therefore copied into a memfd when they are loaded, as a zip archive that Python
imports from (`/proc/self/fd/N` in sys.path), together with the text of stage 0. Only this package: its libraries and
the interpreter are those of the disk, also for the old code.
"""

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import audiohook
from audiohook.supervisor.handover import KeptImage

STAGE0 = "audiohook/cli/stage0.py"


@dataclass(frozen=True, slots=True)
class Image:
    """Descriptors of the archive and of the text; `path` is what has to come first in sys.path to run it."""

    snapshot_fd: int
    stage0_fd: int

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self.snapshot_fd}"

    @property
    def kept(self) -> KeptImage:
        return KeptImage(self.snapshot_fd, self.stage0_fd)

    @property
    def fds(self) -> list[int]:
        return [self.snapshot_fd, self.stage0_fd]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


def take_image() -> Image:
    """Copy the package from the folder that it was imported from. Raises OSError."""
    files = dict(_files())
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            # Not `write`: it refuses times before 1980, which reproducible packages have.
            archive.writestr(name, content)
    return Image(_memfd("snapshot", written.getvalue()), _memfd("stage0", files[STAGE0]))


def is_on_disk(snapshot_fd: int) -> bool:
    """Return whether the package that this process has imported is that of an image, file by file. Raises OSError."""
    # Opened anew: the descriptor's position is shared with the daemon.
    with zipfile.ZipFile(f"/proc/self/fd/{snapshot_fd}") as archive:
        return {name: archive.read(name) for name in archive.namelist()} == dict(_files())


def _files() -> Iterator[tuple[str, bytes]]:
    folder = Path(audiohook.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        yield str(path.relative_to(folder.parent)), path.read_bytes()


def _memfd(name: str, content: bytes) -> int:
    fd = os.memfd_create(f"audiohook:{name}", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd
