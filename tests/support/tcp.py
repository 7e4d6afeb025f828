"""Connected TCP sockets on loopback, and waiting for one to become ready, with a generous deadline."""

import select
import socket
from typing import Protocol

PATIENCE_SECONDS = 20


class HasDescriptor(Protocol):
    def fileno(self) -> int: ...


def tcp_pair(buffer_bytes: int = 0) -> tuple[socket.socket, socket.socket]:
    """Return (accepted, connected). The connected one is blocking, with a time limit.

    With `buffer_bytes` the kernel keeps little of what the accepted side sends and the other one does not read.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connected = socket.socket()
        connected.settimeout(PATIENCE_SECONDS)
        if buffer_bytes:
            # Before connecting: a window that was once offered is not taken back.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        connected.connect(listener.getsockname())
        accepted, _ = listener.accept()
    if buffer_bytes:
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    return accepted, connected


def wait_readable(source: HasDescriptor) -> None:
    readable, _, _ = select.select([source], [], [], PATIENCE_SECONDS)
    assert readable, f"nothing to read within {PATIENCE_SECONDS} s"
