"""A program's connection for commands: one request, one answer. Public, as `audiohook.Commander`.

For `audiohookctl`, and for programs in role `speak` that send events (docs/commanding.md). What can be asked is listed
in `protocol.py`. Maps no memory: who commands calls need not be allowed to listen. Not `DeskClient`, which readers
share: there a command that waits for its streams would hold up a watch.
"""

import socket
import threading
from typing import Any, Self

from audiohook.control import protocol
from audiohook.control.attachment import find_hub
from audiohook.errors import HubUnavailable

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 8.0
"""The desk answers in five."""

MAX_ANSWER_BYTES = 262_144


class Commander:
    """One connection, made when it is first needed and again after a failure. Usable from several threads, in turn."""

    def __init__(self, path: str | None = None) -> None:
        """`path` is the hub's socket; None: AUDIOHOOK_HUB, else the usual places.

        Raises HubUnavailable if there is none; that somebody answers there is found out by the first command.
        """
        self.path = find_hub(path)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Ask the hub to do something and return its answer, whose `ok` says whether all of it was done.

        Raises HubUnavailable if there is no answer: nobody is there, or the connection ended or fell silent. Never asks
        a second time by itself, since the first may have been heard.
        """
        with self._lock:
            try:
                return self._exchange(protocol.encode({"do": do, **fields}))
            except HubUnavailable:
                self._disconnect()
                raise

    def _exchange(self, request: bytes) -> dict[str, Any]:
        if self._socket is None:
            self._socket = self._connect()
        try:
            self._socket.send(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a desk that is full says so and closes before it is asked: its words are still there to be read
        except OSError as error:
            raise HubUnavailable(f"{self.path}: the request cannot be sent: {error.strerror or error}") from error
        try:
            packet = _receive(self._socket)
        except TimeoutError as error:
            raise HubUnavailable(
                f"{self.path}: no answer in {ANSWER_SECONDS:g} s; it may still be carried out"
            ) from error
        except OSError as error:
            raise HubUnavailable(f"{self.path}: {error.strerror or error}") from error
        answer = protocol.decode(packet)
        if answer is None:
            raise HubUnavailable(f"{self.path}: the hub closed the connection without an answer; it may be carried out")
        return answer

    def _connect(self) -> socket.socket:
        hub = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        hub.settimeout(CONNECT_SECONDS)
        try:
            hub.connect(self.path)
        except OSError as error:
            hub.close()
            raise HubUnavailable(
                f"no hub at {self.path}: {error.strerror or error}; is audiohookd running? "
                "Name another path in AUDIOHOOK_HUB"
            ) from error
        hub.settimeout(ANSWER_SECONDS)
        return hub

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _receive(hub: socket.socket) -> bytes:
    """Return one packet, b"" at the end. The kernel may report a broken connection before what was still said on it."""
    try:
        return hub.recv(MAX_ANSWER_BYTES)
    except ConnectionResetError:
        return hub.recv(MAX_ANSWER_BYTES)
