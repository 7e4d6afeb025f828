"""The calling half of the `audiohook2` dialect: what Genesys does, for the load client and for tests. Pure.

It behaves as the reference client does: `open` first, a ping 1 s after `opened`, another at its pong, then every 5 s;
`paused` and `resumed` in answer to ours; `close` in answer to `disconnect`; and the WebSocket closed by whoever drives
it when `finished`. It reads strictly: whatever that client would answer with an error is a line in `faults`, and so is
an answer that comes too late. It forgives nothing, repairs nothing, and never ends a session because of a fault.

Audio does not pass through here: `audio_sent` is told how many frames went out, and `wants_audio` says whether any
should. Times are `now_ns`, positions frames. What a test needs to say wrongly, it says with `say` and `seq`.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_media import RATE_HZ
from audiohook.session.audiohook2_position import duration_of, format_duration, frames_in, parse_duration
from audiohook.units import NEVER_NS, NS_PER_S

OPEN_WAIT_NS = 5 * NS_PER_S
PONG_WAIT_NS = 5 * NS_PER_S
CLOSE_WAIT_NS = 10 * NS_PER_S
FIRST_PING_NS = NS_PER_S
PING_INTERVAL_NS = 5 * NS_PER_S


class Caller(msgspec.Struct, frozen=True):
    """Who calls. Identifiers are UUIDs; nothing is checked, as a test must be able to say what is wrong."""

    session_id: str
    organization_id: str
    conversation_id: str
    participant_id: str
    correlation_id: str
    ani: str = ""
    ani_name: str = ""
    dnis: str = ""


def probe(session_id: str, organization_id: str, correlation_id: str) -> Caller:
    """Return who "calls" when an administrator saves an integration."""
    return Caller(session_id, organization_id, wire.NIL_UUID, wire.NIL_UUID, correlation_id)


def upgrade_headers(caller: Caller, api_key: str) -> tuple[tuple[str, str], ...]:
    """Return the dialect's headers of an upgrade request, without a signature."""
    return (
        ("audiohook-organization-id", caller.organization_id),
        ("audiohook-session-id", caller.session_id),
        ("audiohook-correlation-id", caller.correlation_id),
        ("x-api-key", api_key),
    )


def offer(*channels: wire.Channel, media_format: str = "PCMU") -> wire.MediaParameter:
    """Return one media parameter of `media_format` (PCMU or L16) with these channels."""
    return wire.MediaParameter("audio", "L16" if media_format == "L16" else "PCMU", channels, 8000)


USUAL_OFFERS = (offer("external", "internal"), offer("external"), offer("internal"))
"""What Genesys offers, in its order."""


class AudioHook2Client:
    """One session from the client's side, from the 101 on."""

    def __init__(
        self,
        caller: Caller,
        now_ns: int,
        offers: Sequence[wire.MediaParameter] = USUAL_OFFERS,
        *,
        continued: Sequence[wire.ContinuedSession] = (),
        first_frames: int = 0,
        lists_languages: bool = False,
    ) -> None:
        self.texts: list[str] = []
        """What is to be sent, in order, before any audio sent later; the caller takes it out."""
        self.received: list[wire.AnyServerMessage] = []
        """What the server said, in order."""
        self.faults: list[str] = []
        """What it should not have said, or not so late."""
        self.seq = 0
        self.position_frames = first_frames
        self.media: wire.MediaParameter | None = None
        """What the server chose; None before `opened`, and if it chose none."""
        self.opened = False
        self.finished = False
        """`closed` has come: close the WebSocket, without a status."""
        self.rtt_ns: int | None = None
        """The last round trip of a ping."""
        self._caller = caller
        self._offers = tuple(offers)
        self._server_seq = 0
        self._server_pauses = False
        self._pauses = False
        self._paused_at: tuple[int, int] | None = None
        self._close_seq = 0
        self._ping: tuple[int, int] | None = None
        self._late_ns = {"open": now_ns + OPEN_WAIT_NS}
        self._ping_due_ns = NEVER_NS
        self._pings_from_ns = NEVER_NS
        self._open(tuple(continued), lists_languages)

    @property
    def wants_audio(self) -> bool:
        """Whether audio may be sent now."""
        return self.opened and self.media is not None and not self._close_seq and self._paused_at is None

    @property
    def deadline_ns(self) -> int:
        """When `on_deadline` wants to be called."""
        return min(self._ping_due_ns, *self._late_ns.values(), NEVER_NS)

    # ---------------------------------------------------------------------------------------- what the client says

    def say(self, kind: type[wire.ClientMessage], parameters: wire.Parameters = wire.NOTHING) -> None:
        """Send a message with the next number and the present position."""
        self.seq += 1
        position = duration_of(self.position_frames, RATE_HZ)
        message = wire.client_message(kind, self._caller.session_id, self.seq, self._server_seq, position, parameters)
        self.texts.append(wire.encode(message))

    def audio_sent(self, frames: int) -> None:
        """Take note of `frames` sent in a binary message, at this place among the texts."""
        self.position_frames += frames

    def discard(self, frames: int) -> None:
        """Leave out `frames`, and say so."""
        self._skip(wire.Discarded, self.position_frames, frames)

    def pause(self, now_ns: int) -> None:
        """Pause for a reason of the client's own."""
        self._pauses = True
        self._settle_pause(now_ns, told=True)

    def resume(self, now_ns: int) -> None:
        """End that pause. Audio goes on when the server does not pause either."""
        self._pauses = False
        self._settle_pause(now_ns, told=False)

    def update(self, language: str) -> None:
        self.say(wire.Update, wire.UpdateParameters(language))

    def dtmf(self, digit: str) -> None:
        self.say(wire.Dtmf, wire.DtmfParameters(digit))

    def error(self, code: int, message: str) -> None:
        self.say(wire.Error, wire.ErrorParameters(code, message))

    def close(self, reason: str, now_ns: int) -> None:
        """Say `close`, once: `end`, `error`, `disconnect` or `reconnect`."""
        if self._close_seq:
            return
        self.say(wire.Close, msgspec.convert({"reason": reason}, wire.CloseParameters))
        self._close_seq = self.seq
        self._late_ns = {"close": now_ns + CLOSE_WAIT_NS}
        self._ping_due_ns = NEVER_NS

    def _open(self, continued: tuple[wire.ContinuedSession, ...], lists_languages: bool) -> None:
        caller = self._caller
        self.say(
            wire.Open,
            wire.OpenParameters(
                organization_id=caller.organization_id,
                conversation_id=caller.conversation_id,
                participant=wire.Participant(caller.participant_id, caller.ani, caller.ani_name, caller.dnis),
                media=tuple(wire.as_raw(entry) for entry in self._offers),
                supported_languages=True if lists_languages else UNSET,
                continued_sessions=tuple(wire.as_raw(entry) for entry in continued) or UNSET,
            ),
        )

    def _skip(self, kind: type[wire.ClientMessage], start: int, frames: int) -> None:
        self.position_frames = start + frames
        span = wire.SpanParameters(duration_of(start, RATE_HZ), duration_of(frames, RATE_HZ))
        self.say(kind, span)

    # ---------------------------------------------------------------------------------------- what the server says

    def receive_text(self, text: str, now_ns: int) -> None:
        """Take a text message."""
        if len(text.encode()) > wire.MAX_SENT_BYTES:
            self.faults.append("message too large")
        try:
            message = wire.SERVER_MESSAGE.decode(text)
        except msgspec.DecodeError as error:
            self.faults.append(f"not a server message: {error}")
            return
        self.received.append(message)
        if message.seq != self._server_seq + 1:
            self.faults.append("seq out of turn")
        self._server_seq = message.seq
        if message.id != self._caller.session_id:
            self.faults.append("another session's id")
        if message.clientseq > self.seq:
            self.faults.append("clientseq of the future")
        self.faults += self._misplaced(message)
        self._react(message, now_ns)

    def receive_audio(self, payload: bytes) -> None:
        """Take a binary message: there is no reason for one."""
        self.faults.append("audio for a client that only listens")

    def on_deadline(self, now_ns: int) -> None:
        """Ping, if it is time; note what has not been answered in time, once."""
        if now_ns >= self._ping_due_ns:
            self._send_ping(now_ns)
        for what in [what for what, late_ns in self._late_ns.items() if now_ns >= late_ns]:
            self.faults.append(f"no answer to {what} in time")
            del self._late_ns[what]

    def _misplaced(self, message: wire.AnyServerMessage) -> list[str]:
        """Return what is wrong with a message where it comes."""
        kind = type(message)
        if self.finished:
            return [f"{kind.__name__} after closed"]
        if isinstance(message, wire.Disconnect):
            return ["disconnect after close"] if self._close_seq and message.clientseq >= self._close_seq else []
        if isinstance(message, wire.Closed):
            matches = self._close_seq and message.clientseq == self._close_seq
            return [] if matches else ["closed that answers no close"]
        if isinstance(message, wire.Opened):
            return self._wrong_opened(message)
        if not self.opened:
            return [f"{kind.__name__} before opened"]
        if self._close_seq and message.clientseq >= self._close_seq and kind is not wire.Event:
            return [f"{kind.__name__} after close"]
        if isinstance(message, wire.Pong) and (self._ping is None or message.clientseq != self._ping[0]):
            return ["pong that answers no ping"]
        return []

    def _wrong_opened(self, message: wire.Opened) -> list[str]:
        faults = []
        if self.opened or message.seq != 1:
            faults.append("opened out of turn")
        if message.parameters.media and self._offered(message.parameters.media[0]) is None:
            faults.append("media that were not offered")
        return faults

    def _offered(self, chosen: msgspec.Raw) -> wire.MediaParameter | None:
        """Return the offer that was chosen: the same fields with the same values in the same order of channels."""
        value = msgspec.json.decode(chosen)
        return next((entry for entry in self._offers if msgspec.json.decode(wire.as_raw(entry)) == value), None)

    def _react(self, message: wire.AnyServerMessage, now_ns: int) -> None:
        if isinstance(message, wire.Opened):
            self._take_opened(message.parameters, now_ns)
        elif isinstance(message, wire.Pong):
            self._take_pong(now_ns)
        elif isinstance(message, wire.Pause | wire.Resume):
            self._server_pauses = isinstance(message, wire.Pause)
            self._settle_pause(now_ns, told=True)
        elif isinstance(message, wire.Disconnect):
            self.close("disconnect", now_ns)
        elif isinstance(message, wire.Closed):
            self.finished = True
            self._late_ns.clear()

    def _take_opened(self, opened: wire.OpenedParameters, now_ns: int) -> None:
        self.opened = True
        self._late_ns.pop("open", None)
        if opened.media:
            self.media = self._offered(opened.media[0])
        if self._close_seq:
            return
        self._ping_due_ns = self._pings_from_ns = now_ns + FIRST_PING_NS
        wanted_ns = parse_duration(opened.discard_to) if isinstance(opened.discard_to, str) else None
        if wanted_ns is not None and frames_in(wanted_ns, RATE_HZ) > self.position_frames:
            self.discard(frames_in(wanted_ns, RATE_HZ) - self.position_frames)
        if opened.start_paused is True:
            self._server_pauses = True
            self._settle_pause(now_ns, told=True)

    def _send_ping(self, now_ns: int) -> None:
        rtt = UNSET if self.rtt_ns is None else format_duration(self.rtt_ns)
        self.say(wire.Ping, wire.PingParameters(rtt))
        self._ping = self.seq, now_ns
        self._ping_due_ns = NEVER_NS
        self._late_ns["ping"] = now_ns + PONG_WAIT_NS

    def _take_pong(self, now_ns: int) -> None:
        if self._ping is None:
            return
        is_first = self.rtt_ns is None
        self.rtt_ns = now_ns - self._ping[1]
        self._ping = None
        self._late_ns.pop("ping", None)
        if self._close_seq:
            return
        if is_first:
            # So that the server learns a round trip early.
            self._send_ping(now_ns)
        else:
            beats = (now_ns - self._pings_from_ns) // PING_INTERVAL_NS + 1
            self._ping_due_ns = self._pings_from_ns + beats * PING_INTERVAL_NS

    def _settle_pause(self, now_ns: int, *, told: bool) -> None:
        """Start or end the pause that both sides' wishes add up to; `told` repeats `paused` where it goes on."""
        if self._close_seq:
            return
        if self._server_pauses or self._pauses:
            if self._paused_at is None:
                self._paused_at = now_ns, self.position_frames
                self.say(wire.Paused)
            elif told:
                self.say(wire.Paused)
        elif self._paused_at is not None:
            since_ns, start = self._paused_at
            self._paused_at = None
            self._skip(wire.Resumed, start, frames_in(now_ns - since_ns, RATE_HZ))
