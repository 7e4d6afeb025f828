"""session/audiohook2.py: whatever a peer says, and whenever, a session keeps the protocol, its media time and its end.

An input is a script. Each step is a letter, a length of two octets, and so many octets: `T` text, `A` audio, `C` a ping
or pong, `X` the peer's close frame, `E` its end of TCP; `W` time passes; `N` an end of ours, `D` a disconnect, `P`
pause, `R` resume, `V` entities to be sent. The peer's steps are also given several at a time before the worker answers,
as when one read holds them all; that must make no difference.
"""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from audiohook.errors import CLOSURES, NO_SLOT, PEER_CLOSED, PEER_VANISHED
from audiohook.session.audiohook2 import AudioHook2Session
from audiohook.session.audiohook2_messages import (
    MAX_SENT_BYTES,
    SERVER_MESSAGE,
    Closed,
    Disconnect,
    Opened,
)
from audiohook.session.audiohook2_table import COUNTED
from audiohook.session.audiohook2_terms import AudioHook2Terms, Greeting
from audiohook.session.events import (
    AdmissionAsked,
    AudioArrived,
    Command,
    Continues,
    Counted,
    Ended,
    Event,
    GapArrived,
    Noticed,
    NotOpened,
    PeerError,
    Probed,
    SendClose,
    SendText,
)
from audiohook.units import NS_PER_MS, NS_PER_S
from tests.fuzz.target import Pieces, chance

START_NS = 1000 * NS_PER_S
LONGEST_NS = 2 * 3600 * NS_PER_S
"""A peer that pauses and then says nothing is given an hour."""

ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
NIL = "00000000-0000-0000-0000-000000000000"
GREETING = Greeting(SESSION, ORGANIZATION, "e160e428-53e2-487c-977d-96989bf5c99d")
TERMS = AudioHook2Terms(supported_languages=("en-US", "de"))

FRAME_BYTES = {"none": 0, "pcmu": 1, "l16": 2}
CAUSES = ("paused", "discarded", "lost")
NOTICES = ("paused", "resumed")
REASONS = {PEER_CLOSED, PEER_VANISHED, NO_SLOT.slug} | {closure.slug for closure in (*CLOSURES,)}

SEQ = '"seq":0'
"""Stands in a seed's messages for the number that `assemble` gives them."""

_TYPES = (
    *("open", "ping", "update", "paused", "resumed", "discarded", "error", "close", "dtmf"),
    *("playback_started", "playback_completed", "unheard_of"),
)
TOKENS = (
    *(f'"type":"{kind}"'.encode() for kind in _TYPES),
    *(b'"PT0S"', b'"PT1.5S"', b'"PT.1S"', b'"PT-1S"', b'"PT99999999S"', b'"PT1e9S"', b'"P1D"', b'"PT1.S"'),
    *(b"null", b"true", b"[]", b"{}", b'""', b"[[[[", b"{", b"}", b"]", b",", b":", b'"', b"\\u0000", b"\\ud800"),
    *(b"-1", b"1.5", b"1e400", b"9" * 400, b"18446744073709551616", b"9007199254740993"),
    *(SEQ.encode(), b'"seq":2', b'"serverseq":1', b'"serverseq":99', b'"version":"3"', b'"parameters":{}'),
    *(b'"PCMU"', b'"L16"', b'"OPUS"', b'["external"]', b'["internal","external"]', b'"rate":16000'),
    *(SESSION.encode(), SESSION.upper().encode(), ORGANIZATION.encode(), NIL.encode(), b"\xf0\x9f\x92", b"\xff"),
)


# ---------------------------------------------------------------------------------------- seeds


def text(kind: str, position: str = "PT0S", **parameters: object) -> bytes:
    head = f'{{"version":"2","type":"{kind}","id":"{SESSION}",{SEQ},"serverseq":0,"position":"{position}"'
    return f'T{head},"parameters":{json.dumps(parameters)}}}'.encode()


def media(*channels: str, coding: str = "PCMU") -> dict[str, object]:
    return {"type": "audio", "format": coding, "channels": list(channels), "rate": 8000}


def opening(*offers: object, position: str = "PT0S", conversation: str = SESSION, **more: object) -> bytes:
    participant = {"id": conversation, "ani": "+1-555-0100", "aniName": "A", "dnis": "tel:+15550101"}
    known = {"organizationId": ORGANIZATION, "conversationId": conversation, "participant": participant}
    return text("open", position, **known, media=list(offers), **more)


def seeds() -> Iterable[Pieces]:
    both, one, linear = media("external", "internal"), media("external"), media("internal", coding="L16")
    audio, second, end = b"A" + bytes(range(160)), b"W\x03\xe8", [text("close", reason="end"), b"X\x00\x00"]
    yield [opening(both, one), text("ping"), audio, audio, text("ping", rtt="PT0.01S"), *end]
    yield [
        opening(one),
        audio,
        text("paused", "PT0.02S"),
        second,
        text("resumed", "PT3S", start="PT0.02S", discarded="PT3S"),
        *end,
    ]
    yield [opening(linear), audio, text("discarded", "PT9S", start="PT0.01S", discarded="PT9S"), audio, b"E"]
    earlier = [{"id": ORGANIZATION, "serverseq": 3, "clientseq": 9}]
    yield [opening(one, position="PT20.5S", continuedSessions=earlier), audio, audio, *end]
    yield [opening(both, conversation=NIL), text("close", reason="end")]
    yield [opening(), text("update", language="en-US"), text("dtmf", digit="5"), *end]
    yield [opening(one), b"P", audio, b"R", text("error", code=429, message="slow", retryAfter="PT2S"), b"D", *end]
    transcript = {"type": "barge_in", "data": {}}
    yield [
        opening(one),
        b"V" + json.dumps([transcript] * 3).encode(),
        audio,
        b"N\x03",
        text("close", reason="disconnect"),
    ]
    yield [text("ping"), opening(one), opening(one), text("playback_started"), text("unheard_of", a=1), b"C", *end]
    yield [opening(one), audio, text("paused"), audio, b"W\xff\xff", b"W\xff\xff"]


def assemble(pieces: Pieces) -> bytes:
    """Make a script of steps, giving lengths, and their numbers to the messages in which `SEQ` still stands."""
    script, seq = b"", 0
    for piece in pieces:
        if piece[:1] == b"T":
            seq += 1
            piece = piece.replace(SEQ.encode(), b'"seq":%d' % seq, 1)
        script += piece[:1] + len(piece[1:]).to_bytes(2, "big")[-2:] + piece[1:]
    return script


# ---------------------------------------------------------------------------------------- playing


def check(data: bytes) -> None:
    steps = list(_steps(data))
    one_by_one = _played(steps, chance(data), together=0.0)
    grouped = _played(steps, chance(data), together=0.7)
    assert grouped.commands == one_by_one.commands, "what is said depends on the cut"
    assert grouped.events == one_by_one.events, "what happens depends on the cut"
    _check_end(one_by_one)


def _steps(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        yield chr(data[at]), data[at + 3 : at + 3 + size]
        at += 3 + size


@dataclass
class Played:
    """A session and all that came of it. `base` is the first frame of its stream."""

    session: AudioHook2Session
    admits: bool
    reached: int | None
    now_ns: int = START_NS
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def settle(self) -> None:
        """Do what the worker does in its turn: take what came out, answer if asked, arm the timer."""
        session = self.session
        while session.events or session.commands:
            events, session.events = session.events, []
            commands, session.commands = session.commands, []
            self.events += events
            self.commands += commands
            if any(isinstance(event, AdmissionAsked) for event in events):
                if self.admits:
                    known = any(isinstance(event, Continues) for event in self.events)
                    session.admit(self.now_ns, self.reached if known else None)
                else:
                    session.refuse(NO_SLOT, self.now_ns)

    def advance(self, for_ns: int) -> None:
        until_ns = self.now_ns + for_ns
        while self.session.deadline_ns <= until_ns:
            self.now_ns = max(self.now_ns, self.session.deadline_ns)
            self.session.on_deadline(self.now_ns)
            assert self.session.deadline_ns > self.now_ns, "the loop would call again at once, for ever"
            self.settle()
        self.now_ns = until_ns


def _played(steps: list[tuple[str, bytes]], choice: random.Random, together: float) -> Played:
    admits, reached = choice.random() < 0.9, int(choice.random() * 400_000) if choice.random() < 0.5 else None
    played = Played(AudioHook2Session(TERMS, GREETING, START_NS), admits, reached)
    for letter, payload in steps:
        if letter in "TACXE":
            _from_peer(played.session, letter, payload, played.now_ns)
            if choice.random() < together:
                continue
        played.settle()
        if letter == "W":
            played.advance(int.from_bytes(payload[:2], "big") * NS_PER_MS)
        elif letter in "NDPRV":
            _from_us(played.session, letter, payload, played.now_ns)
        played.settle()
    played.settle()
    played.advance(LONGEST_NS)
    return played


def _from_peer(session: AudioHook2Session, letter: str, payload: bytes, now_ns: int) -> None:
    if letter == "T":
        session.receive_text(payload.decode(errors="replace"), now_ns)
    elif letter == "A":
        session.receive_audio(payload, now_ns)
    elif letter == "C":
        session.receive_control(now_ns)
    elif letter == "X":
        code = int.from_bytes(payload[:2], "big")
        session.receive_close(code or None, payload[2:].decode(errors="replace"), now_ns)
    else:
        session.receive_eof(now_ns)


def _from_us(session: AudioHook2Session, letter: str, payload: bytes, now_ns: int) -> None:
    if letter == "N":
        session.close(CLOSURES[(payload or b"\x00")[0] % len(CLOSURES)], now_ns)
    elif letter == "D":
        session.disconnect("completed", "", now_ns)
    elif letter == "P":
        session.pause(now_ns)
    elif letter == "R":
        session.resume(now_ns)
    else:
        try:
            values = json.loads(payload)
        except (ValueError, RecursionError):
            return
        session.send_event(values if isinstance(values, list) else [values], now_ns)


# ---------------------------------------------------------------------------------------- judging


def _check_end(played: Played) -> None:
    assert played.session.over, "the session never ends"
    assert not played.session.streaming
    _check_said(played.commands)
    asked = [event for event in played.events if isinstance(event, AdmissionAsked)]
    assert len(asked) <= 1
    for event in played.events:
        _check_event(event)
    ends = [event for event in played.events if isinstance(event, Ended)]
    if not (asked and played.admits):
        assert not ends
        assert not any(isinstance(event, AudioArrived | GapArrived | Noticed) for event in played.events)
        return
    assert len(ends) == 1
    _check_stream(played, asked[0])


def _check_stream(played: Played, asked: AdmissionAsked) -> None:
    """Everything of the stream lies between its admission and its end, and its frames add up."""
    first, last = played.events.index(asked), next(i for i, e in enumerate(played.events) if isinstance(e, Ended))
    frame_bytes = FRAME_BYTES[asked.media.codec] * len(asked.media.channel_names)
    frames = 0
    for place, event in enumerate(played.events):
        if isinstance(event, AudioArrived | GapArrived | Noticed):
            assert first < place < last
        if isinstance(event, AudioArrived):
            assert frame_bytes
            assert event.payload
            assert len(event.payload) % frame_bytes == 0
            frames += len(event.payload) // frame_bytes
        elif isinstance(event, GapArrived):
            frames += event.frames
    media_time = played.session.media_time
    assert media_time.base + frames == media_time.end, "media time does not add up"


def _check_event(event: Event) -> None:
    if isinstance(event, Counted):
        assert event.kind in COUNTED
        assert event.times > 0
    elif isinstance(event, GapArrived):
        assert event.frames > 0
        assert event.cause in CAUSES
    elif isinstance(event, Noticed):
        assert event.kind in NOTICES
    elif isinstance(event, Ended | NotOpened):
        assert event.reason in REASONS, event.reason
    elif isinstance(event, AdmissionAsked):
        identity = event.identity
        assert all(
            len(value) <= 128 and (value == "" or value.isprintable()) for value in (identity.ani, identity.dnis)
        )
        assert (identity.session_id, identity.organization_id) == (SESSION, ORGANIZATION)
    else:
        assert isinstance(event, AudioArrived | Continues | PeerError | Probed)


def _check_said(commands: list[Command]) -> None:
    """What a strict client demands: documented messages, numbered, none before `opened` but the two, none behind."""
    texts = [command for command in commands if isinstance(command, SendText)]
    assert commands[: len(texts)] == texts, "a message behind the close"
    assert sum(isinstance(command, SendClose) for command in commands) <= 1
    opened = False
    for number, command in enumerate(texts, 1):
        assert len(command.text.encode()) <= MAX_SENT_BYTES
        message = SERVER_MESSAGE.decode(command.text)
        assert (message.id, message.seq) == (SESSION, number)
        assert opened or isinstance(message, Opened | Disconnect | Closed), "before `opened`"
        assert not (opened and isinstance(message, Opened)), "opened twice"
        opened = opened or isinstance(message, Opened)
        assert number == len(texts) or not isinstance(message, Closed), "behind `closed`"
