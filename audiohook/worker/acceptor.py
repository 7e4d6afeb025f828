"""Takes connections from the shared listeners, under the placement rule. Knows no protocol.

The rule is asked before every single accept, and `live` in the worker's row is stored after it: the others decide by
it. Asked only after an accept, or now and then, a worker that had stood still would first take what it was told of long
ago (tests/loopback/test_acceptor.py).
"""

import errno
import logging
import select
import selectors
import socket
from typing import Protocol

from audiohook.memory.row import Row
from audiohook.net.gate import AcceptGate
from audiohook.net.log_limit import LogLimit
from audiohook.units import NEVER_NS, NS_PER_MS
from audiohook.worker.placement import Placement

log = logging.getLogger("audiohook.worker")

ACCEPTS_A_TURN = 32
SHUT_NS = 10 * NS_PER_MS
"""How often a worker that does not listen asks whether it may: so long a connection may wait for it."""

LISTENING_NS = 50 * NS_PER_MS
"""How often one that listens asks, and tries its listeners without having been told. EPOLLEXCLUSIVE tells one worker of
a connection: if that one is stopped, killed or turned away by the rule before it accepts, nobody else hears of it until
the next connection comes (test_a_stopped_worker_swallows_nobody in tests/process/test_daemon_worker_killed.py)."""

PAUSE_NS = 20 * NS_PER_MS
"""How long to stop accepting when nothing is left for another socket and no connection can be spared."""

EXHAUSTED = "exhausted"
"""Counter of accepts for which there was no descriptor or memory left."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_OURS = frozenset({errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK})
"""Everything else that accept(2) says is about the one connection that it would have returned."""


class House(Protocol):
    """Who takes the connections."""

    def accepted(self, connected: socket.socket, peer: tuple[str, int], now_ns: int) -> None: ...

    def make_room(self, now_ns: int) -> bool:
        """Give up a connection that can be spared; False if there is none."""


class Acceptor:
    """One worker's side of the listeners."""

    def __init__(
        self,
        selector: selectors.EpollSelector,
        listeners: tuple[socket.socket, ...],
        placement: Placement,
        row: Row,
        house: House,
    ) -> None:
        self._placement = placement
        self._row = row
        self._house = house
        self._doors = [_Door(self, listener) for listener in listeners]
        self._gates = [AcceptGate(selector, door.listener, door) for door in self._doors]
        self._limit = LogLimit[int]()
        self._due_ns = 0
        self._paused_until_ns = 0

    def turn(self, now_ns: int) -> int:
        """Open or shut the gates as the rule says; return when it wants to be asked again."""
        if now_ns >= self._due_ns and self.look(now_ns):
            for door in self._doors:
                self.accept(door.listener, now_ns)
        return self._due_ns

    def look(self, now_ns: int) -> bool:
        """Apply the rule now; return whether this worker listens."""
        listens = now_ns >= self._paused_until_ns and self._placement.may_accept(now_ns)
        for gate in self._gates:
            if listens:
                gate.open()
            else:
                gate.shut()
        self._due_ns = now_ns + (LISTENING_NS if listens else SHUT_NS) if self._gates else NEVER_NS
        return listens

    def accept(self, listener: socket.socket, now_ns: int) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if not self.look(now_ns):
                return
            try:
                connected, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OURS:
                    raise
                if error.errno in _EXHAUSTED:
                    if not _knocks(listener):
                        return
                    self._make_room(error, now_ns)
                continue
            self._row.count("accepted")
            self._house.accepted(connected, (str(address[0]), int(address[1])), now_ns)

    def _make_room(self, error: OSError, now_ns: int) -> None:
        """Spare a connection for the one that waits; if that cannot be, leave it to others, or to later."""
        self._row.count(EXHAUSTED)
        times = self._limit.note(error.errno or 0, now_ns)
        if times is not None:
            log.error("cannot accept: %s times=%d", error.strerror, times)
        if not self._house.make_room(now_ns):
            self._paused_until_ns = now_ns + PAUSE_NS

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
        self._due_ns = NEVER_NS


def _knocks(listener: socket.socket) -> bool:
    """Return whether a connection waits. accept(2) takes a descriptor first: without any it fails for nobody's sake."""
    poll = select.poll()  # of all ways to ask the one that needs no descriptor
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


class _Door:
    """A listener as a source of the loop."""

    newcomer = 0

    def __init__(self, acceptor: Acceptor, listener: socket.socket) -> None:
        self._acceptor = acceptor
        self.listener = listener
        self.closed = False

    def on_ready(self, mask: int, now_ns: int) -> None:
        self._acceptor.accept(self.listener, now_ns)

    def on_bulk(self, now_ns: int) -> bool:
        return False
