"""Connections that have no stream yet: how many there may be, and who goes first when there are too many.

Whoever holds connections open and says nothing takes descriptors and memory from calls. So a worker keeps so many that
have no stream, and one more costs the oldest its connection: a peer that means it is through within milliseconds and is
never the oldest. Rejected: a bound on them for each address, since behind one NAT or proxy everybody has the same; as
`admission.connections_per_address` it is there for who knows that nobody is, and counts all connections of this worker.

The same order makes room when no descriptor is left. Then nobody goes who has just come: with few descriptors to share,
the last one accepted is soon the oldest, and its request may lie unread. Knows no protocol but the refusal.
"""

import socket
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from audiohook.config import Admission
from audiohook.errors import ADDRESS_CROWDED
from audiohook.memory.row import Row
from audiohook.units import NS_PER_MS
from audiohook.wire.request import refusal_bytes
from audiohook.worker.access import Access

CROWDED_OUT = "crowded_out"
"""Counter of connections that were dropped for newer ones."""

SPARED_NS = 20 * NS_PER_MS
"""So long everybody may keep the descriptor that he was given: some turns of the loop. If longer, a flood that waits in
the kernel's queue would be worked off too slowly for those behind it."""

MAX_UNREAD_BYTES = 65_536


class Droppable(Protocol):
    """A connection, as far as it can be dropped. `drop` leads to `Entrance.gone`."""

    def drop(self, now_ns: int, *, reset: bool) -> None: ...


class Entrance:
    """One a worker."""

    def __init__(self, row: Row, access: Access, admission: Callable[[], Admission]) -> None:
        """`admission()` says how many there may be, at this instant. Who is there already is not dropped for that."""
        self._row = row
        self._access = access
        self._admission = admission
        self._addresses: dict[Droppable, str] = {}
        self._of_address: Counter[str] = Counter()
        self._waiting: dict[Droppable, tuple[str, int]] = {}
        """Who has no stream, with its address and when it came, the oldest first."""

    def turns_away(self, connected: socket.socket, address: str, *, plain: bool = True) -> bool:
        """Refuse and close a connection whose address has as many as it may; return whether that was done.

        A peer whose request has not arrived reads the 503; one that is still sending may see a reset instead. If not
        `plain`, nothing can be said to it before a handshake, which is not made for that.
        """
        most = self._admission().connections_per_address
        if not most or self._of_address[address] < most or self._access.is_proxy(address):
            return False
        self._row.count(ADDRESS_CROWDED.slug)
        self._access.strangers.note_answer(ADDRESS_CROWDED.slug, address)
        connected.setblocking(False)
        try:
            if plain:
                connected.send(refusal_bytes(ADDRESS_CROWDED))
            connected.shutdown(socket.SHUT_WR)
            connected.recv(MAX_UNREAD_BYTES)  # what is unread at the close turns our answer into a reset
        except OSError:
            pass
        connected.close()
        return True

    def entered(self, connection: Droppable, address: str, now_ns: int) -> None:
        """A connection was accepted from `address`."""
        # Also while any number may come: the bound may be set while these are there.
        self._addresses[connection] = address
        self._of_address[address] += 1
        self._waiting[connection] = (address, now_ns)
        if len(self._waiting) > self._admission().waiting_per_worker:
            self._drop_oldest(now_ns)

    def has_stream(self, connection: Droppable) -> None:
        self._waiting.pop(connection, None)

    def gone(self, connection: Droppable) -> None:
        self._waiting.pop(connection, None)
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def make_room(self, now_ns: int) -> bool:
        """Drop the connection that has been without a stream for longest; False if there is none that may be."""
        if not self._waiting or now_ns - next(iter(self._waiting.values()))[1] < SPARED_NS:
            return False
        self._drop_oldest(now_ns)
        return True

    def _drop_oldest(self, now_ns: int) -> None:
        connection, (address, _) = next(iter(self._waiting.items()))
        self._row.count(CROWDED_OUT)
        self._access.strangers.note(CROWDED_OUT, "connections without a stream dropped for newer ones", address)
        connection.drop(now_ns, reset=True)
