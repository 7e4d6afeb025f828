"""The `context` dialect: who may enter, and the life of one stream, as a table.

Pure: knows no bytes on the wire, no slot, no clock. The contract is docs/context-dialect.md. Nothing here is shared
with the other dialect but the events.

Theory of operation
-------------------
One machine a stream, and one word of state. Audio moves it between FRESH (none yet), MUTE (none in time, said once),
FLOWING and DEGRADED (stopped coming, said once a time); these four are *open*, and differ in nothing but what silence
and audio mean in them. CLOSING is entered by an end of our own that the peer is told with a close frame; OVER by every
other end. The stream ends, once, on the way out of the open states: what still arrives in CLOSING belongs to nobody.

A call that is put on hold while its peer stays connected is HELD, or HELD_EARLY if there had been no audio: open too,
but what comes is counted and not decoded, and silence means nothing. Some trunks go on sending, others stop, and the
word of the hold and the stop of the audio come in any order. So while HELD, and at the first packet after it, a pause
of HELD_PAUSE_NS or more between two packets is taken for time that the hold took, and told by its length: the only use
of a clock on the timeline. A shorter one is jitter.

Who leaves may come back, on another connection and maybe to another worker: `Ended.waits_ns` says how long the stream
is kept for that. A hold is one reason (the close reason `Hold`, or any end while HELD), an abnormal end is the other.
An end that we decide is none. Coming back is not this table's: it is a new stream (worker/succession.py).

Two clocks run while open. The heartbeat: a ping is due every `heartbeat_ns`, and when the next one is due and no frame
at all has come since the last, the peer is dead (the article's half-open connection). The silence: counted from the
last audio, or from the opening. Neither is re-armed by a packet: a packet only stores its time, and the deadline, when
it comes, looks whether it was a true one. So `deadline_ns` may be early, never late.

Every (state, input) pair is in the table; tests/unit/test_context.py walks them all.
"""

import re
from enum import Enum

import msgspec

from audiohook.errors import (
    HEADER_MALFORMED,
    HEADER_MISSING,
    HEARTBEAT_LOST,
    PEER_CLOSED,
    PEER_VANISHED,
    SUPERSEDED,
    Closure,
    Refusal,
)
from audiohook.session.events import (
    AudioArrived,
    AudioHeld,
    Command,
    Ended,
    Event,
    Identity,
    Media,
    Noticed,
    Reset,
    SendClose,
    SendPing,
    TimeMeasured,
)
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S
from audiohook.wire.request import Request

DIALECT = "context"
CLOSE_WAIT_NS = 2 * NS_PER_S

HELD_PAUSE_NS = 500 * NS_PER_MS
"""Around a hold, a pause between packets from which on it is the hold's."""

HOLD_TEXT = "hold"
"""The close reason, in any case, with which a peer leaves for a hold."""

ABNORMAL_CODES = frozenset({1001, 1006, 1012})
"""Close codes of a peer that went away without meaning to end the call (RFC 6455 section 7.4.1)."""

_CALL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")
_REQUIRED = ("x-genesys-call-id", "x-genesys-session-id", "x-genesys-user-id", "x-genesys-participant-id")
_DIRECTION = "x-genesys-direction"


class ContextTerms(msgspec.Struct, frozen=True):
    """What the configuration says about streams of this dialect."""

    rate_hz: int
    framing: str
    heartbeat_ns: int
    degraded_ns: int
    first_audio_ns: int
    reconnect_ns: int
    hold_ns: int
    max_message_bytes: int

    def media(self) -> Media:
        return Media("opus", self.rate_hz, ("mono",), self.framing)


def identify(request: Request) -> Identity | Refusal:
    """Return who an upgrade request speaks for, or what is missing or malformed in it (never echoing a value)."""
    values = {}
    for name in _REQUIRED:
        value = request.get(name)
        if not value:
            return HEADER_MISSING.naming(name)
        rule = _CALL_ID if name == "x-genesys-call-id" else _VISIBLE
        if request.count(name) > 1 or not rule.fullmatch(value):
            wanted = "a UUID" if rule is _CALL_ID else "1 to 128 visible ASCII characters"
            return HEADER_MALFORMED.naming(f"{name} must be {wanted}, once")
        values[name] = value
    direction = request.get(_DIRECTION)
    if direction is not None and direction not in ("inbound", "outbound"):
        return HEADER_MALFORMED.naming(f"{_DIRECTION} must be inbound or outbound, once")
    return Identity(
        dialect=DIALECT,
        call_id=values["x-genesys-call-id"].lower(),
        session_id=values["x-genesys-session-id"],
        user_id=values["x-genesys-user-id"],
        participant_id=values["x-genesys-participant-id"],
        direction=direction or "unknown",
    )


class State(Enum):
    FRESH = "fresh"
    MUTE = "mute"
    FLOWING = "flowing"
    DEGRADED = "degraded"
    HELD_EARLY = "held before any audio"
    HELD = "held"
    CLOSING = "closing"
    OVER = "over"


class Input(Enum):
    AUDIO = "audio"
    TEXT = "text"
    SILENCE = "silence"
    HOLD = "hold"
    UNHOLD = "unhold"
    PEER_CLOSE = "peer close"
    PEER_GONE = "peer gone"
    PEER_DEAD = "peer dead"
    END = "our end"
    CLOSE_LATE = "close late"


class Action(Enum):
    NOTHING = "nothing"
    DELIVER = "deliver"
    RECOVER = "recover, then deliver"
    HOLD_BACK = "deliver as held"
    SAY_HELD = "say that the call is on hold"
    SAY_UNHELD = "say that the call goes on"
    IGNORE_TEXT = "count text"
    SAY_NO_AUDIO = "say that no audio came"
    SAY_DEGRADED = "say that audio stopped"
    FINISH = "finish"
    FINISH_TOLD = "finish, telling the peer"
    FINISH_DEAD = "finish, resetting"
    DROP = "drop"


_HEARING = (State.FRESH, State.MUTE, State.FLOWING, State.DEGRADED)
_ON_HOLD = (State.HELD_EARLY, State.HELD)
_OPEN = (*_HEARING, *_ON_HOLD)

TABLE: dict[tuple[State, Input], tuple[State, Action]] = {
    **{(state, Input.AUDIO): (State.FLOWING, Action.DELIVER) for state in (State.FRESH, State.MUTE, State.FLOWING)},
    (State.DEGRADED, Input.AUDIO): (State.FLOWING, Action.RECOVER),
    (State.FRESH, Input.SILENCE): (State.MUTE, Action.SAY_NO_AUDIO),
    (State.MUTE, Input.SILENCE): (State.MUTE, Action.NOTHING),
    (State.FLOWING, Input.SILENCE): (State.DEGRADED, Action.SAY_DEGRADED),
    (State.DEGRADED, Input.SILENCE): (State.DEGRADED, Action.NOTHING),
    **{(state, Input.AUDIO): (State.HELD, Action.HOLD_BACK) for state in _ON_HOLD},
    **{(state, given): (state, Action.NOTHING) for state in _ON_HOLD for given in (Input.SILENCE, Input.HOLD)},
    **{(state, Input.HOLD): (State.HELD_EARLY, Action.SAY_HELD) for state in (State.FRESH, State.MUTE)},
    **{(state, Input.HOLD): (State.HELD, Action.SAY_HELD) for state in (State.FLOWING, State.DEGRADED)},
    **{(state, Input.UNHOLD): (state, Action.NOTHING) for state in _HEARING},
    (State.HELD_EARLY, Input.UNHOLD): (State.FRESH, Action.SAY_UNHELD),
    (State.HELD, Input.UNHOLD): (State.FLOWING, Action.SAY_UNHELD),
    **{(state, Input.TEXT): (state, Action.IGNORE_TEXT) for state in _OPEN},
    **{(state, Input.PEER_CLOSE): (State.OVER, Action.FINISH) for state in _OPEN},
    **{(state, Input.PEER_GONE): (State.OVER, Action.FINISH) for state in _OPEN},
    **{(state, Input.PEER_DEAD): (State.OVER, Action.FINISH_DEAD) for state in _OPEN},
    **{(state, Input.END): (State.CLOSING, Action.FINISH_TOLD) for state in _OPEN},
    **{(state, Input.CLOSE_LATE): (state, Action.NOTHING) for state in _OPEN},
    **{(State.CLOSING, given): (State.CLOSING, Action.NOTHING) for given in Input},
    (State.CLOSING, Input.PEER_CLOSE): (State.OVER, Action.NOTHING),
    (State.CLOSING, Input.PEER_GONE): (State.OVER, Action.NOTHING),
    (State.CLOSING, Input.PEER_DEAD): (State.OVER, Action.DROP),
    (State.CLOSING, Input.CLOSE_LATE): (State.OVER, Action.DROP),
    **{(State.OVER, given): (State.OVER, Action.NOTHING) for given in Input},
}


_FLOWING = State.FLOWING
"""Looked up once: a member of an Enum costs what the rest of `hears` does."""


class ContextSession:
    """One stream of the dialect, from the 101 to its end. Methods never raise for what a peer did."""

    def __init__(self, terms: ContextTerms, now_ns: int) -> None:
        self._terms = terms
        self.state = State.FRESH
        self.events: list[Event] = []
        """What happened, in order; the caller takes them out."""
        self.commands: list[Command] = []
        """What is to be sent, in order; the caller takes them out."""
        self._last_frame_ns = now_ns
        self._last_audio_ns = now_ns
        self._last_packet_ns: int | None = None
        self._hold_counts = False
        self._ping_due_ns = now_ns + terms.heartbeat_ns
        self._pinged_ns: int | None = None
        self._close_late_ns = NEVER_NS
        self.deadline_ns = min(self._ping_due_ns, self._silence_due_ns())

    @property
    def streaming(self) -> bool:
        """Whether the stream is open."""
        return self.state in _OPEN

    @property
    def over(self) -> bool:
        return self.state is State.OVER

    def hears(self, payload: bytes, now_ns: int) -> bool:
        """Take a binary message if it is to be decoded and nothing else comes of it. The way of nearly every packet."""
        if self.state is not _FLOWING or self._hold_counts or self.events:
            return False
        self._last_frame_ns = self._last_audio_ns = self._last_packet_ns = now_ns
        return True

    def receive_audio(self, payload: bytes, now_ns: int) -> None:
        """Take a binary message, whatever comes of it."""
        if self._hold_counts:
            self._measure(now_ns)
        self._last_frame_ns = self._last_audio_ns = self._last_packet_ns = now_ns
        if self.state is State.FLOWING:
            self.events.append(AudioArrived(payload))
        else:
            self._step(Input.AUDIO, payload=payload)

    def hold(self, now_ns: int) -> None:
        """Take word from outside (the CTI) that the call is on hold."""
        self._step(Input.HOLD)
        self._hold_counts = self.state in _ON_HOLD

    def unhold(self, now_ns: int) -> None:
        """Take word that the call goes on. Audio is waited for as from now on."""
        if self.state in _ON_HOLD:
            self._last_audio_ns = now_ns
        self._step(Input.UNHOLD)
        if self.state in _HEARING:
            self.deadline_ns = min(self.deadline_ns, self._silence_due_ns())

    def receive_text(self, text: str, now_ns: int) -> None:
        """Take a text message: none means anything in this dialect yet, whatever is in it."""
        self._last_frame_ns = now_ns
        self._step(Input.TEXT)

    def receive_control(self, now_ns: int) -> None:
        """Take note of a ping or a pong: a sign of life."""
        self._last_frame_ns = now_ns

    def receive_close(self, code: int | None, text: str, now_ns: int) -> None:
        """Take the peer's close frame. One that leaves for a hold says so as the CTI would."""
        if code == 1000 and text.strip().casefold() == HOLD_TEXT:
            self._step(Input.HOLD)
        self._step(Input.PEER_CLOSE, ended=Ended(PEER_CLOSED, code, text, self._close_waits_ns(code)))

    def receive_eof(self, now_ns: int) -> None:
        """Take the end of TCP."""
        self._step(Input.PEER_GONE, ended=Ended(PEER_VANISHED, waits_ns=self._waits_ns()))

    def close(self, why: Closure, now_ns: int) -> None:
        """End the stream for a reason of ours, or for what the peer did wrong."""
        if why.code is None:
            self._step(Input.PEER_DEAD, ended=Ended(why.slug, waits_ns=self._waits_ns()))
            return
        if self.state in _OPEN:
            self._close_late_ns = now_ns + CLOSE_WAIT_NS
        # A peer that has come back on another connection takes its stream on from here: that one waits a moment.
        waits_ns = self._waits_ns() if why is SUPERSEDED else 0
        self._step(Input.END, ended=Ended(why.slug, why.code, why.text, waits_ns))
        self.deadline_ns = min(self.deadline_ns, self._close_late_ns)

    def on_deadline(self, now_ns: int) -> None:
        """Look at every clock and set the next deadline. Early calls are harmless."""
        if self.state in _OPEN:
            if now_ns >= self._silence_due_ns():
                self._step(Input.SILENCE)
            if now_ns >= self._ping_due_ns:
                self._beat(now_ns)
        if now_ns >= self._close_late_ns:
            self._step(Input.CLOSE_LATE)
        if self.state in _OPEN:
            self.deadline_ns = min(self._ping_due_ns, self._silence_due_ns())
        else:
            self.deadline_ns = self._close_late_ns if self.state is State.CLOSING else NEVER_NS

    def _beat(self, now_ns: int) -> None:
        # The ping that was due before counts as unanswered only if nothing at all came since it was sent. A daemon that
        # was stopped itself (SIGSTOP, a frozen machine) finds its peers' frames unread; it asks again before it judges.
        late = now_ns - self._ping_due_ns > self._terms.heartbeat_ns
        if self._pinged_ns is not None and self._last_frame_ns < self._pinged_ns and not late:
            self._step(Input.PEER_DEAD, ended=Ended(HEARTBEAT_LOST.slug, waits_ns=self._waits_ns()))
            return
        self.commands.append(SendPing())
        self._pinged_ns = now_ns
        self._ping_due_ns = now_ns + self._terms.heartbeat_ns

    def _measure(self, now_ns: int) -> None:
        """Tell the time that a hold took, at the packet behind it."""
        last_ns = self._last_packet_ns
        if self.state in _OPEN and last_ns is not None and now_ns - last_ns >= HELD_PAUSE_NS:
            self.events.append(TimeMeasured(now_ns - last_ns))
        self._hold_counts = self.state in _ON_HOLD

    def _close_waits_ns(self, code: int | None) -> int:
        return self._waits_ns() if self.state in _ON_HOLD or code in ABNORMAL_CODES else 0

    def _waits_ns(self) -> int:
        return self._terms.hold_ns if self.state in _ON_HOLD else self._terms.reconnect_ns

    def _silence_due_ns(self) -> int:
        """Return when the silence will have lasted too long; never, where that has been said already."""
        if self.state is State.FRESH:
            return self._last_audio_ns + self._terms.first_audio_ns
        if self.state is State.FLOWING:
            return self._last_audio_ns + self._terms.degraded_ns
        return NEVER_NS

    def _step(self, given: Input, *, payload: bytes = b"", ended: Ended | None = None) -> None:
        self.state, action = TABLE[self.state, given]
        if action is Action.DELIVER:
            self.events.append(AudioArrived(payload))
        elif action is Action.HOLD_BACK:
            self.events.append(AudioHeld(payload))
        elif action is Action.RECOVER:
            self.events += (Noticed("recovered"), AudioArrived(payload))
        elif action in _NOTICES:
            self.events.append(_NOTICES[action])
        elif action is Action.DROP:
            self.commands.append(Reset())
        elif ended is not None and action in (Action.FINISH, Action.FINISH_TOLD, Action.FINISH_DEAD):
            self.events.append(ended)
            if action is Action.FINISH_TOLD:
                self.commands.append(SendClose(ended.code or 1000, ended.text))
            elif action is Action.FINISH_DEAD:
                self.commands.append(Reset())
        if action in (Action.DELIVER, Action.RECOVER):
            # Only here does silence become due earlier than before: at the first packet after another state.
            self.deadline_ns = min(self.deadline_ns, self._silence_due_ns())


_NOTICES = {
    Action.IGNORE_TEXT: Noticed("text_ignored"),
    Action.SAY_NO_AUDIO: Noticed("no_audio"),
    Action.SAY_DEGRADED: Noticed("degraded"),
    Action.SAY_HELD: Noticed("held"),
    Action.SAY_UNHELD: Noticed("unheld"),
}
