"""What systemd hands to a start: sockets that a unit lists, and what the daemon before has left in the fd store.

A start that is given nothing opens everything itself. Everything in the store goes by name, and is used only if it is
what this configuration would have made: a listener of an address that is still named, memory of the same layout and
sizes with the lines to its workers, the hub's socket if its file is still the one that it was bound to. The rest is
closed and forgotten, in words.

Sockets that a unit lists take the place of server.listen, with the same rule for public addresses.
"""

import logging
import os
import socket
from collections.abc import MutableMapping, Sequence

import msgspec

from audiohook.config import Config
from audiohook.config.rules import check_combinations
from audiohook.control.hub_socket import open_hub
from audiohook.errors import BootError, ConfigError
from audiohook.memory import layout
from audiohook.memory.arena import MemoryFiles, read_geometry
from audiohook.memory.layout import Geometry
from audiohook.net.listener import bound_address, open_listener
from audiohook.net.service_messages import (
    MEMORY_PARTS,
    Kept,
    PassedFd,
    forget,
    hub_name,
    line_name,
    listener_name,
    memory_name,
    sort_out,
)
from audiohook.net.systemd import Notifier, activated_listener, take_passed_fds

log = logging.getLogger("audiohook")

ACTIVATED = "systemd:"
"""How a listener that a unit lists is called, where others are called by their text in server.listen."""


def wanted_listeners(configured: Sequence[str], there: Sequence[str]) -> list[str]:
    """Return what to listen on, of the names of the listeners that are there: a unit's sockets are not given up."""
    return [text for text in there if text.startswith(ACTIVATED)] or list(configured)


class Inheritance:
    """What one start was handed. Each of the four is asked for once, `lines` after `memory`."""

    def __init__(self, kept: Kept, notifier: Notifier) -> None:
        self._kept = kept
        self._notifier = notifier
        for one in kept.strange:
            self._drop(one.fd, one.name)

    @classmethod
    def of(cls, environ: MutableMapping[str, str], notifier: Notifier) -> "Inheritance":
        """Take it from the environment. Raises BootError."""
        return cls(sort_out(take_passed_fds(environ)), notifier)

    def listeners(self, config: Config) -> list[tuple[str, socket.socket]]:
        """Return every listener with its name: the unit's, or the store's and newly opened ones. Raises BootError."""
        stored = list(self._kept.listeners)
        texts = [] if self._kept.activated else config.server.listen
        found = self._activated(config)
        try:
            for text in texts:
                known = next((one for one in stored if one[0] == text), None)
                if known is None:
                    found.append((text, open_listener(text, config.server.backlog)))
                    continue
                stored.remove(known)
                listener = socket.socket(fileno=known[1])
                listener.listen(config.server.backlog)
                found.append((text, listener))
        except BootError:
            for _, listener in found:
                listener.close()
            raise
        for text, fd in stored:
            self._drop(fd, listener_name(text))
        return found

    def _activated(self, config: Config) -> list[tuple[str, socket.socket]]:
        if not self._kept.activated:
            return []
        found = [(ACTIVATED + one.name, activated_listener(one)) for one in self._kept.activated]
        addresses = [bound_address(listener) for _, listener in found]
        server = msgspec.structs.replace(config.server, listen=addresses)
        try:
            check_combinations(msgspec.structs.replace(config, server=server), {"server.listen": "the socket unit"})
        except ConfigError as error:
            raise BootError(str(error)) from error
        log.info("listening on the sockets of the unit, not on server.listen: %s", ", ".join(addresses))
        return found

    def hub(self, path: str) -> socket.socket:
        """Return the hub's listening socket. Raises BootError."""
        stored = self._kept.hub
        if stored is not None:
            if stored.name == _name_of_file(path):
                return socket.socket(fileno=stored.fd)
            self._drop(stored.fd, stored.name)
        return open_hub(path)

    def memory(self, sizes: Geometry) -> MemoryFiles:
        """Return the memory files: those of the daemon before, with its calls, or new ones. Raises BootError."""
        stored = self._kept.memory
        if stored:
            fault = _misfit(stored, sizes)
            if not fault:
                log.info("the memory of the daemon before is taken on, with what is in it")
                return MemoryFiles.taken_on(stored)
            log.warning("the memory of the daemon before is given up, with what is in it: %s", fault)
            for part, fd in stored.items():
                self._drop(fd, memory_name(part))
        for row, fd in self._kept.lines.items():
            self._drop(fd, line_name(row))
        self._kept.lines.clear()
        return MemoryFiles(sizes)

    def lines(self) -> dict[int, int]:
        """Return our end of the command line of each row's worker: of the rows of the memory that was taken on."""
        return dict(self._kept.lines)

    def _drop(self, fd: int, name: str) -> None:
        os.close(fd)
        self._notifier.send(forget(name))


def _name_of_file(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return hub_name(found.st_dev, found.st_ino)


def _misfit(stored: dict[str, int], sizes: Geometry) -> str:
    missing = [part for part in MEMORY_PARTS if part not in stored]
    if missing:
        return f"{', '.join(missing)} is not in the fd store; is FileDescriptorStoreMax= too small?"
    try:
        there = read_geometry(stored["arena"])
    except BootError as error:
        return str(error)
    if there != sizes:
        return "the configuration wants other sizes"
    text = os.pread(stored["arena"], len(layout.HEADER) * layout.WORD_BYTES, 0)
    header = dict(zip(layout.HEADER, memoryview(text).cast("Q"), strict=True))
    wanted = {name: getattr(sizes, name) for name in layout.HEADER if name.endswith("_offset")}
    if {"version": layout.VERSION_WORD, **wanted} != {name: header[name] for name in ("version", *wanted)}:
        return "this release has another layout of the shared memory"
    return ""


def stored_things(
    listeners: Sequence[tuple[str, socket.socket]], files: MemoryFiles, hub: socket.socket, hub_path: str
) -> list[PassedFd]:
    """Return what belongs into the fd store, by name. A unit's own sockets do not: systemd has them."""
    things = [PassedFd(fd, memory_name(part)) for part, fd in files.descriptors().items()]
    things += [
        PassedFd(listener.fileno(), listener_name(text))
        for text, listener in listeners
        if not text.startswith(ACTIVATED)
    ]
    name = _name_of_file(hub_path)
    return [*things, PassedFd(hub.fileno(), name)] if name else things
