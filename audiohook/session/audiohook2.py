"""The `audiohook2` dialect, Genesys' AudioHook protocol v2: one session, from the 101 to its end. Pure.

Knows no bytes on the wire, no slot, no clock, no key: who may enter at all is decided before the upgrade. The life of a
session is the table of `audiohook2_table.py`, with its theory of operation; here is what its actions do. Nothing is
shared with the other dialect but the events.

Invariants, under any input (tests/unit/test_audiohook2_any.py): no method raises for what a peer did; every text that
is sent is one that a strict client accepts, in an order that it accepts; `base + frames delivered + frames of gaps ==
end` of the stream; a stream that was admitted ends exactly once.

The contract is the protocol as Genesys' reference implementation speaks it
(purecloudlabs/audiohook-reference-implementation); where this is more tolerant, the table says so.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import UNSET

from audiohook.errors import (
    IDLE_TIMEOUT,
    INVALID_PAYLOAD,
    MESSAGE_TOO_LARGE,
    OPEN_TIMEOUT,
    PROTOCOL_ERROR,
    Closure,
    Refusal,
)
from audiohook.session import audiohook2_departure as departures
from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_audio import Audio, Span
from audiohook.session.audiohook2_departure import Departure
from audiohook.session.audiohook2_dialogue import Dialogue
from audiohook.session.audiohook2_entities import entities_of
from audiohook.session.audiohook2_meaning import Meaning, meaning_of
from audiohook.session.audiohook2_media import RATE_HZ
from audiohook.session.audiohook2_opening import Opening
from audiohook.session.audiohook2_position import MediaTime, frames_in
from audiohook.session.audiohook2_rates import Control, Sending
from audiohook.session.audiohook2_reading import read_message
from audiohook.session.audiohook2_table import LIVE, TABLE, Action, Input, State
from audiohook.session.audiohook2_terms import AudioHook2Terms, Greeting
from audiohook.session.events import (
    AdmissionAsked,
    Command,
    Continues,
    Counted,
    Event,
    Noticed,
    NotOpened,
    PeerError,
    Probed,
    Reset,
    SendClose,
)
from audiohook.units import NEVER_NS, NS_PER_S

ANSWER_WAIT_NS = 10 * NS_PER_S
"""How long the peer may take for its `close` after `disconnect`, and for its close frame after `closed`."""

CLOSE_WAIT_NS = 2 * NS_PER_S
"""How long it may take to answer a close frame of ours."""

_BROKEN = frozenset({PROTOCOL_ERROR.slug, INVALID_PAYLOAD.slug, MESSAGE_TOO_LARGE.slug})
"""Ends after which no message can be understood any more; the peer gets a close frame with their code."""

_ALIVE = (State.PROBED, *LIVE)


_ACTIVE = State.ACTIVE  # looked up once, as in context.py


class AudioHook2Session:
    """One session. Methods never raise for what a peer did."""

    def __init__(self, terms: AudioHook2Terms, greeting: Greeting, now_ns: int) -> None:
        self._terms = terms
        self._greeting = greeting
        self.state = State.PREPARING
        self.events: list[Event] = []
        """What happened, in order; the caller takes them out."""
        self.commands: list[Command] = []
        """What is to be sent, in order; the caller takes them out."""
        self._opening: Opening | None = None
        self._audio = Audio(None, 0, None)
        self._dialogue = Dialogue(greeting.session_id, now_ns)
        self._held: list[Callable[[], None]] = []
        self._departure = departures.VANISHED
        self._since_ns = now_ns
        self._waits_ns = {
            State.PREPARING: terms.open_ns,
            State.PROBED: terms.idle_ns,
            State.ACTIVE: terms.idle_ns,
            State.PAUSED: terms.paused_idle_ns,
            State.REJECTED: ANSWER_WAIT_NS,
            State.SIGNALED: ANSWER_WAIT_NS,
            State.CLOSED: ANSWER_WAIT_NS,
            State.LEAVING: CLOSE_WAIT_NS,
        }
        self.deadline_ns = self._due_ns()

    @property
    def streaming(self) -> bool:
        """Whether a stream is open."""
        return self.state in LIVE

    @property
    def asking(self) -> bool:
        """Whether `AdmissionAsked` has not been answered yet."""
        return self.state is State.OPENING

    @property
    def over(self) -> bool:
        return self.state is State.OVER

    @property
    def media_time(self) -> MediaTime:
        """Where the stream is. Settled by `admit`: `base` is its first frame then, `end` the next new one."""
        return self._audio.media_time

    # ---------------------------------------------------------------------------------------- what the peer does

    def hears(self, payload: bytes, now_ns: int) -> bool:
        """Take a binary message if it is to be decoded and nothing else comes of it. The way of nearly every one."""
        if self.state is not _ACTIVE or self.events or not self._audio.hears(payload):
            return False
        self._since_ns = now_ns
        return True

    def receive_audio(self, payload: bytes, now_ns: int) -> None:
        """Take a binary message, whatever comes of it."""
        if self.state is State.ACTIVE and self._audio.frame_bytes:
            self._since_ns = now_ns
            self.events += self._audio.receive(payload)
        elif not self._holds(Input.AUDIO, partial(self.receive_audio, payload, now_ns)):
            self._live(now_ns)
            if self.state in LIVE and not self._audio.frame_bytes:
                self._step(Input.VIOLATION, now_ns, departure=departures.violation(departures.UNCHOSEN_AUDIO))
            else:
                self._step(Input.AUDIO, now_ns, payload, departures.violation(departures.EARLY_AUDIO))

    def receive_text(self, text: str, now_ns: int) -> None:
        """Take a text message."""
        if self._holds(Input.VIOLATION, partial(self.receive_text, text, now_ns)):
            return
        self._live(now_ns)
        reading = read_message(text)
        if TABLE[self.state, Input.VIOLATION][1] is Action.SEND_DISCONNECT:
            fault = self._dialogue.judge(reading)
        else:
            fault = reading.fault
            if reading.envelope is not None:
                self._dialogue.follow(reading.envelope)
        if fault:
            self._step(Input.VIOLATION, now_ns, departure=departures.violation(fault))
        else:
            self._count("unknown_fields", reading.unknown_fields)
            self._count("ignored_fields", reading.ignored_fields)
            self._take(meaning_of(reading.message, self._greeting, self._terms), now_ns)

    def receive_control(self, now_ns: int) -> None:
        """Take no note of a WebSocket ping or pong: it may be a proxy's. The peer shows its life in JSON."""

    def receive_close(self, code: int | None, text: str, now_ns: int) -> None:
        """Take the peer's close frame."""
        if not self._holds(Input.PEER_CLOSE, partial(self.receive_close, code, text, now_ns)):
            self._step(Input.PEER_CLOSE, now_ns, departure=departures.closed_by_peer(text, code))

    def receive_eof(self, now_ns: int) -> None:
        """Take the end of TCP."""
        if not self._holds(Input.PEER_GONE, partial(self.receive_eof, now_ns)):
            self._step(Input.PEER_GONE, now_ns, departure=departures.VANISHED)

    def on_deadline(self, now_ns: int) -> None:
        """Look at every clock, say what has waited, and set the next deadline. Early calls are harmless."""
        if now_ns >= self._due_ns():
            self._step(Input.LATE, now_ns, departure=_TOO_LATE.get(self.state))
        self.commands += self._dialogue.due(now_ns)
        self.deadline_ns = min(self._due_ns(), self._dialogue.pace.due_ns)

    # ---------------------------------------------------------------------------------------- what we do

    def admit(self, now_ns: int, continues_from_frames: int | None = None) -> None:
        """Answer `AdmissionAsked`: there is room; `opened` goes out and the stream begins.

        `continues_from_frames` is how far the stream reaches that this one continues, if there is one (`Continues`).
        """
        self._step(Input.ADMITTED, now_ns, continues_from_frames)
        self._release()

    def refuse(self, refusal: Refusal, now_ns: int) -> None:
        """Answer `AdmissionAsked`: no."""
        self._step(Input.REFUSED, now_ns, departure=departures.told(Closure(refusal.slug, 1000, refusal.text)))
        self._release()

    def close(self, why: Closure, now_ns: int) -> None:
        """End the session for a reason of ours, or for what the peer did wrong below the protocol."""
        if why.code is None:
            given, departure = Input.PEER_DEAD, departures.broken(why)
        elif why.slug in _BROKEN:
            given, departure = Input.BROKEN, departures.broken(why)
        else:
            given, departure = Input.END, departures.told(why)
        if not self._holds(given, partial(self.close, why, now_ns)):
            self._step(given, now_ns, departure=departure)

    def disconnect(self, reason: wire.DisconnectReason, info: str, now_ns: int) -> Sending:
        """End the session on somebody's wish. `info` is logged by the peer: nobody's name, number or words in it."""
        if TABLE[self.state, Input.END][1] is not Action.SEND_DISCONNECT:
            return Sending.NOT_OPEN
        self._step(Input.END, now_ns, departure=departures.disconnected(reason, info))
        return Sending.SENT

    def pause(self, now_ns: int) -> Sending:
        """Ask the peer to send no audio. It answers `paused`; asking again is harmless."""
        return self._control(wire.Pause, now_ns)

    def resume(self, now_ns: int) -> Sending:
        """Take a pause of ours back. The peer answers `resumed`, or `paused` while it pauses by itself."""
        return self._control(wire.Resume, now_ns)

    def send_event(self, values: Sequence[Any], now_ns: int) -> Sending:
        """Send entities (plain values, as parsed from JSON) back to the peer, one an event message, in order.

        INVALID if one of them is not exactly as documented; FULL if not all of them have room in the queue. Nothing is
        sent then.
        """
        if not self._may_say():
            return Sending.NOT_OPEN
        entities = entities_of(values)
        if entities is None:
            return Sending.INVALID
        if not self._dialogue.pace.put_events([wire.EventParameters((entity,)) for entity in entities]):
            return Sending.FULL
        return self._say(now_ns)

    def _control(self, kind: Control, now_ns: int) -> Sending:
        if not self._may_say():
            return Sending.NOT_OPEN
        self._dialogue.pace.put_control(kind)
        return self._say(now_ns)

    def _may_say(self) -> bool:
        return TABLE[self.state, Input.ASK][1] is Action.SAY

    def _say(self, now_ns: int) -> Sending:
        pace = self._dialogue.pace
        self.commands += self._dialogue.due(now_ns)
        self.deadline_ns = min(self.deadline_ns, pace.due_ns)
        return Sending.QUEUED if pace.waiting else Sending.SENT

    # ---------------------------------------------------------------------------------------- from input to the table

    def _holds(self, given: Input, again: Callable[[], None]) -> bool:
        """Whether the table wants this to wait for the worker's answer; then it is kept, to be done `again`."""
        if TABLE[self.state, given][1] is not Action.HOLD:
            return False
        self._held.append(again)
        return True

    def _release(self) -> None:
        held, self._held = self._held, []
        for again in held:
            again()

    def _live(self, now_ns: int) -> None:
        if self.state in _ALIVE:
            self._since_ns = now_ns

    def _take(self, meaning: Meaning, now_ns: int) -> None:
        if self.state is State.ACTIVE:
            # Not in a pause: some peers let their position run on in one and some do not.
            self.events += self._audio.compare(meaning.position)
        self._step(meaning.given, now_ns, meaning.subject, meaning.departure)

    def _step(self, given: Input, now_ns: int, subject: Any = None, departure: Departure | None = None) -> None:
        before = self.state
        self.state, action = TABLE[before, given]
        if self.state is not before:
            self._since_ns = now_ns
            self._departure = departure or self._departure
        if action is not Action.NOTHING:
            _ACTIONS[action](self, given, subject, now_ns)
        if self.state is not before:
            self._tell(before)
            self.deadline_ns = min(self.deadline_ns, self._due_ns())

    def _tell(self, before: State) -> None:
        """Say what a change of state means to those who keep the stream."""
        ended = self._departure.ended
        if before in LIVE and self.state not in LIVE:
            self._count("events_unsent", self._dialogue.pace.clear())
            self.events.append(ended)
        elif before in (State.PREPARING, State.OPENING) and self.state not in (State.OPENING, *_ALIVE):
            self.events.append(NotOpened(ended.reason, ended.text))

    def _due_ns(self) -> int:
        """Return when the present state will have lasted too long."""
        wait_ns = self._waits_ns.get(self.state)
        return NEVER_NS if wait_ns is None else self._since_ns + wait_ns

    # ---------------------------------------------------------------------------------------- actions

    def _count(self, kind: str, times: int = 1) -> None:
        if times:
            self.events.append(Counted(kind, times))

    def _count_input(self, given: Input, subject: Any, now_ns: int) -> None:
        self._count(_COUNTED_AS.get(given, "stray_messages"))

    def _ask_admission(self, given: Input, opening: Opening, now_ns: int) -> None:
        self._opening = opening
        if opening.continued or opening.first_ns:
            self.events.append(Continues(opening.continued, frames_in(opening.first_ns, RATE_HZ)))
        self.events.append(AdmissionAsked(opening.identity, opening.media))

    def _send_opened(self, given: Input, reached_frames: int | None, now_ns: int) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            self._audio = Audio(opening.choice, opening.first_ns, reached_frames)
            opened = opening.opened(self.media_time.discard_to)
            self.commands.append(self._dialogue.answer(wire.Opened, now_ns, opened))
            self.events += self._audio.begin()

    def _answer_probe(self, given: Input, opening: Opening, now_ns: int) -> None:
        self.commands.append(self._dialogue.answer(wire.Opened, now_ns, opening.opened(None)))
        self.events.append(Probed())

    def _answer(self, given: Input, subject: Any, now_ns: int) -> None:
        self.commands.append(self._dialogue.answer(_ANSWERS[given], now_ns))
        if given is Input.UPDATE:
            self._count("updates")

    def _deliver(self, given: Input, payload: bytes, now_ns: int) -> None:
        self.events += self._audio.receive(payload)

    def _note_paused(self, given: Input, subject: Any, now_ns: int) -> None:
        self.events.append(Noticed("paused"))

    def _skip(self, given: Input, span: Span, now_ns: int) -> None:
        self.events += self._audio.skip(span, "paused" if given is Input.RESUMED else "discarded")

    def _end_pause(self, given: Input, span: Span, now_ns: int) -> None:
        self._skip(given, span, now_ns)
        self.events.append(Noticed("resumed"))

    def _report_error(self, given: Input, error: tuple[int, int], now_ns: int) -> None:
        code, hold_ns = error
        self.events.append(PeerError(code))
        if hold_ns:
            self._dialogue.pace.hold(hold_ns, now_ns)

    def _send_disconnect(self, given: Input, subject: Any, now_ns: int) -> None:
        why = self._departure
        parameters = wire.DisconnectParameters(why.reason, why.info or UNSET)
        self.commands.append(self._dialogue.say(wire.Disconnect, parameters))

    def _send_close_frame(self, given: Input, subject: Any, now_ns: int) -> None:
        self.commands.append(SendClose(self._departure.code, self._departure.info))

    def _reset(self, given: Input, subject: Any, now_ns: int) -> None:
        self.commands.append(Reset())


_ANSWERS: dict[Input, type[wire.ServerMessage]] = {
    Input.PING: wire.Pong,
    Input.UPDATE: wire.Updated,
    Input.CLOSE: wire.Closed,
}

_COUNTED_AS = {
    Input.AUDIO: "stray_audio",
    Input.PING: "early_pings",
    Input.DTMF: "dtmf",
    Input.PLAYBACK: "playback",
    Input.UNKNOWN: "unknown_messages",
}

_TOO_LATE = {
    State.PREPARING: departures.told(OPEN_TIMEOUT),
    **{state: departures.told(IDLE_TIMEOUT) for state in _ALIVE},
}

_ACTIONS: dict[Action, Callable[[AudioHook2Session, Input, Any, int], None]] = {
    Action.COUNT: AudioHook2Session._count_input,
    Action.ASK_ADMISSION: AudioHook2Session._ask_admission,
    Action.SEND_OPENED: AudioHook2Session._send_opened,
    Action.ANSWER_PROBE: AudioHook2Session._answer_probe,
    Action.ANSWER: AudioHook2Session._answer,
    Action.DELIVER: AudioHook2Session._deliver,
    Action.NOTE_PAUSED: AudioHook2Session._note_paused,
    Action.SKIP: AudioHook2Session._skip,
    Action.END_PAUSE: AudioHook2Session._end_pause,
    Action.REPORT_ERROR: AudioHook2Session._report_error,
    Action.SEND_DISCONNECT: AudioHook2Session._send_disconnect,
    Action.SEND_CLOSE_FRAME: AudioHook2Session._send_close_frame,
    Action.RESET: AudioHook2Session._reset,
}
"""What each action does; NOTHING does nothing, HOLD, SAY and DECLINE are asked for before the step."""
