"""call.py with the `context` session: whatever a peer sends, and whenever, a Call comes to one documented end.

The Call is driven by the adapter of the unit tests, which does what `call.py` asks of one and asserts things of its
own. Each input is played whole and cut, and many a third time with time passing between the pieces.
"""

import random
from collections.abc import Iterable

from audiohook.call import Session
from audiohook.errors import CLOSURES, PEER_CLOSED, PEER_VANISHED, REFUSALS
from audiohook.session.context import CLOSE_WAIT_NS, HELD_PAUSE_NS, ContextSession
from audiohook.session.events import (
    AdmissionAsked,
    Answered,
    AudioArrived,
    AudioHeld,
    Ended,
    Event,
    Noticed,
    TimeMeasured,
)
from audiohook.units import NS_PER_MS
from audiohook.wire.client import UpgradeReader
from audiohook.wire.frames import CloseReceived, Pong, WebSocket
from tests.fuzz.target import Pieces, chance, random_cut
from tests.fuzz.targets import frames, request
from tests.fuzz.targets.frames import piece
from tests.support.calls import (
    HEARTBEAT_NS,
    HOLD_NS,
    MAX_MESSAGE_BYTES,
    RECONNECT_NS,
    REQUEST_NS,
    Adapter,
    plain,
    upgrade,
)

TOKENS = (*request.TOKENS, *frames.TOKENS)

REASONS = frozenset(closure.slug for closure in CLOSURES) | {PEER_CLOSED, PEER_VANISHED}
ANSWERS = frozenset(refusal.slug for refusal in REFUSALS) | {closure.slug for closure in CLOSURES} | {"health_checks"}
"""A closure's slug where we end a Call that is still in its request."""
STATUSES = frozenset(refusal.status for refusal in REFUSALS) | {200, 503}
NOTICES = frozenset(("degraded", "recovered", "no_audio", "text_ignored", "held", "unheld"))
LONGEST_NS = REQUEST_NS + 3 * HEARTBEAT_NS + CLOSE_WAIT_NS
"""From the last thing that a peer does to the end of its Call."""


def assemble(pieces: Pieces) -> bytes:
    """Make frames of the pieces that begin with flags as in the target `frames`; the others are lines of a request."""
    return b"".join(frames.assemble([piece]) if _is_frame(piece) else piece for piece in pieces)


def _is_frame(piece: bytes) -> bool:
    return bool(piece) and not piece[0] & 0x70 and piece[0] not in b"\r\n"


def seeds() -> Iterable[Pieces]:
    head = upgrade()
    for framed in frames.seeds():
        yield [head, *framed]
    yield [
        head,
        piece(frames.TEXT, b'{"type":"hello"}'),
        piece(frames.BINARY),
        piece(frames.CLOSE, b"\x0f\xa0\xc3\xbc"),
    ]
    yield [head, piece(frames.BINARY, bytes(MAX_MESSAGE_BYTES)), piece(frames.BINARY, bytes(MAX_MESSAGE_BYTES + 1))]
    yield [upgrade(target="/narrow"), *(piece(frames.BINARY, bytes(range(60))) for _ in range(3))]
    yield [*head.splitlines(keepends=True), piece(frames.BINARY, b"audio"), piece(frames.CLOSE)]
    yield [plain("GET", "/healthz"), plain("GET", "/")]


def check(data: bytes) -> None:
    choice = chance(data)
    whole = Adapter().receive(data)
    cut = Adapter(events_first=True).receive(*random_cut(data, choice))
    assert cut.seen() == whole.seen(), "depends on the cut"
    _check_said(whole)
    if choice.random() < 0.5:
        whole.eof()
        assert whole.outcome == "closed", "not closed at the end of file"
    _check_end(whole)
    if choice.random() < 0.25:
        _check_end(_in_time(data, choice))


def _in_time(data: bytes, choice: random.Random) -> Adapter:
    """Play the input with pauses, stops of this process and ends of our own between its pieces."""
    adapter = Adapter()
    for part in random_cut(data, choice):
        adapter.receive(part)
        what = choice.random()
        if what < 0.5:
            adapter.advance(int(choice.random() * 6000) * NS_PER_MS)
        elif what < 0.6:
            adapter.sleep(int(choice.random() * 60_000) * NS_PER_MS).wake()
        elif what < 0.7:
            adapter.ask(lambda session, hold=what < 0.65: _hold(session, adapter.now_ns, hold=hold))
        elif what < 0.75:
            adapter.close(CLOSURES[int(choice.random() * len(CLOSURES))])
    return adapter


def _hold(session: Session, now_ns: int, *, hold: bool) -> None:
    if isinstance(session, ContextSession):
        (session.hold if hold else session.unhold)(now_ns)


def _check_end(adapter: Adapter) -> None:
    adapter.advance(LONGEST_NS)
    assert adapter.outcome in ("closed", "reset"), "the Call never ends"
    assert adapter.call.data_to_send() == b""
    _check_events(adapter.events)


def _check_events(events: list[Event]) -> None:
    """A Call tells nothing, or one answer, or one admission and the stream's life up to its one end."""
    kinds = [type(event) for event in events]
    if Answered in kinds:
        assert kinds == [Answered], "an answer is all that is told"
    elif kinds:
        assert kinds[0] is AdmissionAsked
        assert kinds[-1] is Ended
        assert set(kinds[1:-1]) <= {AudioArrived, AudioHeld, TimeMeasured, Noticed}
    for event in events:
        if isinstance(event, Answered):
            assert event.kind in ANSWERS, event.kind
        elif isinstance(event, Noticed):
            assert event.kind in NOTICES
        elif isinstance(event, TimeMeasured):
            assert event.elapsed_ns >= HELD_PAUSE_NS
        elif isinstance(event, AudioArrived | AudioHeld):
            assert type(event.payload) is bytes
            assert len(event.payload) <= MAX_MESSAGE_BYTES
        elif isinstance(event, Ended):
            assert event.reason in REASONS
            assert event.code is None or 1000 <= event.code <= 4999
            assert event.waits_ns in (0, RECONNECT_NS, HOLD_NS)


def _check_said(adapter: Adapter) -> None:
    """What the peer hears before time passes: nothing, an HTTP answer, or a 101, pongs and at most one close."""
    if not adapter.sent:
        return
    reader = UpgradeReader()
    answer = reader.receive_data(bytes(adapter.sent)) or reader.receive_eof()
    assert answer is not None
    if not answer.accepted:
        assert answer.status in STATUSES
        assert adapter.half_closed
        return
    messages = WebSocket(client=True, max_message_bytes=MAX_MESSAGE_BYTES).receive_data(reader.trailing())
    assert all(isinstance(message, Pong) for message in messages[:-1])
    assert not messages or isinstance(messages[-1], Pong | CloseReceived)
