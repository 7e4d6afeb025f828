"""Plays systemd for one unit: a real datagram socket that hears notifications, a descriptor store, and starts with it.

Does what sd_notify(3) says of FDSTORE, FDSTOREREMOVE and BARRIER, and remembers every message in order.
"""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tests.support.daemon import Daemon


class ServiceManager:
    """Use as a context: `start` starts daemons under it."""

    def __init__(self, folder: Path, start_daemon: Callable[..., Daemon], watchdog_seconds: float = 0) -> None:
        self._folder = folder
        self._start_daemon = start_daemon
        self._watchdog_usec = int(watchdog_seconds * 1e6)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(f"\0{folder}/notify")
        self._notify.settimeout(0.05)
        self._passing = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._passing.bind(str(folder / "passing"))
        self._passing.listen()
        self._ended = False
        self._thread = threading.Thread(target=self._hear)
        self.messages: list[str] = []
        self.store: list[tuple[str, int]] = []
        """What is kept: name and descriptor."""

    def __enter__(self) -> "ServiceManager":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended = True
        self._thread.join()
        self._notify.close()
        self._passing.close()
        for _, fd in self.store:
            os.close(fd)

    def _hear(self) -> None:
        while not self._ended:
            try:
                data, fds, _, _ = socket.recv_fds(self._notify, 65_536, 250)
            except TimeoutError:
                continue
            message = data.decode()
            self.messages.append(message)
            fields = dict(line.split("=", 1) for line in message.splitlines())
            if "FDSTORE" in fields:
                self.store += [(fields["FDNAME"], fd) for fd in fds if not self._has(fields["FDNAME"], fd)]
            else:
                for fd in fds:
                    os.close(fd)
            if "FDSTOREREMOVE" in fields:
                for name, fd in self.store:
                    if name == fields["FDNAME"]:
                        os.close(fd)
                self.store = [one for one in self.store if one[0] != fields["FDNAME"]]

    def _has(self, name: str, fd: int) -> bool:
        """systemd compares by kcmp(2): what is there already is closed. Names do here."""
        there = any(known == name for known, _ in self.store)
        if there:
            os.close(fd)
        return there

    def start(self, *settings: str, sockets: Sequence[tuple[str, socket.socket]] = ()) -> Daemon:
        """Start a daemon with the unit's sockets and what is stored, and wait until it serves."""
        return self._started(self._start_daemon, settings, sockets)

    def attempt(self, *settings: str, sockets: Sequence[tuple[str, socket.socket]] = ()) -> Daemon:
        """Start a daemon that may fail: a context, as `Daemon` is."""
        return self._started(Daemon, settings, sockets)

    def _started(
        self, start: Callable[..., Daemon], settings: Sequence[str], sockets: Sequence[tuple[str, socket.socket]]
    ) -> Daemon:
        environment = {"NOTIFY_SOCKET": f"@{self._folder}/notify", "AUDIOHOOK_PASSING": str(self._folder / "passing")}
        if self._watchdog_usec:
            environment["WATCHDOG_USEC"] = str(self._watchdog_usec)
        passed = [(name, one.fileno()) for name, one in sockets] + self.store
        starter = threading.Thread(target=self._pass, args=[passed])
        starter.start()
        try:
            return start(*settings, environment=environment, module="tests.support.passing")
        finally:
            starter.join()

    def _pass(self, passed: list[tuple[str, int]]) -> None:
        line, _ = self._passing.accept()
        with line:
            socket.send_fds(line, [":".join(name for name, _ in passed).encode() or b" "], [fd for _, fd in passed])

    def names(self) -> list[str]:
        return sorted(name for name, _ in self.store)

    def heard(self, start: str) -> list[int]:
        """Return the places, in the order of arrival, of the messages that begin so."""
        return [at for at, message in enumerate(list(self.messages)) if message.startswith(start)]
