"""A reader's connection to the desk: attach, watch, unwatch. Needs the standard library only.

The desk may die and be replaced; nothing that was attached is lost by it. A watch that cannot be asked for is answered
False, and the reader waits on its worker's doorbell instead. Nor is audio ever held up by a desk that is stopped: a
watch waits for its answer no longer than a reader sleeps, and a new connection is tried after a second, then after two,
and so on (tests/process/test_daemon_desk.py).
"""

import os
import select
import socket
import threading
import time
from typing import Any

from audiohook.control import protocol
from audiohook.errors import HubUnavailable
from audiohook.units import NS_PER_S

ATTACH_SECONDS = 5.0
WATCH_SECONDS = 0.25
FIRST_RETRY_NS = NS_PER_S
LONGEST_RETRY_NS = 30 * NS_PER_S

ASK_AGAIN_NS = NS_PER_S
"""A watch that the desk refused, since as many are watched as may be, is asked for so much later. Whoever waits on a
busy worker's doorbell pauses up to a thousand times a second: the desk would do nothing else but refuse."""


class _Closed(HubUnavailable):
    """The desk ended the connection and said nothing."""


class DeskClient:
    """One connection, made again when it breaks. Usable from several threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._retry_ns = FIRST_RETRY_NS
        self._retry_at_ns = 0
        self._watched: set[tuple[int, int]] = set()
        self._refused: dict[tuple[int, int], int] = {}
        """Until when a stream's watch is not asked for again."""

    def attach(self) -> int:
        """Return the read-only descriptor of the arena; the caller owns it. Raises HubUnavailable."""
        with self._lock:
            try:
                reply, fds = self._ask_to_attach()
            except _Closed:  # a reload exchanges the desk, and this was the old one's last moment
                reply, fds = self._ask_to_attach()
            if self._socket is not None:
                self._socket.settimeout(WATCH_SECONDS)
        if not reply.get("ok") or len(fds) != 1:
            for fd in fds:
                os.close(fd)
            self.close()
            raise HubUnavailable(f"{self.path}: {reply.get('error', 'the hub sent no memory')}")
        return fds[0]

    def watch(self, slot: int, epoch: int) -> bool:
        """Ask that the slot's own word be woken; return whether it is.

        Asks the desk once a stream, and anew a second after a refusal (tests/loopback/test_desk_client.py).
        """
        key = slot, epoch
        with self._lock:
            if key in self._watched and self._socket is not None:
                return True
            if key in self._refused and time.monotonic_ns() < self._refused[key]:
                return False
            reply = self._ask_if_connected({"do": "watch", "slot": slot, "epoch": epoch})
            self._refused.pop(key, None)
            if reply.get("watched"):
                self._watched.add(key)
                return True
            if reply:
                self._refused[key] = time.monotonic_ns() + ASK_AGAIN_NS
            return False

    def unwatch(self, slot: int, epoch: int) -> None:
        with self._lock:
            self._refused.pop((slot, epoch), None)
            if (slot, epoch) in self._watched:
                self._watched.discard((slot, epoch))
                self._ask_if_connected({"do": "unwatch", "slot": slot, "epoch": epoch})

    def check(self) -> None:
        """Notice that the desk has gone, so that watches are asked for anew. Cheap; for waits that timed out."""
        with self._lock:
            if self._socket is None:
                return
            # Not recv with MSG_DONTWAIT: on a socket with a timeout Python would wait for that long all the same.
            if select.select([self._socket], [], [], 0)[0]:
                self._disconnect()  # the desk speaks only when it is asked, so this is its end

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _connect(self, timeout_seconds: float) -> None:
        hub = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        hub.settimeout(timeout_seconds)
        try:
            hub.connect(self.path)
        except OSError as error:
            hub.close()
            raise HubUnavailable(
                f"no hub at {self.path}: {error.strerror or error}; is audiohookd running? "
                "Name another path in attach(path) or in AUDIOHOOK_HUB"
            ) from error
        self._socket = hub
        self._watched.clear()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._watched.clear()

    def _ask_to_attach(self) -> tuple[dict[str, Any], list[int]]:
        self._connect(ATTACH_SECONDS)
        return self._ask({"do": "attach"})

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        if self._socket is None:
            raise HubUnavailable(f"{self.path}: not connected")
        try:
            packet, fds = _exchange(self._socket, protocol.encode(request))
        except OSError as error:
            self._disconnect()
            raise HubUnavailable(f"{self.path}: {error.strerror or error}") from error
        reply = protocol.decode(packet)
        if reply is None:
            self._disconnect()
            raise _Closed(f"{self.path}: the hub closed the connection")
        return reply, list(fds)

    def _ask_if_connected(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask, connecting again if need be; an unreachable desk is no error here."""
        try:
            if self._socket is None:
                if time.monotonic_ns() < self._retry_at_ns:
                    return {}
                self._connect(WATCH_SECONDS)
            reply, _ = self._ask(request)
        except HubUnavailable:
            self._retry_at_ns = time.monotonic_ns() + self._retry_ns
            self._retry_ns = min(2 * self._retry_ns, LONGEST_RETRY_NS)
            return {}
        self._retry_ns = FIRST_RETRY_NS
        return reply


def _exchange(hub: socket.socket, request: bytes) -> tuple[bytes, list[int]]:
    """Send a request and return the reply. Raises OSError.

    A desk that is full says so and closes before it is asked anything. Then the kernel reports the broken connection
    first, and the reply, which says why, is still there (tests/process/test_daemon_readback.py).
    """
    try:
        hub.send(request)
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        packet, fds, _, _ = socket.recv_fds(hub, protocol.MAX_PACKET_BYTES, 4)
    except ConnectionResetError:
        packet, fds, _, _ = socket.recv_fds(hub, protocol.MAX_PACKET_BYTES, 4)
    return packet, list(fds)
