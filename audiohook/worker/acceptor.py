"""Takes connections from the shared listeners, under the placement rule. Knows no protocol.

`live` in the worker's row is stored after every single accept, before the next: the other workers decide by it.
"""

import errno
import logging
import selectors
import socket
from collections.abc import Callable

from audiohook.memory.row import Row
from audiohook.net.gate import AcceptGate
from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.worker.placement import Placement

log = logging.getLogger("audiohook.worker")

ACCEPTS_A_TURN = 16
LOOK_EVERY_NS = 10 * NS_PER_MS
"""How often the placement rule is asked while nothing is accepted."""

SWEEP_NS = 100 * NS_PER_MS
"""How often a worker that listens tries its listeners without having been told. EPOLLEXCLUSIVE tells one worker of a
connection: if that one is stopped or killed before it accepts, nobody else hears of it until the next connection comes
(test_a_stopped_worker_swallows_nobody in tests/process/test_daemon_worker_killed.py)."""

PAUSE_NS = NS_PER_S
"""How long to stop accepting when the process or the machine has no descriptor or memory left for another socket."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """One worker's side of the listeners. `accepted(socket, address, now_ns)` is told of each new connection."""

    def __init__(
        self,
        selector: selectors.EpollSelector,
        listeners: tuple[socket.socket, ...],
        placement: Placement,
        row: Row,
        accepted: Callable[[socket.socket, tuple[str, int], int], None],
    ) -> None:
        self._placement = placement
        self._row = row
        self._accepted = accepted
        self._doors = [_Door(self, listener) for listener in listeners]
        self._gates = [AcceptGate(selector, door.listener, door) for door in self._doors]
        self._looked_ns = 0
        self._swept_ns = 0
        self._paused_until_ns = 0

    def turn(self, now_ns: int) -> int:
        """Open or shut the gates as the rule says; return when it wants to be asked again."""
        if now_ns - self._looked_ns >= LOOK_EVERY_NS and self.look(now_ns) and now_ns - self._swept_ns >= SWEEP_NS:
            self._swept_ns = now_ns
            for door in self._doors:
                self.accept(door.listener, now_ns)
        return self._looked_ns + LOOK_EVERY_NS

    def look(self, now_ns: int) -> bool:
        """Apply the rule now; return whether this worker listens."""
        self._looked_ns = now_ns
        listens = now_ns >= self._paused_until_ns and self._placement.may_accept(now_ns)
        for gate in self._gates:
            if listens:
                gate.open()
            else:
                gate.shut()
        return listens

    def accept(self, listener: socket.socket, now_ns: int) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                connected, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.error("cannot accept: %s; trying again in a second", error.strerror)
                self._paused_until_ns = now_ns + PAUSE_NS
                self.look(now_ns)
                return
            self._row.count("accepted")
            self._accepted(connected, (str(address[0]), int(address[1])), now_ns)
            if not self.look(now_ns):
                return

    def retire(self) -> None:
        """Listen no more, for ever: leave the epoll, then close this process' descriptors of the listeners.

        A door is closed as well: its event may be in the batch that is being served
        (tests/process/test_daemon_orphans.py).
        """
        for door in self._doors:
            door.closed = True
        for gate in self._gates:
            gate.retire()
        self._doors = []
        self._gates = []


class _Door:
    """A listener as a source of the loop."""

    def __init__(self, acceptor: Acceptor, listener: socket.socket) -> None:
        self._acceptor = acceptor
        self.listener = listener
        self.closed = False

    def on_ready(self, mask: int, now_ns: int) -> None:
        self._acceptor.accept(self.listener, now_ns)

    def on_bulk(self, now_ns: int) -> bool:
        return False
