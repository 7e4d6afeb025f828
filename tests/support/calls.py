"""A pure adapter for `call.py`: what its docstring asks of one, to the letter, with a clock that the test turns.

Every Call in the unit tests is driven through it, so the obligations that the docstring states are shown to suffice.
The peer's side is `audiohook.wire.client`; nothing here shares code with the parts of `wire` that a Call is made of.
"""

from collections.abc import Callable, Iterable

from audiohook.call import Call, Session, Terms
from audiohook.errors import Closure, Refusal
from audiohook.session.audiohook2_terms import AudioHook2Terms
from audiohook.session.context import ContextTerms
from audiohook.session.context_client import upgrade_headers
from audiohook.session.events import AccessAsked, AdmissionAsked, AudioArrived, Event
from audiohook.units import NEVER_NS, NS_PER_S
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, masked_frame, upgrade_request
from audiohook.wire.frames import Message, WebSocket
from tests.support.cuts import same_in_every_cut

START_NS = 1_000 * NS_PER_S
"""Not 0: a clock that has run for a while finds the mistakes of whoever compares with 0."""

REQUEST_NS = 10 * NS_PER_S
HEARTBEAT_NS = 4 * NS_PER_S
DEGRADED_NS = 5 * NS_PER_S
FIRST_AUDIO_NS = 10 * NS_PER_S
RECONNECT_NS = 15 * NS_PER_S
HOLD_NS = 3600 * NS_PER_S
MAX_MESSAGE_BYTES = 2000

CALL_ID = "0c0ffee0-1111-4222-8333-444455556666"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x5a\xa5\x0f\xf0"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

HEADERS = upgrade_headers(
    call_id=CALL_ID, session_id="session-1", user_id="user-1", participant_id="participant-1", direction="inbound"
)


def context_terms(
    *,
    framing: str = "message",
    heartbeat_ns: int = HEARTBEAT_NS,
    degraded_ns: int = DEGRADED_NS,
    first_audio_ns: int = FIRST_AUDIO_NS,
    rate_hz: int = 16_000,
    reconnect_ns: int = RECONNECT_NS,
    hold_ns: int = HOLD_NS,
) -> ContextTerms:
    return ContextTerms(
        rate_hz=rate_hz,
        framing=framing,
        heartbeat_ns=heartbeat_ns,
        degraded_ns=degraded_ns,
        first_audio_ns=first_audio_ns,
        reconnect_ns=reconnect_ns,
        hold_ns=hold_ns,
        max_message_bytes=MAX_MESSAGE_BYTES,
    )


def call_terms(context: ContextTerms | None = None, *, draining: bool = False) -> Terms:
    return Terms(
        max_request_bytes=4096,
        max_headers=40,
        request_ns=REQUEST_NS,
        audiohook2=AudioHook2Terms(),
        context=context or context_terms(),
        paths={"/narrow": context_terms(rate_hz=8000, framing="fixed:40")},
        draining=draining,
    )


def upgrade(
    headers: Iterable[tuple[str, str]] = HEADERS, *, target: str = "/audiohook", more: Iterable[tuple[str, str]] = ()
) -> bytes:
    return upgrade_request(target, "audio.example", (*headers, *more), KEY)


def plain(method: str, target: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nhost: audio.example\r\n\r\n".encode()


def frame(payload: bytes, opcode: int = BINARY, fin: bool = True) -> bytes:
    return masked_frame(payload, MASK, opcode, fin)


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(code.to_bytes(2, "big") + reason.encode(), CLOSE)


class Adapter:
    """Drives one Call. `admission` is what it says to `AdmissionAsked`: None admits, a refusal refuses.

    `outcome` is "" while the connection stands, then "closed" or "reset"; after that nothing is given to the Call.
    `events_first` swaps the two steps that may change places; `hasty` tries `receive_packet` and
    `receive_packets` first, as a connection does.
    """

    def __init__(
        self,
        terms: Terms | None = None,
        *,
        admission: Refusal | None = None,
        events_first: bool = False,
        hasty: bool = False,
    ) -> None:
        self.now_ns = START_NS
        self.call = Call(terms or call_terms(), self.now_ns)
        self.events: list[Event] = []
        self.sent = bytearray()
        self.half_closed = False
        self.outcome = ""
        self._admission = admission
        self._events_first = events_first
        self._hasty = hasty
        self.hastened = 0
        """How many packets those took."""
        self._armed_ns = NEVER_NS
        self._after()

    # ---------------------------------------------------------------------------------------- what the network does

    def receive(self, *pieces: bytes) -> "Adapter":
        for piece in pieces:
            if not self.outcome and (left := self._hasten(piece) if self._hasty else piece):
                self.call.receive_data(left, self.now_ns)
                self._after()
        return self

    def _hasten(self, piece: bytes) -> bytes:
        """Try the short ways and return what they leave; what their docstrings say that does not happen must not."""
        before = self.call.deadline_ns
        packet = self.call.receive_packet(piece, self.now_ns)
        packets, left = ([packet], b"") if packet is not None else self.call.receive_packets(piece, self.now_ns)
        assert (self.call.deadline_ns, self.call.data_to_send(), self.call.events()) == (before, b"", [])
        self.events += map(AudioArrived, packets)
        self.hastened += len(packets)
        return left

    def eof(self) -> "Adapter":
        if not self.outcome:
            self.call.receive_eof(self.now_ns)
            self._after()
        return self

    def close(self, why: Closure) -> "Adapter":
        if not self.outcome:
            self.call.close(why, self.now_ns)
            self._after()
        return self

    def ask(self, act: Callable[[Session], object]) -> "Adapter":
        """Let `act` ask something of the call's session, as a command does."""
        if not self.outcome:
            self.call.ask(act, self.now_ns)
            self._after()
        return self

    def advance(self, for_ns: int) -> "Adapter":
        """Let time pass; timers are served when they are due, as a loop that is never late would."""
        until_ns = self.now_ns + for_ns
        while not self.outcome and self._armed_ns <= until_ns:
            self.now_ns = max(self.now_ns, self._armed_ns)
            self.wake()
        self.now_ns = until_ns
        return self

    def sleep(self, for_ns: int) -> "Adapter":
        """Let time pass in which this process does not run."""
        self.now_ns += for_ns
        return self

    def wake(self) -> "Adapter":
        """Serve the timer, due or not."""
        if not self.outcome:
            self._armed_ns = NEVER_NS
            self.call.on_deadline(self.now_ns)
            assert self.call.deadline_ns > self.now_ns, "the loop would call again at once, for ever"
            self._after()
        return self

    # ---------------------------------------------------------------------------------------- what an adapter does

    def _after(self) -> None:
        if self._events_first:
            self._handle()
            self._send()
        else:
            self._send()
            self._handle()
        if self.outcome:
            return
        self._armed_ns = min(self._armed_ns, self.call.deadline_ns)
        if self.call.half_closed:
            self.half_closed = True
        if self.call.reset:
            self.outcome = "reset"
        elif self.call.finished:
            self.outcome = "closed"

    def _send(self) -> None:
        data = self.call.data_to_send()
        assert not (data and self.half_closed), "bytes after everything had been said"
        self.sent += data

    def _handle(self) -> None:
        for event in self.call.events():
            if isinstance(event, AccessAsked):
                self.call.let_in(self.now_ns)
                self._after()
                continue
            self.events.append(event)
            if isinstance(event, AdmissionAsked):
                if self._admission is None:
                    self.call.admit(self.now_ns)
                else:
                    self.call.refuse(self._admission, self.now_ns)
                self._after()

    # ---------------------------------------------------------------------------------------- what the peer sees

    def answer(self) -> UpgradeAnswer:
        """Return the HTTP answer, which must have come."""
        answer, _ = self._read()
        return answer

    def messages(self) -> list[Message]:
        """Return what came behind the 101."""
        _, messages = self._read()
        return messages

    def _read(self) -> tuple[UpgradeAnswer, list[Message]]:
        reader = UpgradeReader(KEY)
        answer = reader.receive_data(bytes(self.sent))
        if answer is None and self.half_closed:
            answer = reader.receive_eof()
        assert answer is not None, "no HTTP answer"
        peer = WebSocket(client=True, max_message_bytes=MAX_MESSAGE_BYTES)
        return answer, peer.receive_data(reader.trailing()) if answer.accepted else []

    def seen(self) -> tuple[list[Event], bytes, bool, str]:
        """Return everything that can be seen of the Call from outside, for comparisons."""
        return self.events, bytes(self.sent), self.half_closed, self.outcome


def streaming(terms: Terms | None = None) -> Adapter:
    """Return an adapter whose Call has been admitted and whose peer has said nothing more."""
    return Adapter(terms).receive(upgrade())


def in_every_cut(
    data: bytes,
    then: Callable[[Adapter], object] | None = None,
    *,
    terms: Terms | None = None,
    admission: Refusal | None = None,
) -> Adapter:
    """Let a Call receive `data` and do `then`, in all cuts and both orders; assert that nothing differs; return one."""

    def run(pieces: list[bytes], *, events_first: bool) -> Adapter:
        adapter = Adapter(terms, admission=admission, events_first=events_first).receive(*pieces)
        if then is not None:
            then(adapter)
        return adapter

    def outcome_of(pieces: list[bytes]) -> object:
        seen = run(pieces, events_first=False).seen()
        assert run(pieces, events_first=True).seen() == seen, "differs when events are handled first"
        return seen

    same_in_every_cut(data, outcome_of)
    return run([data], events_first=False)
