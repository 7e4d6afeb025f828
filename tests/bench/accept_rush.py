"""A crowd that comes at once, and how long each waits for its 101: a thousand calls after a network was away.

One process, no thread: all connect within RUSH_S without waiting for one another, each asks as soon as it is connected.
First they come as new calls. Then all connections are reset, their streams wait for them, and all come back.
"""

import io
import selectors
import socket
import struct
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from statistics import median

import msgspec

from audiohook.session.context_client import upgrade_headers
from audiohook.wire.client import upgrade_request
from tests.bench.readers_load import SILENT
from tests.support.daemon import Daemon
from tests.support.peer import KEY, Address

CROWD = 1000
WORKERS = 2
RUSH_S = 0.1
PATIENCE_S = 40.0
TARGET_S = 2.0
SPARE_STREAMS = 64
ACCEPTED = b"HTTP/1.1 101 "


class Rush(msgspec.Struct, frozen=True):
    """Of all connections: from the first one's connect until so many had their 101, in seconds."""

    name: str
    calls: int
    connect_s: float
    """Until the last one had begun to connect."""
    first_s: float
    median_s: float
    last_s: float
    wait_s: float
    """From a connection's own connect until its answer, the longest."""
    refused: int
    """Who was answered with something else, or not at all."""

    @property
    def void(self) -> str:
        """What makes it no rush, "" if nothing does."""
        late = f"the client took {self.connect_s:.2f} s to connect them all"
        return late if self.connect_s > RUSH_S else ""


class _Crowd:
    """Connections on their way, and when each was answered."""

    def __init__(self, address: Address, requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._open = len(requests)
        self.began: list[float] = []
        self.answered: dict[int, float] = {}
        self.sockets: list[socket.socket] = []
        for number in range(len(requests)):
            made = socket.socket()
            made.setblocking(False)
            self.began.append(time.monotonic())
            made.connect_ex(address)
            self.sockets.append(made)
            self._selector.register(made, selectors.EVENT_WRITE, number)

    def wait(self) -> None:
        """Serve them until all are answered, or gone."""
        deadline = time.monotonic() + PATIENCE_S
        while self._open and time.monotonic() < deadline:
            for key, mask in self._selector.select(0.1):
                self._serve(key.data, mask)
        self._selector.close()

    def _serve(self, number: int, mask: int) -> None:
        made = self.sockets[number]
        try:
            if mask & selectors.EVENT_WRITE:
                assert made.send(self._requests[number]) == len(self._requests[number])
                self._selector.modify(made, selectors.EVENT_READ, number)
                return
            # The head is sent in one piece; what it says stands in its first bytes.
            said = made.recv(65_536)
        except OSError:
            said = b""
        if said.startswith(ACCEPTED):
            self.answered[number] = time.monotonic()
        self._selector.unregister(made)
        self._open -= 1


def _requests(calls: int) -> list[bytes]:
    names = [(str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(calls)]
    return [
        upgrade_request(
            "/",
            "test",
            upgrade_headers(
                call_id=call, session_id="a-session", user_id="a-user", participant_id=peer, direction="inbound"
            ),
            KEY,
        )
        for call, peer in names
    ]


def _rush(name: str, address: Address, requests: Sequence[bytes]) -> tuple[Rush, list[socket.socket]]:
    crowd = _Crowd(address, requests)
    crowd.wait()
    start = crowd.began[0]
    times = sorted(at - start for at in crowd.answered.values()) or [0.0]
    found = Rush(
        name,
        len(requests),
        crowd.began[-1] - start,
        times[0],
        median(times),
        times[-1],
        max((at - crowd.began[number] for number, at in crowd.answered.items()), default=0.0),
        len(requests) - len(crowd.answered),
    )
    return found, crowd.sockets


def measure(calls: int = CROWD) -> list[Rush]:
    """Let a crowd come, and come back."""
    settings = f"server.workers={WORKERS}", f"memory.streams={2 * calls + SPARE_STREAMS}", "memory.ring_seconds=1"
    ending = "server.drain_seconds=0", "context.reconnect_seconds=60"
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))  # its log, printed at the end for pytest to show
        daemon = stack.enter_context(Daemon(*settings, *ending, *SILENT)).wait_ready()
        stack.enter_context(redirect_stdout(sys.__stdout__))
        daemon.wait(lambda: len(daemon.workers()) == WORKERS, "workers")
        requests = _requests(calls)
        new, sockets = _rush(f"{calls:,} new calls at once", daemon.address, requests)
        for made in sockets:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            made.close()
        daemon.wait(lambda: daemon.live() == 0, "the end of all connections")
        back, sockets = _rush(f"{calls:,} calls that come back at once", daemon.address, requests)
        returned = daemon.counter("returned")
        for made in sockets:
            made.close()
        assert returned == calls - back.refused, f"{returned} went on with their streams"
    return [new, back]
