"""worker/acceptor.py on a real listener: the rule before every accept, what turns an idle worker, no descriptor left.

The other worker is a row of the table that the test writes. Clock: the test's, since nothing here reads one.
"""

import errno
import logging
import os
import resource
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from audiohook.memory import layout
from audiohook.memory.row import Row
from audiohook.net.listener import open_listener
from audiohook.units import NEVER_NS, NS_PER_S
from audiohook.worker.acceptor import ACCEPTS_A_TURN, LISTENING_NS, PAUSE_NS, SHUT_NS, Acceptor
from audiohook.worker.placement import Placement
from tests.support.memory import bench
from tests.support.tcp import PATIENCE_SECONDS

NOW_NS = 1_000 * NS_PER_S
OTHER = 1


class FullListener(socket.socket):
    """A listener whose accept fails so often, as that of a process that has no descriptor left."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


class House:
    """One worker's acceptor, and whom it let in."""

    def __init__(self, stack: ExitStack) -> None:
        self.memory = stack.enter_context(bench(layout.geometry(slots=1, rows=2, ring_seconds=1, event_records=4)))
        self._stack = stack
        self.selector = stack.enter_context(selectors.EpollSelector())
        opened = open_listener("127.0.0.1:0", 64)
        self.address = opened.getsockname()
        self.listener = FullListener(fileno=opened.detach())
        self.listener.setblocking(False)
        self.listener.failures = []
        self.row = Row(self.memory.arena, 0)
        self.row.take(1, 1, layout.ROW_ACCEPTING)
        placement = Placement(self.memory.arena, 0)
        self.acceptor = Acceptor(self.selector, (self.listener,), placement, self.row, self)
        stack.callback(self.acceptor.retire)
        self.inside: list[socket.socket] = []
        self.spare = 0
        """Connections that can be given up."""

    def accepted(self, connected: socket.socket, peer: tuple[str, int], now_ns: int) -> None:
        self.inside.append(self._stack.enter_context(connected))
        self.row.set("live", len(self.inside))

    def make_room(self, now_ns: int) -> bool:
        self.spare -= 1
        return self.spare >= 0

    def knock(self, count: int = 1) -> None:
        for _ in range(count):
            self._stack.enter_context(socket.create_connection(self.address, PATIENCE_SECONDS))

    def serve(self, now_ns: int = NOW_NS) -> int:
        """Serve what the selector tells; return how many events there were."""
        events = self.selector.select(0)
        for key, mask in events:
            key.data.on_ready(mask, now_ns)
        return len(events)

    def other_has(self, live: int, beat_ns: int = NOW_NS) -> None:
        words, sizes = self.memory.arena.words, self.memory.geometry
        for name, value in (("state", layout.ROW_ACCEPTING), ("live", live), ("heartbeat_ns", beat_ns)):
            words[layout.row_word(sizes, OTHER, name)] = value

    def counted(self, name: str) -> int:
        return self.memory.reader.words[layout.counter_word(self.memory.geometry, 0, name)]


@pytest.fixture
def house() -> Iterator[House]:
    with ExitStack() as stack:
        yield House(stack)


def test_it_takes_what_waits(house: House) -> None:
    assert house.acceptor.look(NOW_NS)
    house.knock(3)
    assert house.serve() == 1
    assert (len(house.inside), house.counted("accepted")) == (3, 3)


def test_the_rule_is_asked_before_the_first_accept(house: House) -> None:
    """It was told of a connection while it stood still; meanwhile another one has become the least loaded."""
    house.inside = [socket.socket() for _ in range(10)]
    with ExitStack() as stack:
        for one in house.inside:
            stack.enter_context(one)
        house.row.set("live", 10)
        assert house.acceptor.look(NOW_NS)
        house.knock()
        house.other_has(6)
        assert house.serve() == 1
        assert len(house.inside) == 10
        assert house.serve() == 0, "its gate is shut"
        house.other_has(7)
        house.acceptor.turn(NOW_NS + SHUT_NS)
        assert len(house.inside) == 11
        house.inside.pop().close()


def test_it_takes_no_more_than_the_rule_allows_in_one_turn(house: House) -> None:
    house.other_has(0)
    assert house.acceptor.look(NOW_NS)
    house.knock(8)
    house.serve()
    assert len(house.inside) == 4, "with 3 it may listen, with 4 no more"
    house.other_has(0, beat_ns=NOW_NS - NS_PER_S)
    house.acceptor.turn(NOW_NS + SHUT_NS)
    assert len(house.inside) == 8, "a stale heartbeat counts as absent"


def test_others_get_their_turn_in_a_flood(house: House) -> None:
    house.acceptor.look(NOW_NS)
    house.knock(ACCEPTS_A_TURN + 4)
    house.serve()
    assert len(house.inside) == ACCEPTS_A_TURN
    house.serve()
    assert len(house.inside) == ACCEPTS_A_TURN + 4


def test_an_idle_worker_rests_while_it_listens(house: House) -> None:
    assert house.acceptor.turn(NOW_NS) == NOW_NS + LISTENING_NS
    assert house.acceptor.turn(NOW_NS + 1) == NOW_NS + LISTENING_NS
    house.row.set("live", 9)
    house.other_has(0)
    later_ns = NOW_NS + LISTENING_NS
    assert house.acceptor.turn(later_ns) == later_ns + SHUT_NS
    house.acceptor.retire()
    assert house.acceptor.turn(later_ns + SHUT_NS) == NEVER_NS


def test_it_tries_without_having_been_told(house: House) -> None:
    """EPOLLEXCLUSIVE told somebody else, who was stopped."""
    house.acceptor.look(NOW_NS)
    house.knock()
    house.acceptor.turn(NOW_NS + LISTENING_NS - 1)
    assert not house.inside
    house.acceptor.turn(NOW_NS + LISTENING_NS)
    assert len(house.inside) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_a_descriptor_somebody_makes_room(house: House, number: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "audiohook.worker")
    house.acceptor.look(NOW_NS)
    house.listener.failures = [number] * 3
    house.spare = 3
    house.knock(2)
    house.serve()
    assert (len(house.inside), house.spare, house.counted("exhausted")) == (2, 0, 3)
    assert caplog.messages == [f"cannot accept: {os.strerror(number)} times=1"]


def test_without_a_descriptor_and_without_anybody_at_the_door_nobody_pays(house: House) -> None:
    """accept(2) fails for want of a descriptor before it looks whether there is a connection."""
    house.acceptor.look(NOW_NS)
    house.knock()
    house.serve()
    house.listener.failures = [errno.EMFILE]
    house.spare = 1
    house.acceptor.turn(NOW_NS + LISTENING_NS)
    assert (house.spare, house.counted("exhausted"), house.listener.failures) == (1, 0, [])


def test_without_a_descriptor_and_without_room_it_rests(house: House) -> None:
    """Not spinning: the listener stays readable. Others may take the connection meanwhile."""
    house.acceptor.look(NOW_NS)
    house.listener.failures = [errno.EMFILE]
    house.knock()
    assert house.serve() == 1
    assert (house.inside, house.serve()) == ([], 0)
    house.acceptor.turn(NOW_NS + PAUSE_NS - 1)
    assert not house.inside
    house.acceptor.turn(NOW_NS + PAUSE_NS + SHUT_NS)
    assert len(house.inside) == 1


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EPERM])
def test_what_happened_to_one_connection_is_nobody_elses(house: House, number: int) -> None:
    """accept(2) reports what the network has already done to the connection that it would have returned."""
    house.acceptor.look(NOW_NS)
    house.listener.failures = [number]
    house.knock()
    house.serve()
    assert len(house.inside) == 1


def test_a_mistake_of_our_own_is_not_swallowed(house: House) -> None:
    house.acceptor.look(NOW_NS)
    house.listener.failures = [errno.EBADF]
    house.knock()
    with pytest.raises(OSError, match="Bad file"):
        house.serve()


def take_all(taken: list[int]) -> None:
    """Take descriptors until there is none left."""
    while True:
        taken.append(os.dup(0))


def test_a_gate_opens_again_in_a_process_without_descriptors(house: House) -> None:
    """It is shut for a while just when there are none."""
    house.acceptor.look(NOW_NS)
    house.row.set("live", 9)
    house.other_has(0)
    assert not house.acceptor.look(NOW_NS)
    taken: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    try:
        with pytest.raises(OSError, match="Too many"):
            take_all(taken)
        house.other_has(9)
        assert house.acceptor.look(NOW_NS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
