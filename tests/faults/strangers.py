"""Peers that connect and mean no call: they hold connections open and say little, or nothing.

Thousands of them in one thread: non-blocking sockets in one selector, from addresses of their own (127.0.1.1 and up).
"""

import resource
import selectors
import socket
import time
from collections import Counter

from tests.support.daemon import PATIENCE_S
from tests.support.peer import Address

REQUEST = b"GET /audio HTTP/1.1\r\nhost: audio.example\r\nx-filler: "
STEP_S = 0.5
CONNECTS_A_SECOND = 2000
"""From elsewhere it could be any number. Here they are made by the processors that have to accept them."""

SOURCES = 250


class Strangers:
    """So many connections, each closed at the latest on leaving the `with` block."""

    def __init__(self, address: Address, count: int, says: bytes = REQUEST) -> None:
        _raise_descriptor_limit()
        self._address = address
        self._says = says
        self._selector = selectors.DefaultSelector()
        self._open: list[socket.socket] = []
        self._count = count
        self.answers: Counter[str] = Counter()
        """How each connection that has ended did: the status that was read, or "dropped"."""

    def __enter__(self) -> "Strangers":
        began_s = time.monotonic()
        for number in range(self._count):
            while (early_s := began_s + number / CONNECTS_A_SECOND - time.monotonic()) > 0:
                self._turn(early_s)
            connection = socket.socket()
            connection.bind((f"127.0.1.{1 + number % SOURCES}", 0))
            connection.setblocking(False)
            connection.connect_ex(self._address)
            self._open.append(connection)
            self._selector.register(connection, selectors.EVENT_WRITE, b"")
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open:
            connection.close()
        self._selector.close()

    def __len__(self) -> int:
        return len(self._open)

    def drip(self, seconds: float) -> None:
        """Say one byte more now and then, until the time is over or the last one has been let go."""
        until_s = time.monotonic() + seconds
        while self._open and time.monotonic() < until_s:
            step_s = time.monotonic() + STEP_S
            while (left_s := step_s - time.monotonic()) > 0:
                self._turn(left_s)
            for connection in self._open:
                self._say(connection, b"x")

    def wait_ended(self) -> None:
        """Wait until the daemon has ended all of them."""
        until_s = time.monotonic() + PATIENCE_S
        while self._open:
            self._turn(0.1)
            assert time.monotonic() < until_s, f"{len(self._open)} connections are still open"

    def _turn(self, seconds: float) -> None:
        for key, mask in self._selector.select(seconds):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if mask & selectors.EVENT_WRITE:
                self._say(connection, self._says)
                self._selector.modify(connection, selectors.EVENT_READ, b"")
                continue
            try:
                data = connection.recv(4096)
            except OSError:
                data = b""
            if data:
                self._selector.modify(connection, selectors.EVENT_READ, key.data + data)
            else:
                self._ended(connection, key.data)

    def _say(self, connection: socket.socket, data: bytes) -> None:
        try:
            connection.send(data)
        except OSError:
            pass  # found by the next read

    def _ended(self, connection: socket.socket, heard: bytes) -> None:
        self._selector.unregister(connection)
        self._open.remove(connection)
        connection.close()
        self.answers[heard[9:12].decode() or "dropped"] += 1


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
