"""The Call: one peer, from its first byte to its last, in one pure object. Composes `wire` and `session`.

Bytes and `now_ns` in; events, bytes to send and a deadline out. Knows no socket, no slot, no decoder: whether there is
room for a stream is asked with `AdmissionAsked` and told with `admit()` or `refuse()`. None of the methods raises for
what a peer did. After any of them the adapter (1) sends `data_to_send()`, (2) handles `events()`, (3) re-arms its timer
if `deadline_ns` came earlier, (4) shuts its sending side if `half_closed`, (5) resets if `reset`, or closes if
`finished`. (1) and (2) may change places. Two more things are asked of it: `AdmissionAsked` is answered before the Call
is told anything else (in `context` it may wait, see `awaits_admission`), and what has arrived is handed over before
`on_deadline` is called: a daemon that was late must not judge a peer whose answer it has not read
(tests/loopback/test_connection_time.py).

A Call goes through four phases: the request, the question for admission, the session, and the linger (everything is
said; the peer's end is awaited for CLOSE_WAIT_NS, so that its unread bytes do not turn our last words into a reset).
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from audiohook.errors import DRAINING, REQUEST_TIMEOUT, SHUTDOWN, UPGRADE_MALFORMED, Closure, Refusal
from audiohook.session.audiohook2 import AudioHook2Session
from audiohook.session.audiohook2_terms import DIALECT as AUDIOHOOK2
from audiohook.session.audiohook2_terms import SESSION_HEADER, AudioHook2Terms, greet
from audiohook.session.context import CLOSE_WAIT_NS, DIALECT, ContextSession, ContextTerms, identify
from audiohook.session.events import (
    AccessAsked,
    AdmissionAsked,
    Answered,
    Command,
    Event,
    Identity,
    SendClose,
    SendPing,
    SendText,
)
from audiohook.units import NEVER_NS
from audiohook.wire.audio_frames import single_audio
from audiohook.wire.frames import CloseReceived, Failed, Message, Ping, WebSocket
from audiohook.wire.plain_http import plain_answer
from audiohook.wire.request import (
    Request,
    RequestReader,
    accept_bytes,
    is_upgrade,
    refusal_bytes,
    upgrade_key,
)

MAX_EARLY_BYTES = 1 << 20
"""What a peer may send before its upgrade is answered. Correct clients send nothing then."""

Session = ContextSession | AudioHook2Session
Outcome = TypeVar("Outcome")


class Terms(msgspec.Struct):
    """What all Calls of a worker are held to. `draining` is the one field that changes: the worker sets it."""

    max_request_bytes: int
    max_headers: int
    request_ns: int
    context: ContextTerms
    paths: Mapping[str, ContextTerms]
    audiohook2: AudioHook2Terms
    draining: bool = False

    def context_for(self, target: str) -> ContextTerms:
        return self.paths.get(target.partition("?")[0], self.context)


class Call:
    """One connection. At most one stream comes of it."""

    def __init__(self, terms: Terms, now_ns: int) -> None:
        self._terms = terms
        self._reader: RequestReader | None = RequestReader(
            max_request_bytes=terms.max_request_bytes, max_headers=terms.max_headers
        )
        self._key = ""
        self._waiting = b""
        self._wish: tuple[Identity | Request, ContextTerms] | None = None
        self._refusal: Refusal | None = None
        self._socket: WebSocket | None = None
        self._session: Session | None = None
        self._behind: list[Message] = []
        """What came in one read behind the message that `AdmissionAsked` is about: taken when that is answered."""
        self._out = bytearray()
        self._events: list[Event] = []
        self.deadline_ns = now_ns + terms.request_ns
        """When `on_deadline` wants to be called. May be early; the adapter re-arms only when it becomes earlier."""
        self.half_closed = False
        """Everything has been said: after the bytes, shut the sending side."""
        self.reset = False
        """Drop the connection at once, unsent bytes and all."""
        self.finished = False
        """Nothing more will come: close the connection. Bytes that the network would not take by now are for nobody:
        the peer has ended its own side, or has had CLOSE_WAIT_NS to read them."""

    # ---------------------------------------------------------------------------------------- input

    def receive_data(self, data: bytes, now_ns: int) -> None:
        """Take bytes from the peer."""
        if self._session is not None and self._socket is not None:
            self._receive_messages(self._socket.receive_data(data), now_ns)
        elif self._reader is not None:
            answer = self._reader.receive_data(data)
            if isinstance(answer, Refusal):
                self.refuse(answer, now_ns)
            elif answer is not None:
                self._waiting = self._reader.trailing()
                self._reader = None
                self._take_request(answer, now_ns)
        elif self._key and self._refusal is None:
            self._waiting += data
            if len(self._waiting) > MAX_EARLY_BYTES:
                self.refuse(UPGRADE_MALFORMED.naming("too much sent before the answer"), now_ns)

    def receive_packet(self, data: bytes, now_ns: int) -> bytes | None:
        """Take `data` if it is one message of audio and nothing else comes of it; return the message.

        The way of nearly every read: nothing is to be sent, no event comes, no deadline moves. None: nothing was taken,
        `data` is for `receive_data`, which does the same and all the rest (tests/unit/test_call_packets.py).
        """
        session, socket = self._session, self._socket
        if session is None or socket is None or not socket.between_messages:
            return None
        payload = single_audio(data, socket.max_message_bytes)
        return payload if payload is not None and session.hears(payload, now_ns) else None

    def receive_packets(self, data: bytes, now_ns: int) -> tuple[list[bytes], bytes]:
        """Take the messages of audio that `data` begins with, so far as nothing else comes of them, as above.

        Return them, and the bytes behind them, which are for `receive_data`: all of `data`, if there are none.
        """
        session = self._session
        if session is None or self._socket is None:
            return [], data
        return self._socket.leading_audio(data, lambda message: session.hears(message, now_ns))

    def receive_eof(self, now_ns: int) -> None:
        """Take the end of what the peer sends."""
        if self._session is not None:
            self._session.receive_eof(now_ns)
            self._serve_session(now_ns)
        elif self._reader is not None:
            refusal = self._reader.receive_eof()
            if refusal is not None:
                self._events.append(Answered(refusal.slug))
        elif self._refusal is not None:
            # It does not wait for its answer. Who tries keys in that way is counted all the same.
            self._events.append(Answered(self._refusal.slug))
        self._finish()

    def on_deadline(self, now_ns: int) -> None:
        """Take the time. Does nothing if it is early."""
        if self._session is not None:
            self._session.on_deadline(now_ns)
            self._serve_session(now_ns)
        elif now_ns < self.deadline_ns:
            return
        elif self._reader is not None:
            self.refuse(REQUEST_TIMEOUT, now_ns)
        elif self._refusal is not None:
            self.refuse(self._refusal, now_ns)
        else:
            self._finish()

    def close(self, why: Closure, now_ns: int) -> None:
        """End this connection for a reason of ours, in the way that its phase knows."""
        if self._session is not None:
            self._session.close(why, now_ns)
            self._serve_session(now_ns)
        elif why.code is None and not self.finished:
            self.reset = True
            self._finish()
        elif self._reader is not None or self._key:
            self.refuse(DRAINING if why is SHUTDOWN else Refusal(why.slug, 503, why.text), now_ns)

    @property
    def awaits_admission(self) -> bool:
        """Whether `AdmissionAsked` was said and is not answered. Only `context` may be answered later."""
        return self._wish is not None

    def let_in(self, now_ns: int) -> None:
        """Answer `AccessAsked`: the peer may enter."""
        wish = self._wish
        if wish is None:
            return
        asked, context = wish
        if isinstance(asked, Identity):
            self._events.append(AdmissionAsked(asked, context.media()))
            return
        greeting = greet(asked)
        if isinstance(greeting, Refusal):
            self.refuse(greeting, now_ns)
        else:
            # This dialect says who calls in its first message: the WebSocket is opened before there is a stream.
            terms = self._terms.audiohook2
            self._open(AudioHook2Session(terms, greeting, now_ns), terms.max_message_bytes, now_ns)

    def keep_out(self, refusal: Refusal, delay_ns: int, now_ns: int) -> None:
        """Answer `AccessAsked`: the peer may not, and hears so only after `delay_ns`, whatever was wrong."""
        self._refusal = refusal
        self._wish = None
        self.deadline_ns = now_ns + delay_ns

    def admit(self, now_ns: int, continues_from_frames: int | None = None) -> None:
        """Answer `AdmissionAsked`: there is room; the stream begins.

        `continues_from_frames` is how far the stream reaches that this one continues, if it does.
        """
        if isinstance(self._session, AudioHook2Session):
            self._session.admit(now_ns, continues_from_frames)
            self._go_on(now_ns)
        elif self._wish is not None:
            terms = self._wish[1]
            self._open(ContextSession(terms, now_ns), terms.max_message_bytes, now_ns)

    def refuse(self, refusal: Refusal, now_ns: int) -> None:
        """Answer the request, or `AdmissionAsked`, with a refusal in the way that the phase knows."""
        if isinstance(self._session, AudioHook2Session):
            self._session.refuse(refusal, now_ns)
            self._go_on(now_ns)
        else:
            self._answer(refusal_bytes(refusal), refusal.slug, now_ns)

    def ask(self, act: Callable[[Session], Outcome], now_ns: int) -> Outcome | None:
        """Let `act` ask something of the session and do what comes of it; None if no session is open."""
        if self._session is None:
            return None
        outcome = act(self._session)
        self._serve_session(now_ns)
        return outcome

    def _open(self, session: Session, max_message_bytes: int, now_ns: int) -> None:
        """Send the 101, and hand the session what the peer sent without waiting for it."""
        self._out += accept_bytes(self._key)
        self._key = ""
        self._wish = None
        self._socket = WebSocket(client=False, max_message_bytes=max_message_bytes)
        self._session = session
        self.deadline_ns = session.deadline_ns
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self.receive_data(waiting, now_ns)

    # ---------------------------------------------------------------------------------------- output

    def data_to_send(self) -> bytes:
        """Return and forget the bytes that are to be sent now."""
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def events(self) -> list[Event]:
        """Return and forget what happened, in order."""
        events = self._events
        if events:
            self._events = []
        return events

    @property
    def streaming(self) -> bool:
        """Whether a stream was admitted that has not ended."""
        return self._session is not None and self._session.streaming

    # ---------------------------------------------------------------------------------------- phases

    def _take_request(self, request: Request, now_ns: int) -> None:
        if is_upgrade(request):
            self._take_upgrade(request, now_ns)
        else:
            self._answer(*plain_answer(request, draining=self._terms.draining), now_ns)

    def _take_upgrade(self, request: Request, now_ns: int) -> None:
        """Check the handshake and find the dialect; then ask whether this peer may enter.

        Whether it may is asked before the headers that say who it is are looked at in `audiohook2`: a stranger learns
        nothing but 401 there.
        """
        key = upgrade_key(request)
        if isinstance(key, Refusal):
            self.refuse(key, now_ns)
            return
        dialect = AUDIOHOOK2 if request.count(SESSION_HEADER) else DIALECT
        asked = request if dialect is AUDIOHOOK2 else identify(request)
        if isinstance(asked, Refusal):
            self.refuse(asked, now_ns)
        elif self._terms.draining:
            self.refuse(DRAINING, now_ns)
        else:
            self._key = key
            self._wish = (asked, self._terms.context_for(request.target))
            self._events.append(AccessAsked(dialect, request))

    def _answer(self, data: bytes, kind: str, now_ns: int) -> None:
        self._out += data
        self._reader = None
        self._key = ""
        self._wish = self._refusal = None
        self._waiting = b""
        self._events.append(Answered(kind))
        self._linger(now_ns)

    def _receive_messages(self, messages: list[Message], now_ns: int) -> None:
        """Give the session its messages; whatever it answers to one goes out before the next one is looked at."""
        rest = iter(messages)
        for message in rest:
            session = self._session
            if session is None:
                return
            if type(message) is bytes:
                session.receive_audio(message, now_ns)
            else:
                self._receive_other(session, message, now_ns)
                self._serve_session(now_ns)
                if isinstance(session, AudioHook2Session) and session.asking:
                    # Else a ping or close frame of the WebSocket would be answered before `opened`, and nothing can be
                    # said behind a close (tests/unit/test_call_audiohook2.py::test_a_session_is_the_same_in_every_cut).
                    self._behind = list(rest)
                    return
        session = self._session
        if session is not None and (session.events or session.commands or session.over):
            self._serve_session(now_ns)

    def _go_on(self, now_ns: int) -> None:
        """`AdmissionAsked` has been answered to a session: say so, then take what came behind the question."""
        self._serve_session(now_ns)
        behind, self._behind = self._behind, []
        self._receive_messages(behind, now_ns)

    def _receive_other(self, session: Session, message: Message, now_ns: int) -> None:
        if isinstance(message, str):
            session.receive_text(message, now_ns)
        elif isinstance(message, Failed):
            session.close(message.closure, now_ns)
        elif isinstance(message, CloseReceived):
            session.receive_close(message.code, message.reason, now_ns)
            self._send_close(message.code, "")
        else:
            session.receive_control(now_ns)
            if isinstance(message, Ping) and self._socket is not None:
                self._out += self._socket.pong(message.payload)

    def _serve_session(self, now_ns: int) -> None:
        """Hand on what the session said and do what it wants."""
        session = self._session
        if session is None:
            return
        self._events += session.events
        session.events.clear()
        commands, session.commands = session.commands, []
        for command in commands:
            self._obey(command)
        if self.finished:
            return
        self.deadline_ns = session.deadline_ns
        if session.over:
            self._linger(now_ns)

    def _obey(self, command: Command) -> None:
        if isinstance(command, SendPing):
            if self._socket is not None:
                self._out += self._socket.ping()
        elif isinstance(command, SendText):
            if self._socket is not None:
                self._out += self._socket.text(command.text)
        elif isinstance(command, SendClose):
            self._send_close(command.code, command.text)
        else:
            self.reset = True
            self._finish()

    def _send_close(self, code: int | None, text: str) -> None:
        if self._socket is not None:
            self._out += self._socket.close(code, text)

    def _linger(self, now_ns: int) -> None:
        """Everything is said. Wait for the peer's end of file, a bounded time, reading and dropping what it sends."""
        self._session = None
        self._socket = None
        self.half_closed = True
        self.deadline_ns = now_ns + CLOSE_WAIT_NS

    def _finish(self) -> None:
        self._session = None
        self._socket = None
        self._reader = None
        self._key = ""
        self._wish = self._refusal = None
        self.finished = True
        self.deadline_ns = NEVER_NS
