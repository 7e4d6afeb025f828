"""What the supervisor owns besides processes: memory files, listeners, the hub's socket, and its own code.

Opened by the first image, taken on by every later one, closed by nobody in between. Addresses are told apart by the
text that the configuration has for them. What a new configuration no longer names is kept until nothing leads back.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from audiohook.cli.image import Image, take_image
from audiohook.cli.inheritance import Inheritance, wanted_listeners
from audiohook.config import Config, hub_path
from audiohook.control.hub_socket import remove_hub
from audiohook.errors import BootError
from audiohook.memory.arena import MemoryFiles
from audiohook.memory.layout import Geometry
from audiohook.net.listener import open_listener
from audiohook.supervisor.handover import Handover


@dataclass(slots=True)
class Belongings:
    """All of it. `listeners` are in the order of server.listen; `dropped` are those that it does not name any more."""

    files: MemoryFiles
    listeners: list[tuple[str, socket.socket]]
    hub: socket.socket
    hub_path: str
    hub_inode: int
    image: Image
    former: Image | None = None
    """The code that ran before, as long as it may be gone back to."""
    dropped: list[tuple[str, socket.socket]] = field(default_factory=list)
    lines: dict[int, int] = field(default_factory=dict)
    """Of a daemon before, until it is known who of its workers lives (`cli/unit.py`)."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple(listener for _, listener in self.listeners)

    @property
    def every_listener(self) -> list[tuple[str, socket.socket]]:
        return [*self.listeners, *self.dropped]

    def settle(self) -> None:
        """Let go of what only a way back would need."""
        for _, listener in self.dropped:
            listener.close()
        self.dropped = []
        if self.former is not None:
            self.former.close()
            self.former = None

    def forked(self, snapshot_needed: bool) -> None:
        """In a worker: close what is not its own. It imports from the snapshot only if that is what it runs from."""
        # With orphans holding it, the hub would take connections that nobody serves.
        self.hub.close()
        os.close(self.files.read_only)
        for _, listener in self.dropped:
            listener.close()
        if self.former is not None:
            self.former.close()
        os.close(self.image.stage0_fd)
        if not snapshot_needed:
            os.close(self.image.snapshot_fd)

    def give_up(self) -> None:
        remove_hub(self.hub, self.hub_path, self.hub_inode)


def open_belongings(config: Config, sizes: Geometry, inheritance: Inheritance) -> Belongings:
    """Open everything for the first time, or take it from where a daemon before has left it. Raises BootError."""
    listeners = inheritance.listeners(config)
    path = hub_path(config, os.environ)
    hub = inheritance.hub(path)
    try:
        inode = os.stat(path).st_ino
        image = take_image()
    except OSError as error:
        hub.close()
        raise BootError(f"the start cannot be finished: {error}") from error
    try:
        files = inheritance.memory(sizes)
    except BaseException:
        remove_hub(hub, path, inode)
        raise
    return Belongings(files, listeners, hub, path, inode, image, lines=inheritance.lines())


def take_on_belongings(handover: Handover, config: Config) -> Belongings:
    """Take on what another image has left; open the addresses that are new. Raises BootError."""
    kept = [(text, socket.socket(fileno=fd)) for text, fd in handover.listeners]
    for fd in handover.keep:
        os.set_inheritable(fd, False)
    listeners = []
    for text in wanted_listeners(config.server.listen, [text for text, _ in kept]):
        known = next((one for one in kept if one[0] == text), None)
        if known is None:
            listeners.append((text, open_listener(text, config.server.backlog)))
        else:
            kept.remove(known)
            listeners.append(known)
    former = Image(handover.former.snapshot_fd, handover.former.stage0_fd)
    return Belongings(
        MemoryFiles.taken_on(handover.memory),
        listeners,
        socket.socket(fileno=handover.hub_fd),
        handover.hub_path,
        handover.hub_inode,
        former if handover.image else take_image(),
        None if handover.image else former,
        kept,
    )


def new_addresses(handover: Handover, texts: Sequence[str]) -> list[str]:
    """Return the addresses of a configuration for which a listener would have to be opened."""
    kept = [text for text, _ in handover.listeners]
    new = []
    for text in wanted_listeners(texts, kept):
        if text in kept:
            kept.remove(text)
        else:
            new.append(text)
    return new
