"""The sockets between the daemon and systemd: the one that it is notified through, and those that it passes.

What is said on them is `net/service_messages.py`'s. Without systemd every call here does nothing. Invariants: nothing
that systemd does, or fails to do, keeps the supervisor from its work for longer than `PATIENCE_S`; a notification that
could not be sent is logged, once.
"""

import array
import logging
import os
import select
import socket
from collections.abc import Mapping, MutableMapping, Sequence

from audiohook.errors import BootError
from audiohook.net.service_messages import BARRIER, PassedFd, notify_address, take_passed

log = logging.getLogger("audiohook")

PATIENCE_S = 5.0
"""What READY, STOPPING and stored descriptors are worth: systemd's queue is short, and it may be busy itself."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)


class Notifier:
    """The sending end. `address` is None where nobody listens."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._faulty = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Notifier":
        """Raises BootError."""
        return cls(notify_address(environ))

    @property
    def listened_to(self) -> bool:
        return self._address is not None

    def send(self, message: str, fds: Sequence[int] = (), *, wait: bool = True) -> None:
        """Send a message, with descriptors. With `wait` false it is dropped when there is no room: another follows."""
        if self._address is None:
            return
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE_S if wait else 0)
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
        try:
            self._socket.sendmsg([message.encode()], passed, 0, self._address)
        except BlockingIOError:
            pass
        except OSError as error:
            if not self._faulty:
                self._faulty = True
                log.error("systemd cannot be notified: %s", error.strerror or error)

    def barrier(self) -> bool:
        """Wait until systemd has read all that was sent before; return whether it has."""
        if self._address is None or self._faulty:
            return False
        ours, theirs = os.pipe()
        try:
            self.send(BARRIER, [theirs])
        finally:
            os.close(theirs)
        poll = select.poll()
        poll.register(ours, 0)
        try:
            return bool(poll.poll(PATIENCE_S * 1000))
        finally:
            os.close(ours)

    def close(self) -> None:
        """Let go of the socket; the next message opens another. For a forked child, too."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def take_passed_fds(environ: MutableMapping[str, str]) -> list[PassedFd]:
    """Return what this process was started with, close-on-exec from now on. Raises BootError."""
    passed = take_passed(environ, os.getpid())
    for one in passed:
        try:
            os.set_inheritable(one.fd, False)
        except OSError as error:
            raise BootError(f"LISTEN_FDS names descriptor {one.fd}, which is not there") from error
    return passed


def activated_listener(passed: PassedFd) -> socket.socket:
    """Return the socket that a unit lists, non-blocking. Raises BootError for all but a listening TCP socket."""
    where = f'the socket "{passed.name}" of the unit (descriptor {passed.fd})'
    try:
        made = socket.socket(fileno=os.dup(passed.fd))
    except OSError as error:
        raise BootError(f"{where} is no socket: {error.strerror}; the unit may list ListenStream= only") from error
    fault = _fault(made)
    if fault:
        made.close()
        raise BootError(f"{where} {fault}")
    os.close(passed.fd)
    made.setblocking(False)
    return made


def _fault(made: socket.socket) -> str:
    if made.family not in _INTERNET:
        return "is of another family than IPv4 or IPv6: write ListenStream=[ADDRESS:]PORT"
    if made.type != socket.SOCK_STREAM:
        return "is no stream socket: write ListenStream=, not ListenDatagram= or ListenSequentialPacket="
    if not made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: one connection was passed; write Accept=no in the socket unit"
    return ""
