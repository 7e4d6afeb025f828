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

from audiohook.call import Call, Terms
from audiohook.errors import INTERNAL_ERROR, PEER_VANISHED, SEND_STALLED, Closure, Refusal
from audiohook.net.loop import Loop
from audiohook.net.stream_socket import READ_BYTES, StreamSocket
from audiohook.session.events import AdmissionAsked, Answered, AudioArrived, Ended, Event, Noticed
from audiohook.units import NEVER_NS
from audiohook.worker.intake import Intake, StreamIntake

log = logging.getLogger("audiohook.worker")


class Owner(Protocol):
    """Who keeps the connections: told once when one is gone."""

    def connection_gone(self, connection: "Connection") -> None: ...


class Connection:
    """Lives in the loop from accept to `drop`."""

    __slots__ = (
        "_armed_ns",
        "_call",
        "_ended",
        "_half_closed",
        "_in_bulk",
        "_intake",
        "_loop",
        "_mask",
        "_owner",
        "_pending",
        "_socket",
        "_source_address",
        "_stream",
        "closed",
    )

    def __init__(
        self,
        socket: StreamSocket,
        source_address: str,
        terms: Terms,
        loop: Loop,
        intake: Intake,
        owner: Owner,
        now_ns: int,
    ) -> None:
        self._socket = socket
        self._source_address = source_address
        self._loop = loop
        self._intake = intake
        self._owner = owner
        self._call = Call(terms, now_ns)
        self._stream: StreamIntake | None = None
        self._ended = Ended(PEER_VANISHED)
        self._armed_ns = NEVER_NS
        self._pending = b""
        self._in_bulk = False
        self._half_closed = False
        self.closed = False
        self._mask = selectors.EVENT_READ
        loop.register(socket, self._mask, self)
        self._rearm()

    @property
    def streaming(self) -> bool:
        return self._stream is not None

    # ---------------------------------------------------------------------------------------- the loop's calls

    def on_ready(self, mask: int, now_ns: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._socket.flush()
            self._settle(now_ns)
        if not mask & selectors.EVENT_READ or self.closed:
            return
        data = self._socket.read()
        if data is None:
            return
        if len(data) == READ_BYTES:
            # Not decoded here: this one has a backlog, and live calls are waiting behind it (net/loop.py).
            self._pending = data
            self._in_bulk = True
            self._loop.unregister(self._socket)
            self._loop.join_bulk(self)
            return
        self._take(data, now_ns)

    def on_bulk(self, now_ns: int) -> bool:
        if self._socket.has_unsent:
            # Out of the selector nobody else flushes, and a peer that reads must not be taken for one that stalls.
            self._socket.flush()
        pending, self._pending = self._pending, b""
        self._take(pending, now_ns)
        if now_ns >= self._call.deadline_ns:
            # Here and not by the timer, which finds a portion pending and leaves the judgement to this place.
            self._guarded(lambda: self._call.on_deadline(now_ns), now_ns)
        if self.closed:
            return False
        data = self._socket.read()
        if data is not None and len(data) == READ_BYTES:
            self._pending = data
            return True
        self._in_bulk = False
        self._mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._socket.has_unsent else 0)
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
            self.on_ready(selectors.EVENT_READ, now_ns)
        self._armed_ns = NEVER_NS
        if not self._in_bulk:
            self._guarded(lambda: self._call.on_deadline(now_ns), now_ns)

    def close(self, why: Closure, now_ns: int) -> None:
        """End the call for a reason of ours."""
        self._guarded(lambda: self._call.close(why, now_ns), now_ns)

    # ---------------------------------------------------------------------------------------- the Call's contract

    def _take(self, data: bytes, now_ns: int) -> None:
        call = self._call
        if data:
            self._guarded(lambda: call.receive_data(data, now_ns), now_ns)
            self._intake.row.observe("publish_ns", self._loop.clock() - now_ns)
        else:
            self._guarded(lambda: call.receive_eof(now_ns), now_ns)

    def _guarded(self, step: Callable[[], None], now_ns: int) -> None:
        if self.closed:
            return
        try:
            step()
            self._handle(self._call.events(), now_ns)
        except Exception:
            # Ours, not the peer's. One call must not take the others with it, and must not be silent about it.
            log.exception("internal error: ending one connection")
            self._fail(now_ns)
            return
        self._settle(now_ns)

    def _fail(self, now_ns: int) -> None:
        """Say 1011 (or 503) as far as it can still be said, and go: nothing more is asked of this Call."""
        self._ended = Ended(INTERNAL_ERROR.slug, INTERNAL_ERROR.code, INTERNAL_ERROR.text)
        if self._stream is None:
            self._intake.row.count(INTERNAL_ERROR.slug)
        with contextlib.suppress(Exception):  # logged once already; it may be the Call itself that is broken
            self._call.close(INTERNAL_ERROR, now_ns)
            self._socket.send(self._call.data_to_send())
        self.drop(now_ns, reset=False)

    def _handle(self, events: list[Event], now_ns: int) -> None:
        for event in events:
            if type(event) is AudioArrived:
                if self._stream is not None:
                    self._stream.receive(event.payload, now_ns)
            elif isinstance(event, AdmissionAsked):
                self._admit(event, now_ns)
            elif isinstance(event, Answered):
                self._intake.row.count(event.kind)
            elif isinstance(event, Ended):
                self._end_stream(event, now_ns)
            elif isinstance(event, Noticed) and self._stream is not None:
                self._stream.notice(event.kind)

    def _admit(self, asked: AdmissionAsked, now_ns: int) -> None:
        stream = self._intake.admit(asked, self._source_address)
        if isinstance(stream, Refusal):
            self._call.refuse(stream, now_ns)
        else:
            self._stream = stream
            self._call.admit(now_ns)
        self._handle(self._call.events(), now_ns)

    def _end_stream(self, ended: Ended, now_ns: int) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end(ended, now_ns)

    def _settle(self, now_ns: int) -> None:
        """Send, half-close, close or re-arm, as the Call wants it."""
        call = self._call
        data = call.data_to_send()
        if data and not call.reset and not self._socket.send(data):
            self._ended = Ended(SEND_STALLED.slug)
            self.drop(now_ns, reset=True)
            return
        if call.reset or call.finished:
            # Also with bytes unsent: at the end of file the socket stays readable, so waiting would be spinning.
            self.drop(now_ns, reset=call.reset)
            return
        if call.half_closed and not self._half_closed and not self._socket.has_unsent:
            self._half_closed = True
            self._socket.end_sending()
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._socket.has_unsent else 0)
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
        if not self._in_bulk:
            self._loop.unregister(self._socket)
        self._socket.close(reset=reset)
        try:
            self._end_stream(self._ended, now_ns)
        except Exception:
            log.exception("internal error: the end of one stream")
        self._owner.connection_gone(self)
