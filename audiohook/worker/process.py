"""A worker process, from the fork to its exit: the loop, what it owns, and how it ends.

Forked by the supervisor, told `WorkerSeat` and nothing else but the memory, the configuration, and those settings that
may change while it lives. Its life is a row of
the worker table: booting, accepting, draining, gone. Four ways lead to the end:

- SIGTERM: drain. It goes on accepting only to answer 503; it leaves when its last stream has ended and the peers have
  heard our last words, or HURRY_NS later (leaving at once would reset those who are sending, and with that take the
  close frame from them: tests/process/test_daemon_stop.py);
- SIGQUIT: hurry. Every call is ended properly (1012), and it leaves when the peers have answered or two seconds later;
- SIGUSR1: retire, since fewer workers are wanted. It leaves new connections to the others, closes the listeners, and
  goes with its last connection; who has connected before is served as ever;
- the lifeline closes: the supervisor is gone. It retires at once, else its listeners would swallow the next daemon's
  connections, and hurries after `orphan_seconds`. It does not drain: who had connected before would get a 503.
"""

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

from audiohook.call import Terms
from audiohook.config import Admission, Config
from audiohook.config.live import LiveSettings
from audiohook.errors import SHUTDOWN
from audiohook.memory import layout
from audiohook.memory.admission import Caps
from audiohook.memory.arena import Arena, MemoryFiles
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool
from audiohook.memory.row import Row
from audiohook.memory.watch import map_watch
from audiohook.net.journal import set_log_level
from audiohook.net.loop import Loop
from audiohook.net.seat import WorkerSeat, report_ready
from audiohook.net.signals import SignalInbox
from audiohook.net.tls_pair import TlsPair
from audiohook.session.audiohook2_terms import AudioHook2Terms
from audiohook.session.context import ContextTerms
from audiohook.session.events import Identity
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S, milliseconds_ns, seconds_ns
from audiohook.worker.acceptor import Acceptor
from audiohook.worker.access import Access
from audiohook.worker.commands import CommandPort, CommandRecord
from audiohook.worker.connection import Connection
from audiohook.worker.entrance import Entrance
from audiohook.worker.garbage import GarbageTimes
from audiohook.worker.intake import Intake
from audiohook.worker.overload import Overload, OverloadNotice
from audiohook.worker.placement import Placement
from audiohook.worker.share import Share
from audiohook.worker.stream_intake import StreamIntake
from audiohook.worker.succession import Succession
from audiohook.worker.transport import Transport
from audiohook.worker.verbs import Verbs

log = logging.getLogger("audiohook.worker")

BEAT_NS = 50 * NS_PER_MS
"""The loop never sleeps longer: the heartbeat, which every turn writes, is at least 20 a second."""

CHORES_NS = 5 * NS_PER_MS
"""What is not for every turn (heartbeat, placement, garbage, the end) is done so often: at 2,000 turns a second it cost
as much as the packets did."""

HURRY_NS = 3 * NS_PER_S
"""After SIGQUIT: the close frame's wait (two seconds), and one for the rest."""

KNOCKING_NS = 200 * NS_PER_MS
"""How long who was accepted before a restart has to send its request; then it is ended as the calls are."""


def run_worker(
    seat: WorkerSeat,
    files: MemoryFiles,
    config: Config,
    pair: TlsPair | None,
    keeps_queue: bool,
    settings: LiveSettings,
) -> int:
    """Live as a worker until the end; return the exit code. `pair` None: no TLS is spoken here.

    `keeps_queue`: connections that nobody accepts wait for the next daemon, in systemd's descriptor of the listener.
    """
    worker = Worker(seat, files, config, pair, keeps_queue, settings)
    worker.run()
    return 0


PACE_NS = 2 * NS_PER_MS
"""A tenth of a packet's length: what a packet may wait for its turn. Readers' doorbells are rung no more often.
Rejected: 1 ms, a packet cost up to a quarter more; 4 ms, no less from 400 calls on (docs/performance.md)."""

MOST_CUT_BYTES = 65_536
"""A message that is cut into packets is decoded in one turn of the loop, while everybody waits: a mebibyte of packets
of two bytes took 3.7 s. What a trunk re-cuts is a segment long, or a few (tests/unit/test_worker_terms.py)."""


def terms_of(config: Config) -> Terms:
    """Return what the configuration demands of calls, in the pure floors' units."""
    context = config.context

    def terms(rate_hz: int, framing: str) -> ContextTerms:
        return ContextTerms(
            rate_hz=rate_hz,
            framing=framing,
            heartbeat_ns=milliseconds_ns(context.heartbeat_ms),
            degraded_ns=milliseconds_ns(context.degraded_ms),
            first_audio_ns=milliseconds_ns(context.first_audio_ms),
            reconnect_ns=seconds_ns(context.reconnect_seconds),
            hold_ns=seconds_ns(context.hold_ttl_seconds),
            max_message_bytes=context.max_message_bytes
            if framing == "message"
            else min(context.max_message_bytes, MOST_CUT_BYTES),
        )

    return Terms(
        max_request_bytes=config.http.max_request_bytes,
        max_headers=config.http.max_headers,
        request_ns=seconds_ns(config.http.request_seconds),
        context=terms(context.sample_rate, context.framing),
        paths={
            path: terms(own.sample_rate or context.sample_rate, own.framing or context.framing)
            for path, own in context.paths.items()
        },
        audiohook2=AudioHook2Terms(
            formats=tuple(config.audiohook2.formats),
            channels=tuple(config.audiohook2.channels),
            start_paused=config.audiohook2.start_paused,
            supported_languages=tuple(config.audiohook2.supported_languages),
            open_ns=seconds_ns(config.audiohook2.open_seconds),
            idle_ns=seconds_ns(config.audiohook2.idle_seconds),
            paused_idle_ns=seconds_ns(config.audiohook2.paused_idle_seconds),
            max_message_bytes=config.audiohook2.max_message_bytes,
        ),
    )


def caps_of(admission: Admission) -> Caps:
    """Return how many streams there may be."""
    return Caps(
        host=admission.streams_per_host,
        worker=admission.streams_per_worker,
        address=admission.streams_per_address,
        organization=admission.streams_per_organization,
    )


class Worker:
    """Everything one worker owns."""

    def __init__(
        self,
        seat: WorkerSeat,
        files: MemoryFiles,
        config: Config,
        pair: TlsPair | None,
        keeps_queue: bool,
        settings: LiveSettings,
    ) -> None:
        self._keeps_queue = keeps_queue
        self._seat = seat
        self._config = config
        self._settings = settings
        arena = Arena(files.arena, writable=True)
        self.row = Row(arena, seat.row)
        self.row.take(os.getpid(), seat.generation, layout.ROW_BOOTING)
        pool = SlotPool(arena, SlotLocks(files.locks))
        share = Share(arena, pool, self.row, seat.generation, map_watch(files.watch))
        self.intake = Intake(
            share,
            config.audiohook2.l16_byte_order,
            seconds_ns(config.context.reconnect_seconds),
            lambda: caps_of(settings.admission()),
        )
        self.terms = terms_of(config)
        self.access = Access(config)
        self.entrance = Entrance(self.row, self.access, settings.admission)
        self.loop = Loop(self._every_turn, pace_ns=PACE_NS)
        self.overload = Overload(milliseconds_ns(config.server.overload_ms))
        self._overload_notice = OverloadNotice(share.tell)
        self.transport = Transport(config, pair, self.loop, self.overload, self.row, self.access)
        self.transport.prepare(seat.listeners)
        placement = Placement(arena, seat.row, settings.admission)
        self.acceptor = Acceptor(self.loop.selector, seat.listeners, placement, self.row, self)
        self.calls: dict[int, Connection] = {}
        """The connection that last had a stream in each slot; whether it still has, `verbs.py` asks."""
        record = CommandRecord(arena, self.row, share.tell)
        self.commands = CommandPort(seat.command_fd, self.loop, Verbs(self.calls, time.monotonic_ns), record)
        self._succession = Succession(pool, self.calls, self.commands.ask, self.loop)
        self.connections: set[Connection] = set()
        self._garbage = GarbageTimes(time.monotonic_ns())
        self._inbox = SignalInbox()
        self._turns = 0
        self._chores_ns = self._next_ns = 0
        self._end_ns = NEVER_NS
        self._leaving = False
        self._retired = False

    def run(self) -> None:
        self._inbox.install((signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1))
        self.loop.register(self._inbox, selectors.EVENT_READ, _Wakeup(self._on_signals))
        lifeline = _Wakeup(self._on_orphaned)
        self.loop.register(self._seat.lifeline_fd, selectors.EVENT_READ, lifeline)
        GarbageTimes.prepare()
        self.row.set("state", layout.ROW_ACCEPTING)
        self.acceptor.look(time.monotonic_ns())
        report_ready(self._seat.report_fd)
        log.info("worker accepts row=%d generation=%d pid=%d", self._seat.row, self._seat.generation, os.getpid())
        self.loop.run()
        now_ns = time.monotonic_ns()
        for connection in list(self.connections):
            connection.drop(now_ns, reset=False)
        self.row.set("state", layout.ROW_FREE)
        self.row.set("pid", 0)

    # ---------------------------------------------------------------------------------------- every turn

    def _every_turn(self, now_ns: int) -> int:
        """Ring the bell and judge the turn; do the chores if they are due. Return when the next turn must be."""
        row = self.row
        if self.loop.turns != self._turns:
            self._turns = self.loop.turns
            row.observe("turn_ns", self.loop.turn_ns)
            loop = self.loop
            self.overload.turn(loop.turn_ns, now_ns, idle=loop.idle, idle_ns=loop.idle_ns, rush=loop.rush)
            self._overload_notice.turn(self.overload, now_ns)
            row.observe("loop_lag_ns", self.loop.timer_lag_ns)
        else:
            self.overload.during(now_ns - self.loop.started_ns, rush=self.loop.rush)
        bell_ns = row.pay_bell(now_ns) or NEVER_NS
        if now_ns >= self._chores_ns:
            self._next_ns = self._do_chores(now_ns)
            self._chores_ns = now_ns + CHORES_NS
        # Not before the chores may run again: a turn that was due for them and did none would be due again at once.
        return min(max(self._next_ns, self._chores_ns), bell_ns)

    def _do_chores(self, now_ns: int) -> int:
        """Heartbeat, log level, placement, garbage, and whether it is over; return when they are due at the latest."""
        self.row.set("heartbeat_ns", now_ns)
        if self.loop.bulk_turns:
            self.row.count("bulk_turns", self.loop.bulk_turns)
            self.loop.bulk_turns = 0
        set_log_level(self._settings.log_level)
        look_ns = self.acceptor.turn(now_ns)
        self._garbage.turn(now_ns, idle=self.loop.idle)
        self.access.turn(now_ns)
        self.transport.turn(now_ns)
        if (self.terms.draining or self._retired) and self._may_leave(now_ns):
            self.loop.stop()
        return min(now_ns + BEAT_NS, look_ns, self._end_ns)

    def _may_leave(self, now_ns: int) -> bool:
        if not self.terms.draining:
            return not self.connections
        if not self._leaving and not any(connection.streaming for connection in self.connections):
            self._leave(now_ns)
        return now_ns >= self._end_ns or (self._leaving and not self.connections)

    def _leave(self, now_ns: int) -> None:
        """No stream is left and none will come: let the listeners go, answer who still waits, give all time to read."""
        self._leaving = True
        self.acceptor.retire()
        self._end_ns = min(self._end_ns, now_ns + HURRY_NS)
        for connection in list(self.connections):
            connection.close(SHUTDOWN, now_ns)

    # ---------------------------------------------------------------------------------------- connections

    def accepted(self, connected: socket.socket, peer: tuple[str, int], now_ns: int) -> None:
        if self.entrance.turns_away(connected, peer[0], plain=self.transport.plain):
            return
        stream_socket = self.transport.open(connected, peer[0], now_ns)
        connection = Connection(
            stream_socket, peer, self.terms, self.access, self.loop, self.intake, self.overload, self, now_ns
        )
        self.connections.add(connection)
        self.row.set("live", len(self.connections))
        self.entrance.entered(connection, peer[0], now_ns)

    def make_room(self, now_ns: int) -> bool:
        return self.entrance.make_room(now_ns)

    def clear_way(self, identity: Identity, now_ns: int, then: Callable[[int], None]) -> bool:
        return self._succession.clear_way(identity, now_ns, then)

    def stream_began(self, connection: Connection, stream: StreamIntake) -> None:
        self.calls[stream.slot] = connection
        self.entrance.has_stream(connection)

    def connection_gone(self, connection: Connection) -> None:
        self._chores_ns = 0  # it may have been the last one that was waited for
        self.connections.discard(connection)
        self.entrance.gone(connection)
        self.row.set("live", len(self.connections))

    # ---------------------------------------------------------------------------------------- the end

    def _on_signals(self) -> None:
        self._chores_ns = 0
        for number in self._inbox.drain():
            if number == signal.SIGTERM:
                self._drain()
            elif number == signal.SIGQUIT:
                self._hurry()
            else:
                self._retire()

    def _drain(self) -> None:
        log.info("worker drains row=%d calls=%d", self._seat.row, len(self.connections))
        self.terms.draining = True
        self.row.set("state", layout.ROW_DRAINING)

    def _retire(self) -> None:
        log.info("worker retires row=%d calls=%d", self._seat.row, len(self.connections))
        self._retired = True
        self.acceptor.retire()
        self.row.set("state", layout.ROW_DRAINING)

    def _hurry(self) -> None:
        if self._keeps_queue and not self.terms.draining and not self._retired:
            # A restart: the next daemon answers within the peers' patience. Who is just connecting is no 503 either.
            self._retire()
            self.loop.call_at(time.monotonic_ns() + KNOCKING_NS, lambda _now_ns: self._hurry())
            return
        self.terms.draining = True
        self.row.set("state", layout.ROW_DRAINING)
        now_ns = time.monotonic_ns()
        self._end_ns = min(self._end_ns, now_ns + HURRY_NS)
        for connection in list(self.connections):
            connection.close(SHUTDOWN, now_ns)

    def _on_orphaned(self) -> None:
        log.warning("the supervisor is gone: worker keeps its calls and accepts no more row=%d", self._seat.row)
        self.loop.unregister(self._seat.lifeline_fd)
        self._retire()
        deadline_ns = time.monotonic_ns() + seconds_ns(self._config.server.orphan_seconds)
        self.loop.call_at(deadline_ns, lambda _now_ns: self._hurry())


class _Wakeup:
    """A descriptor whose readiness means one thing."""

    closed = False
    newcomer = 0

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def on_ready(self, mask: int, now_ns: int) -> None:
        self._callback()

    def on_bulk(self, now_ns: int) -> bool:
        return False
