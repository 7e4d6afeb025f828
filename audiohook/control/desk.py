"""The desk: the process that serves hub.sock. Hands out the read-only arena, keeps the watch words, takes commands.

Exec'ed by the supervisor with a few descriptors and nothing writable but the watch words. Knows no worker and no audio:
it finds out which streams a command is for, passes it on to the supervisor in records (`commands.py`) and collects the
answers. Whatever a client does, and the desk's own death, harms nobody else. Invariants: it never waits for a client (a
reply that does not fit into a client's socket ends that client) nor for the supervisor; one request of a client a turn;
a client does what its roles allow; a slot is watched as long as some client that asked for it is connected, at most
`max_watched` slots at once.
"""

import json
import logging
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from typing import Any

from audiohook.config import Principals
from audiohook.config.live import LiveSettings
from audiohook.control import protocol
from audiohook.control.commands import READ_BYTES, SERVICE_VERBS, Command, Reply, Verb, decode, encode_command
from audiohook.control.errands import SERVICE, Answer, Errands, Target
from audiohook.control.requests import VERBS, Order, read_order
from audiohook.control.roles import OPERATE, READ, SPEAK, Roles, refusal_text
from audiohook.control.targets import find_call, find_stream
from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.watch import map_watch
from audiohook.net.hygiene import inherited_fds
from audiohook.net.journal import begin_logging, set_log_level
from audiohook.net.log_limit import LogLimit
from audiohook.net.seat import report_beat, report_ready
from audiohook.net.signals import SignalInbox
from audiohook.net.stacks import dump_stacks_when_asked
from audiohook.units import NS_PER_MS, NS_PER_S

log = logging.getLogger("audiohook.desk")

SO_PEERGROUPS = 59
CLIENTS_A_TURN = 16
REPLIES_A_TURN = 64
BEAT_NS = 200 * NS_PER_MS
"""The loop never rests longer, so that a desk whose loop stands still is told from one that has nothing to do."""

READERS_VERBS = ("attach", "watch", "unwatch")


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

    def __init__(
        self, fds: dict[str, int], settings: LiveSettings, roles: Roles, max_clients: int, max_watched: int
    ) -> None:
        self._arena_fd = fds["arena"]
        self._arena = Arena(fds["arena"], writable=False)
        self._watch = map_watch(fds["watch"], writable=True)
        self._settings = settings
        self._listener = socket.socket(fileno=fds["hub"])
        self._lifeline = fds["lifeline"]
        self._commands_fd = fds["commands"]
        self._report_fd = fds["report"]
        self._next_beat_ns = 0
        self._roles = roles
        self._refusals = LogLimit[int]()
        self._errands = Errands()
        self._max_clients = max_clients
        self._max_watched = max_watched
        self._clients: set[Client] = set()
        self._serving = True
        self._selector = selectors.EpollSelector()
        # What the desk before us had set: its clients are gone from here, and come back by themselves.
        for slot in range(self._arena.geometry.slots):
            self._watch[slot] = 0

    def run(self) -> None:
        """Serve until SIGTERM, or until the supervisor is gone or has closed our command line."""
        inbox = SignalInbox()
        inbox.install((signal.SIGTERM, signal.SIGQUIT))
        for source in (self._listener, self._lifeline, self._commands_fd, inbox):
            self._selector.register(source, selectors.EVENT_READ)
        while self._serving:
            for key, _ in self._selector.select(self._beat()):
                if key.fileobj is inbox or key.fd == self._lifeline:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd == self._commands_fd:
                    self._take_replies()
                elif key.data in self._clients:
                    self._serve(key.data)
            self._tell(self._errands.expire(time.monotonic_ns()))

    def _beat(self) -> float:
        """Say now and then that this loop turns; return for how many seconds it may rest.

        Not in every turn: a client that keeps this loop busy would keep the supervisor's busy too.
        """
        now_ns = time.monotonic_ns()
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + BEAT_NS
            report_beat(self._report_fd)
            set_log_level(self._settings.log_level)
        return max(0, min(self._next_beat_ns, self._errands.due_ns) - now_ns) / NS_PER_S

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

    # Requests

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
        if request is None or not isinstance(verb, str) or verb not in (*READERS_VERBS, *VERBS):
            text = f"one JSON object with one of these as do: {', '.join((*READERS_VERBS, *VERBS))}"
            return _reply(client, protocol.refusal("request_unknown", text))
        role = READ if verb in READERS_VERBS else SPEAK if VERBS[verb] is Verb.EVENT else OPERATE
        if not self._roles.has(role, client.uid, client.gids):
            return self._refuse_role(client, role)
        if verb in VERBS:
            return self._command(client, request)
        if verb == "attach":
            return _reply(client, {"ok": True, "layout": layout.MAJOR}, self._arena_fd)
        slot, epoch = request.get("slot"), request.get("epoch")
        if not isinstance(slot, int) or not isinstance(epoch, int) or not 0 <= slot < self._arena.geometry.slots:
            return _reply(client, protocol.refusal("request_malformed", "slot and epoch must be numbers of a stream"))
        if verb == "unwatch":
            self._unwatch(client, slot)
            return _reply(client, {"ok": True})
        return _reply(client, {"ok": True, "watched": self._start_watching(client, slot, epoch)})

    def _refuse_role(self, client: Client, role: str) -> bool:
        """Say that this client may not; False, so that it must leave, if it may do nothing else either."""
        refusals = self._refusals.note(client.uid, time.monotonic_ns())
        if refusals is not None:
            log.warning("refused uid=%d pid=%d role=%s times=%d", client.uid, client.pid, role, refusals)
        said = _reply(client, protocol.refusal("role_missing", refusal_text(role, client.uid)))
        # Who may do nothing here must not take the place of somebody who may.
        return said and self._roles.has_any(client.uid, client.gids)

    # Commands

    def _command(self, client: Client, request: dict[str, Any]) -> bool:
        """Pass a command on to the streams that it is for; their answers come later. False if the client is to go."""
        order = read_order(request)
        commands = self._begin(client, order) if isinstance(order, Order) else order
        if isinstance(commands, dict):
            ticket = {"ticket": order.ticket} if isinstance(order, Order) and order.ticket is not None else {}
            return _reply(client, {**commands, **ticket})
        for command in commands:
            try:
                os.write(self._commands_fd, encode_command(command))
            except OSError:  # no room, or its end, which the next read finds
                self._tell([self._errands.take(command.refused("the supervisor is busy"))])
        return client in self._clients

    def _begin(self, client: Client, order: Order) -> list[Command] | dict[str, Any]:
        """Return the commands to pass on, or the refusal."""
        found = self._find(order)
        if isinstance(found, dict):
            return found
        return self._errands.begin(client, order, found, client.uid, client.pid, time.monotonic_ns())

    def _find(self, order: Order) -> list[Target] | dict[str, Any]:
        if order.verb in SERVICE_VERBS:
            return [SERVICE]
        return find_stream(self._arena, order.stream) if order.stream else find_call(self._arena, order.call)

    def _take_replies(self) -> None:
        for _ in range(REPLIES_A_TURN):
            try:
                record = os.read(self._commands_fd, READ_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # the next read says what there is still to say
            reply = decode(record)
            if not isinstance(reply, Reply):
                log.info("the command line of this desk has ended")
                self._serving = False
                return
            self._tell([self._errands.take(reply)])

    def _tell(self, answers: Iterable[Answer | None]) -> None:
        """Answer clients, those that are still there."""
        for answer in answers:
            if answer is not None and answer.client in self._clients and not _reply(answer.client, answer.message):
                self._forget(answer.client)

    # Watches

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
        """Let a client go. More often does nothing."""
        if client not in self._clients:
            return
        self._selector.unregister(client.socket)
        client.socket.close()
        self._clients.discard(client)
        self._errands.forget(client)
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
    dump_stacks_when_asked()
    fds = inherited_fds(os.environ)
    live = LiveSettings(fds["settings"], writable=False)
    begin_logging(logging.getLevelName(live.log_level))
    os.set_blocking(fds["report"], False)
    roles = Roles(
        {
            role: Principals(frozenset(who["uids"]), frozenset(who["gids"]), who["any"])
            for role, who in settings["roles"].items()
        }
    )
    try:
        desk = Desk(fds, live, roles, settings["max_clients"], settings["max_watched"])
    except BootError as error:
        log.error("%s", error)
        return error.exit_code
    report_ready(fds["report"])
    desk.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
