"""What one image of the supervisor leaves to the next: JSON in a memfd, by which a reload goes on where it stopped.

Pure. A descriptor is its number: all that are named here are kept over execve. The image that goes writes it, stage 0
(`cli/stage0.py`) reads `image`, `back`, `keep`, `patience_seconds`, `stage0_fd`, `arguments` and the children's pids
out of it with nothing but the standard library, the image that comes reads all of it.

VERSION changes when an image could misunderstand what another has written. The trial process of a reload reads a
handover as it would be, so one that it does not understand is a reload that does not happen.
"""

from typing import Any

import msgspec

from audiohook.errors import BootError
from audiohook.supervisor.state import State
from audiohook.supervisor.switchboard import Waiting

VERSION = 1


class KeptChild(msgspec.Struct, frozen=True):
    """A process that lives on. `unread` is what of its last report was there, byte for character (latin-1)."""

    place: int
    pid: int
    started_ticks: int
    report_fd: int | None
    unread: str
    beats: int
    command_fd: int | None
    pidfd: int | None = None
    """Of one that is not ours to reap (`supervisor/orphans.py`)."""


class Lot(msgspec.Struct, frozen=True):
    """The arbiter's part: the policy's state, the processes, the commands that wait, and the lifeline's two ends."""

    state: State
    children: list[KeptChild]
    waiting: list[Waiting]
    last_ticket: int
    lifeline: tuple[int, int]

    @property
    def fds(self) -> list[int]:
        of_children = [(child.report_fd, child.command_fd, child.pidfd) for child in self.children]
        return [*self.lifeline, *(fd for fds in of_children for fd in fds if fd is not None)]


class KeptImage(msgspec.Struct, frozen=True):
    """Code that can be started again: its files in a memfd, and the text of its stage 0 in another."""

    snapshot_fd: int
    stage0_fd: int


class Handover(msgspec.Struct, frozen=True):
    """All of it. `config` is the configuration that the image which writes this runs by, as plain values."""

    version: int
    image: str
    """What to put first into sys.path: a snapshot for the old code, nothing for what is on the disk."""
    back: str
    """The same for the image that is to be started if this one cannot take over; nothing if there is no other."""
    fault: str
    """Why the old code is started again."""
    stage0_fd: int
    former: KeptImage
    """The code to go back to."""
    arguments: list[str]
    config: dict[str, Any]
    patience_seconds: float
    memory: dict[str, int]
    layout: dict[str, Any]
    """The shared memory's, as `cli/fitting.py` compares it."""
    listeners: list[tuple[str, int]]
    """Each with its address as the configuration had it."""
    hub_fd: int
    hub_path: str
    hub_inode: int
    lot: Lot
    keep: list[int]
    """Every descriptor that is to be kept."""


class _Versioned(msgspec.Struct):
    version: int


def encode(handover: Handover) -> bytes:
    return msgspec.json.encode(handover)


def decode(text: bytes) -> Handover:
    """Return what `encode` was given. Raises BootError for what this code does not understand."""
    try:
        version = msgspec.json.decode(text, type=_Versioned).version
        if version == VERSION:
            return msgspec.json.decode(text, type=Handover)
    except msgspec.DecodeError as error:
        raise BootError(f"the state of the running daemon cannot be read: {error}; a restart is needed") from error
    raise BootError(
        f"the running daemon hands its state over in version {version}, this code reads {VERSION}: a restart is needed"
    )
