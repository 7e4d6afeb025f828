"""The desk: the process that serves hub.sock. Hands out the read-only arena by role, and keeps the watch words.

Exec'ed by the supervisor with four descriptors and nothing writable but the watch words. Knows no worker and no audio:
whatever a client does, and the desk's own death, harms nobody else. Invariants: it never waits for a client (a reply
that does not fit into a client's socket ends that client); one request of a client a turn; a slot is watched as long as
some client that asked for it is connected, at most `max_watched` slots at once.
"""

import json
import logging
import os
import selectors
import signal
import socket
import struct
import sys
from typing import Any

from audiohook.config import Principals
from audiohook.control import protocol
from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.watch import map_watch
from audiohook.net.hygiene import inherited_fds
from audiohook.net.seat import report_ready
from audiohook.net.signals import SignalInbox

log = logging.getLogger("audiohook.desk")

SO_PEERGROUPS = 59
CLIENTS_A_TURN = 16


class Client:
    """One connected reader: who it is and which slots it watches."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.watched: set[int] = set()
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid, self.uid, gid = struct.unpack("3i", credentials)
        self.gids = {gid, *_groups(connected)}


def _groups(connected: socket.socket) -> tuple[int, ...]:
    """Return the peer's supplementary groups; SO_PEERCRED has the primary one only.

    Python takes buffers of up to 1,024 bytes here: who is in more than 256 groups is judged by uid and primary group.
    """
    try:
        groups = connected.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return struct.unpack(f"{len(groups) // 4}i", groups)


class Desk:
    """Serves one listening socket until the supervisor's lifeline closes."""

    def __init__(self, fds: dict[str, int], readers: Principals, max_clients: int, max_watched: int) -> None:
        self._arena_fd = fds["arena"]
        self._arena = Arena(fds["arena"], writable=False)
        self._watch = map_watch(fds["watch"], writable=True)
        self._listener = socket.socket(fileno=fds["hub"])
        self._lifeline = fds["lifeline"]
        self._readers = readers
        self._max_clients = max_clients
        self._max_watched = max_watched
        self._clients: set[Client] = set()
        self._selector = selectors.EpollSelector()
        # What the desk before us had set: its clients are gone from here, and come back by themselves.
        for slot in range(self._arena.geometry.slots):
            self._watch[slot] = 0

    def run(self) -> None:
        """Serve until SIGTERM, or until the supervisor is gone."""
        inbox = SignalInbox()
        inbox.install((signal.SIGTERM, signal.SIGQUIT))
        for source in (self._listener, self._lifeline, inbox):
            self._selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is inbox or key.fd == self._lifeline:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._clients:
                    self._serve(key.data)

    def _accept(self) -> None:
        for _ in range(CLIENTS_A_TURN):
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            connected.setblocking(False)
            client = Client(connected)
            if len(self._clients) >= self._max_clients:
                _reply(client, protocol.refusal("too_many_clients", "hub.max_clients are connected"))
                connected.close()
                continue
            self._clients.add(client)
            self._selector.register(connected, selectors.EVENT_READ, client)

    def _serve(self, client: Client) -> None:
        try:
            packet = client.socket.recv(protocol.MAX_PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet or not self._answer(client, protocol.decode(packet)):
            self._forget(client)

    def _answer(self, client: Client, request: dict[str, Any] | None) -> bool:
        verb = request.get("do") if request is not None else None
        if request is None or verb not in ("attach", "watch", "unwatch"):
            return _reply(client, protocol.refusal("request_unknown", "attach, watch or unwatch, as one JSON object"))
        if not self._readers.admit(client.uid, client.gids):
            log.warning("reader refused uid=%d pid=%d", client.uid, client.pid)
            text = f"uid {client.uid} may not read here: the daemon's hub.read names who may"
            return _reply(client, protocol.refusal("role_missing", text))
        if verb == "attach":
            return _reply(client, {"ok": True, "layout": layout.MAJOR}, self._arena_fd)
        slot, epoch = request.get("slot"), request.get("epoch")
        if not isinstance(slot, int) or not isinstance(epoch, int) or not 0 <= slot < self._arena.geometry.slots:
            return _reply(client, protocol.refusal("request_malformed", "slot and epoch must be numbers of a stream"))
        if verb == "unwatch":
            self._unwatch(client, slot)
            return _reply(client, {"ok": True})
        return _reply(client, {"ok": True, "watched": self._start_watching(client, slot, epoch)})

    def _start_watching(self, client: Client, slot: int, epoch: int) -> bool:
        current = self._arena.words[layout.cursor_word(self._arena.geometry, slot, "epoch")]
        watched = set().union(*(other.watched for other in self._clients))
        if current != epoch or (slot not in watched and len(watched) >= self._max_watched):
            return False
        client.watched.add(slot)
        self._watch[slot] = 1
        return True

    def _unwatch(self, client: Client, slot: int) -> None:
        client.watched.discard(slot)
        if not any(slot in other.watched for other in self._clients):
            self._watch[slot] = 0

    def _forget(self, client: Client) -> None:
        self._selector.unregister(client.socket)
        client.socket.close()
        self._clients.discard(client)
        for slot in list(client.watched):
            self._unwatch(client, slot)


def _reply(client: Client, message: dict[str, Any], *fds: int) -> bool:
    """Send a reply; False if the client does not take it."""
    try:
        socket.send_fds(client.socket, [protocol.encode(message)], list(fds))
    except OSError:
        return False
    return True


def main() -> int:
    """Be the desk. Settings come as JSON in argv, descriptors as the supervisor announces them."""
    settings = json.loads(sys.argv[1])
    logging.basicConfig(level=settings["log_level"], format=settings["log_format"], stream=sys.stderr)
    fds = inherited_fds(os.environ)
    readers = Principals(frozenset(settings["uids"]), frozenset(settings["gids"]), settings["any"])
    try:
        desk = Desk(fds, readers, settings["max_clients"], settings["max_watched"])
    except BootError as error:
        log.error("%s", error)
        return error.exit_code
    report_ready(fds["report"])
    desk.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
