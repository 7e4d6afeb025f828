"""One accepted connection: a Call on one side, a socket and a place in memory on the other.

The adapter of `call.py`'s contract, the only place where a Call meets a socket. Invariants: a connection leaves the
loop, gives back its slot and closes its socket exactly once, in `drop`; an exception of our own ends this connection
(1011) and no other; a Call hears of the time only after everything that has arrived for it.
"""

import contextlib
import logging
import selectors
from collections.abc import Callable
from typing import Protocol

from audiohook.auth.proxy_protocol import ProxyMalformed
from audiohook.call import Call, Outcome, Session, Terms
from audiohook.errors import (
    INTERNAL_ERROR,
    OVERLOADED,
    PEER_VANISHED,
    PROXY_MALFORMED,
    SEND_STALLED,
    Closure,
    Refusal,
)
from audiohook.net.loop import Loop
from audiohook.net.stream_socket import StreamSocket
from audiohook.session.events import (
    AccessAsked,
    AdmissionAsked,
    AudioArrived,
    Continues,
    Ended,
    Event,
    Identity,
    StreamEvent,
)
from audiohook.units import NEVER_NS, NS_PER_MS
from audiohook.worker.access import Access
from audiohook.worker.intake import Intake
from audiohook.worker.occurrences import take_down
from audiohook.worker.overload import Overload
from audiohook.worker.peer_address import PeerAddress
from audiohook.worker.ranks import FRESH, LEAVING, SILENT, SLOW, rank_after
from audiohook.worker.shedding import Shedding
from audiohook.worker.stream_intake import StreamIntake

log = logging.getLogger("audiohook.worker")

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

LANE_NS = NS_PER_MS
"""How long one connection is served in the bulk lane before it is the next one's turn."""

SHED_BYTES = 65_536
"""A read in the bulk lane of what is only to be counted."""

LAST_PORTIONS = 8
"""Of what lies unread, where a newer connection of the call has come."""


class Owner(Protocol):
    """Who keeps the connections. `clear_way`, before a stream begins: False if an older one is in its way; then `then`
    is called once it is not.
    """

    def clear_way(self, identity: Identity, now_ns: int, then: Callable[[int], None]) -> bool: ...

    def stream_began(self, connection: "Connection", stream: StreamIntake) -> None: ...

    def connection_gone(self, connection: "Connection") -> None: ...


class Connection:
    """Lives in the loop from accept to `drop`."""

    __slots__ = (
        *("_access", "_armed_ns", "_call", "_continues", "_ended", "_half_closed", "_in_bulk", "_intake"),
        *("_loop", "_mask", "_overload", "_owner", "_peer", "_pending", "_shedding", "_socket"),
        *("closed", "newcomer", "stream"),
    )

    def __init__(
        self,
        socket: StreamSocket,
        peer: tuple[str, int],
        terms: Terms,
        access: Access,
        loop: Loop,
        intake: Intake,
        overload: Overload,
        owner: Owner,
        now_ns: int,
    ) -> None:
        self._socket = socket
        self._access = access
        self._peer = PeerAddress(peer, behind_proxy_header=access.wants_proxy_header(peer[0]))
        self._continues: Continues | None = None
        self._loop = loop
        self._intake = intake
        self._overload = overload
        self._owner = owner
        self._call = Call(terms, now_ns)
        self.stream: StreamIntake | None = None
        self._ended = Ended(PEER_VANISHED)
        self._armed_ns = NEVER_NS
        self._pending = b""
        self._in_bulk = self._half_closed = self.closed = False
        self._shedding = Shedding(overload)
        self.newcomer = FRESH
        self._mask = _READ
        loop.register(socket, self._mask, self)
        self._rearm()

    @property
    def streaming(self) -> bool:
        """Whether a call is going on, with a stream or on the way to one."""
        return self.stream is not None or self._call.streaming

    # ---------------------------------------------------------------------------------------- the loop's calls

    def on_ready(self, mask: int, now_ns: int) -> None:
        if mask & _WRITE:
            self._socket.flush()
            self._settle(now_ns)
            if not mask & _READ or self.closed:
                return
        if self._in_bulk:
            # A timer in the middle of this batch of events has read a portion that is not taken yet, and what is read
            # now would overtake it (tests/loopback/test_connection_time.py).
            return
        data = b"" if self.newcomer == LEAVING else self._socket.read()
        if data is None:
            return
        if self.newcomer:
            self.newcomer = rank_after(data, streaming=self.stream is not None)
            if not self.newcomer:
                self._loop.settle(self._socket)
        elif not data and self.stream is not None:
            self.newcomer = LEAVING
            self._loop.defer(self._socket)
            return
        if len(data) == self._socket.portion_bytes:
            # Not decoded here: this one has a backlog, and live calls are waiting behind it (net/loop.py).
            self._pending = data
            self._in_bulk = True
            self._loop.unregister(self._socket)
            self._loop.join_bulk(self)
            return
        self._take(data, now_ns)

    def on_bulk(self, now_ns: int) -> bool:
        # By time and not by bytes: 4 KB are 1.7 s of Opus and 0.25 s of PCMU in stereo. With one portion a round those
        # who send PCMU fell behind the clock, beside others who caught up with half a minute (make faults: stall).
        end_ns = now_ns + LANE_NS
        while self._in_bulk and self._take_portion(now_ns):  # else it has left the lane meanwhile (`give_way`)
            now_ns = self._loop.clock()
            if now_ns >= end_ns:
                return True
        return False

    def _take_portion(self, now_ns: int) -> bool:
        """Take a portion of a backlog; return whether there is more of it."""
        if self._socket.has_unsent:
            # Out of the selector nobody else flushes, and a peer that reads must not be taken for one that stalls.
            self._socket.flush()
        pending, self._pending = self._pending, b""
        media_ns = 0 if self.stream is None else self.stream.media_ns
        self._shedding.look(media_ns, self._loop.idle_ns, now_ns, alone=not self._loop.bulk_waiting)
        self._take(pending, now_ns)
        if now_ns >= self._call.deadline_ns:
            # Here and not by the timer, which finds a portion pending and leaves the judgement to this place.
            self._guarded(lambda: self._call.on_deadline(now_ns), now_ns)
        if self.closed:
            return False
        data = self._socket.read(SHED_BYTES if self._shedding.active else 0)
        if data is not None and len(data) >= self._socket.portion_bytes:
            self._pending = data
            return True
        self._in_bulk = False
        self._shedding.leave_lane()
        self._mask = _READ | (_WRITE if self._socket.has_unsent else 0)
        self._loop.register(self._socket, self._mask, self)
        if data is not None:
            self._take(data, now_ns)
        return False

    def _on_timer(self, now_ns: int) -> None:
        if self.closed or now_ns < self._armed_ns:
            return
        # First what has arrived, then the time. After a stop of this process (SIGSTOP, a frozen machine) or in a long
        # turn its timers are served while frames lie unread, and a peer that has answered would be called dead.
        if not self._in_bulk:
            self.on_ready(_READ, now_ns)
        self._armed_ns = NEVER_NS
        if not self._in_bulk and self.newcomer != LEAVING:
            self._guarded(lambda: self._call.on_deadline(now_ns), now_ns)

    def ask(self, act: Callable[[Session], Outcome], now_ns: int) -> Outcome | None:
        """Let `act` ask something of the call's session; None if none is open."""
        outcomes: list[Outcome | None] = []
        self._guarded(lambda: outcomes.append(self._call.ask(act, now_ns)), now_ns)
        return outcomes[0] if outcomes else None

    def close(self, why: Closure, now_ns: int) -> None:
        """End the call for a reason of ours."""
        self._guarded(lambda: self._call.close(why, now_ns), now_ns)

    def give_way(self, why: Closure, now_ns: int) -> None:
        """As `close`, for a newer connection, which came behind all that lies unread here: that is taken before."""
        if not self.closed and not self._in_bulk:
            self.on_ready(_READ, now_ns)
        for _ in range(LAST_PORTIONS):
            if self.closed or not self._in_bulk or not self._take_portion(now_ns):
                break
        self.close(why, now_ns)

    # ---------------------------------------------------------------------------------------- the Call's contract

    def _take(self, data: bytes, now_ns: int) -> None:
        call, stream = self._call, self.stream
        if stream is not None and data:
            # What the rest of this method does, for nearly all that comes, at two thirds of the cost; what is shed at a
            # quarter: shedding must not need what it is to spare.
            try:
                shedding = self._shedding.late or self._overload.share
                if not shedding and (packet := call.receive_packet(data, now_ns)) is not None:
                    stream.receive(packet, now_ns)
                    data = b""
                else:
                    data = self._take_packets(stream, data, now_ns)
            except Exception:
                self._fail(now_ns)
                return
            if not data:
                self._intake.row.observe("publish_ns", self._loop.clock() - now_ns)
                return
        if data and self._peer.awaits_header:
            data = self._take_proxy_header(data, now_ns)
            if not data:
                return
        if data:
            self._guarded(lambda: call.receive_data(data, now_ns), now_ns)
            self._intake.row.observe("publish_ns", self._loop.clock() - now_ns)
        else:
            self._guarded(lambda: call.receive_eof(now_ns), now_ns)

    def _take_packets(self, stream: StreamIntake, data: bytes, now_ns: int) -> bytes:
        """Take the audio that `data` begins with; return what is behind it."""
        packets, behind = self._call.receive_packets(data, now_ns)
        shed = self._shedding.to_shed(len(packets))
        if shed:
            stream.shed(packets[:shed], now_ns)
        for packet in packets[shed:]:
            stream.receive(packet, now_ns)
        return behind

    def _take_proxy_header(self, data: bytes, now_ns: int) -> bytes:
        """Take the header that a proxy puts before everything else; return what comes behind it."""
        behind = self._peer.take_header(data)
        if not isinstance(behind, ProxyMalformed):
            return behind
        said = f"proxy header refused: {behind.reason}"
        self._access.strangers.note(PROXY_MALFORMED.slug, said, self._peer.address)
        self._intake.row.count(PROXY_MALFORMED.slug)
        self.drop(now_ns, reset=True)
        return b""

    def _guarded(self, step: Callable[[], None], now_ns: int) -> None:
        if self.closed:
            return
        try:
            step()
            self._handle(self._call.events(), now_ns)
        except Exception:
            self._fail(now_ns)
            return
        self._settle(now_ns)

    def _fail(self, now_ns: int) -> None:
        """Say 1011 (or 503) as far as it can still be said, and go: nothing more is asked of this Call."""
        # Ours, not the peer's. One call must not take the others with it, and must not be silent about it.
        log.exception("internal error: ending one connection")
        self._ended = Ended(INTERNAL_ERROR.slug, INTERNAL_ERROR.code, INTERNAL_ERROR.text)
        if self.stream is None:
            self._intake.row.count(INTERNAL_ERROR.slug)
        with contextlib.suppress(Exception):  # logged once already; it may be the Call itself that is broken
            self._call.close(INTERNAL_ERROR, now_ns)
            self._socket.send(self._call.data_to_send())
        self.drop(now_ns, reset=False)

    def _handle(self, events: list[Event], now_ns: int) -> None:
        shed = 0
        if self._shedding.active:
            shed = self._shedding.to_shed(sum(type(event) is AudioArrived for event in events))
        for event in events:
            if isinstance(event, AudioArrived):
                if self.stream is None:
                    continue
                if shed:
                    shed -= 1
                    self.stream.shed([event.payload], now_ns)
                else:
                    self.stream.receive(event.payload, now_ns)
            elif isinstance(event, AccessAsked):
                self._judge(event, now_ns)
            elif isinstance(event, AdmissionAsked):
                self._admit(event, now_ns)
            elif isinstance(event, Ended):
                self._end_stream(event, now_ns)
            elif isinstance(event, Continues):
                self._continues = event
            elif isinstance(event, StreamEvent):
                if self.stream is not None:
                    self.stream.take(event, now_ns)
            else:
                take_down(event, self._intake.row, self._access.strangers, self._peer.address)

    def _judge(self, asked: AccessAsked, now_ns: int) -> None:
        if self._overload.refusing:
            # Before anything is looked at or computed for it: a signature costs more than a refusal.
            self._call.refuse(OVERLOADED, now_ns)
            self._handle(self._call.events(), now_ns)
            return
        address, refusal, delay_ns = self._access.judge(asked, self._peer.address)
        self._peer.is_really(address)
        if refusal is None:
            self._call.let_in(now_ns)
        else:
            self._call.keep_out(refusal, delay_ns, now_ns)
        self._handle(self._call.events(), now_ns)

    def _admit(self, asked: AdmissionAsked, now_ns: int) -> None:
        if self._owner.clear_way(asked.identity, now_ns, lambda later_ns: self._admit_late(asked, later_ns)):
            self._take_in(asked, now_ns)

    def _admit_late(self, asked: AdmissionAsked, now_ns: int) -> None:
        if not self.closed and self._call.awaits_admission:  # it has not been answered otherwise meanwhile
            self._guarded(lambda: self._take_in(asked, now_ns), now_ns)

    def _take_in(self, asked: AdmissionAsked, now_ns: int) -> None:
        stream = self._intake.admit(asked, str(self._peer), self._continues)
        if isinstance(stream, Refusal):
            self._call.refuse(stream, now_ns)
        else:
            self.stream = stream
            self._socket.portion_bytes = stream.portion_bytes
            self.newcomer = SILENT
            self._owner.stream_began(self, stream)
            self._call.admit(now_ns, stream.continues_from_frames)
        self._handle(self._call.events(), now_ns)

    def _end_stream(self, ended: Ended, now_ns: int) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.end(ended, now_ns)

    def _settle(self, now_ns: int) -> None:
        """Send, half-close, close or re-arm, as the Call wants it."""
        call = self._call
        data = call.data_to_send()
        if data and self.newcomer == SLOW:
            self.newcomer = FRESH
        if data and not call.reset and not self._socket.send(data):
            # By way of the Call: it knows whether the peer may come back, and says that nothing more is to be sent.
            call.close(SEND_STALLED, now_ns)
            self._handle(call.events(), now_ns)
            self.drop(now_ns, reset=True)
            return
        if call.reset or call.finished:
            # Also with bytes unsent: at the end of file the socket stays readable, so waiting would be spinning.
            self.drop(now_ns, reset=call.reset)
            return
        if call.half_closed and not self._half_closed and not self._socket.has_unsent:
            self._half_closed = True
            self._socket.end_sending()
        mask = _READ | (_WRITE if self._socket.has_unsent else 0)
        if mask != self._mask and not self._in_bulk:
            self._mask = mask
            self._loop.modify(self._socket, mask, self)
        self._rearm()

    def _rearm(self) -> None:
        if self._call.deadline_ns < self._armed_ns:
            self._armed_ns = self._call.deadline_ns
            self._loop.call_at(self._armed_ns, self._on_timer)

    def drop(self, now_ns: int, *, reset: bool) -> None:
        """Leave the loop, end the stream if nobody has, close the socket. Once; more often does nothing."""
        if self.closed:
            return
        self.closed = True
        self._pending = b""
        if not self._in_bulk:
            self._loop.unregister(self._socket)
        self._socket.close(reset=reset)
        try:
            self._end_stream(self._ended, now_ns)
        except Exception:
            log.exception("internal error: the end of one stream")
        self._owner.connection_gone(self)
