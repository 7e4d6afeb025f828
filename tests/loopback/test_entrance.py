"""worker/entrance.py: who waits longest goes first, and how many one address may have."""

import socket
from collections.abc import Iterator

import pytest

from audiohook.config import Admission, Config, Server
from audiohook.memory import layout
from audiohook.memory.row import Row
from audiohook.worker.access import Access
from audiohook.worker.entrance import SPARED_NS, Entrance
from tests.support.memory import Bench, bench
from tests.support.tcp import tcp_pair

NOW_NS = 1_000
PROXY, CALLER, OTHER = "192.0.2.1", "192.0.2.7", "2001:db8::7"


class Connection:
    """What an entrance needs of one."""

    def __init__(self, entrance: Entrance, address: str = CALLER) -> None:
        self._entrance = entrance
        self.dropped = 0
        entrance.entered(self, address, NOW_NS)

    def drop(self, now_ns: int, *, reset: bool) -> None:
        assert reset, "the kernel is to keep nothing for it"
        self.dropped += 1
        self._entrance.gone(self)


@pytest.fixture
def memory() -> Iterator[Bench]:
    with bench() as made:
        yield made


def entrance(memory: Bench, most_waiting: int = 3, per_address: int = 0) -> Entrance:
    access = Access(Config(server=Server(trusted_proxies=[PROXY])))
    admission = Admission(waiting_per_worker=most_waiting, connections_per_address=per_address)
    return Entrance(Row(memory.arena, 0), access, lambda: admission)


def counted(memory: Bench, name: str) -> int:
    return memory.reader.words[layout.counter_word(memory.geometry, 0, name)]


def test_the_oldest_without_a_stream_goes_first(memory: Bench) -> None:
    door = entrance(memory)
    calls = [Connection(door) for _ in range(3)]
    door.has_stream(calls[0])
    waiting = [Connection(door) for _ in range(4)]
    assert [one.dropped for one in calls] == [0, 1, 1]
    assert [one.dropped for one in waiting] == [1, 0, 0, 0]
    assert counted(memory, "crowded_out") == 3


def test_who_has_gone_makes_room(memory: Bench) -> None:
    door = entrance(memory)
    first = [Connection(door) for _ in range(3)]
    for one in first:
        door.gone(one)
        door.gone(one)
    second = [Connection(door) for _ in range(3)]
    assert sum(one.dropped for one in second) == 0


def test_room_is_made_as_long_as_somebody_waits(memory: Bench) -> None:
    door = entrance(memory)
    call, waiting = Connection(door), Connection(door)
    door.has_stream(call)
    assert not door.make_room(NOW_NS + SPARED_NS - 1), "its request may lie unread"
    assert door.make_room(NOW_NS + SPARED_NS)
    assert not door.make_room(NOW_NS + SPARED_NS)
    assert (call.dropped, waiting.dropped) == (0, 1)


def turned_away(door: Entrance, address: str) -> bytes | None:
    """Return what a peer from this address reads; None if it is let in."""
    accepted, peer = tcp_pair()
    with accepted, peer:
        if not door.turns_away(accepted, address):
            return None
        return b"".join(iter(lambda: peer.recv(4096), b""))


def test_an_address_has_so_many_connections_and_no_more(memory: Bench) -> None:
    door = entrance(memory, per_address=2)
    first, second = Connection(door), Connection(door)
    door.has_stream(first)
    answer = turned_away(door, CALLER)
    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in answer
    assert counted(memory, "address_crowded") == 1
    assert turned_away(door, OTHER) is None
    second.drop(NOW_NS, reset=True)
    assert turned_away(door, CALLER) is None
    assert not door._of_address[OTHER]
    first.drop(NOW_NS, reset=True)
    assert not door._of_address, "addresses are not remembered for ever"


def test_proxies_and_no_limit(memory: Bench) -> None:
    door = entrance(memory, most_waiting=100, per_address=1)
    for _ in range(3):
        Connection(door, PROXY)
    assert turned_away(door, PROXY) is None
    unlimited = entrance(memory, most_waiting=100)
    for _ in range(50):
        Connection(unlimited)
    assert turned_away(unlimited, CALLER) is None


def test_who_is_there_when_a_bound_is_set_counts_and_stays(memory: Bench) -> None:
    access = Access(Config(server=Server(trusted_proxies=[PROXY])))
    now = Admission()
    door = Entrance(Row(memory.arena, 0), access, lambda: now)
    there = [Connection(door) for _ in range(3)]
    now = Admission(connections_per_address=3, waiting_per_worker=3)
    assert turned_away(door, CALLER) is not None
    assert turned_away(door, OTHER) is None
    assert [one.dropped for one in there] == [0, 0, 0]
    Connection(door, OTHER)
    assert [one.dropped for one in there] == [1, 0, 0]
    assert turned_away(door, CALLER) is None
    now = Admission()
    for _ in range(5):
        Connection(door)
    assert turned_away(door, CALLER) is None


def test_a_peer_that_is_gone_already_is_no_error(memory: Bench) -> None:
    door = entrance(memory, per_address=1)
    Connection(door)
    accepted, peer = tcp_pair()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    with accepted:
        assert door.turns_away(accepted, CALLER)
