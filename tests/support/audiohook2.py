"""An `audiohook2` session and its peer for tests: messages by hand, and a whole conversation with the strict client.

`Life` drives a session with messages written here, so that it shares no code with what it tests. `Talk` lets the
client half speak with the session; both see the same clock, and nothing is ever late on the way.
"""

import json
from collections.abc import Sequence
from typing import Any

from audiohook.errors import Refusal
from audiohook.session.audiohook2 import AudioHook2Session
from audiohook.session.audiohook2_client import AudioHook2Client, Caller
from audiohook.session.audiohook2_messages import NIL_UUID
from audiohook.session.audiohook2_table import State
from audiohook.session.audiohook2_terms import AudioHook2Terms, Greeting
from audiohook.session.events import AdmissionAsked, AudioArrived, Command, Counted, Event, GapArrived, SendText
from audiohook.units import NS_PER_S

START_NS = 1_000 * NS_PER_S
SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
CONVERSATION = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = "883efee8-3d6c-4537-b500-6d7ca4b92fa0"
CORRELATION = "e160e428-53e2-487c-977d-96989bf5c99d"
GREETING = Greeting(SESSION, ORGANIZATION, CORRELATION)
CALLER = Caller(SESSION, ORGANIZATION, CONVERSATION, PARTICIPANT, CORRELATION, ani="tel:+15551234567", dnis="+1-555-9")

STEREO = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
MONO = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}


def open_parameters(**changed: Any) -> dict[str, Any]:
    """Return the parameters of an `open` as production sends it, with some of them changed."""
    return {
        "organizationId": ORGANIZATION,
        "conversationId": CONVERSATION,
        "participant": {"id": PARTICIPANT, "ani": "tel:+15551234567", "aniName": "J. Doe", "dnis": "+1-555-9"},
        "media": [STEREO, MONO],
        **changed,
    }


PROBE = {"conversationId": NIL_UUID, "participant": {"id": NIL_UUID, "ani": "", "aniName": "", "dnis": ""}}


class Life:
    """A session, its clock, and the number of the peer's last message."""

    def __init__(self, **terms: Any) -> None:
        self.now_ns = START_NS
        self.session = AudioHook2Session(AudioHook2Terms(**terms), GREETING, self.now_ns)
        self.seq = 0

    def text(self, kind: str, parameters: Any = None, **envelope: Any) -> str:
        """Return the peer's next message; `envelope` changes or adds fields of it."""
        self.seq += 1
        fields = {
            "version": "2",
            "type": kind,
            "id": SESSION,
            "seq": self.seq,
            "serverseq": 0,
            "position": "PT0S",
            "parameters": {} if parameters is None else parameters,
        }
        return json.dumps({**fields, **envelope})

    def say(self, kind: str, parameters: Any = None, **envelope: Any) -> "Life":
        self.session.receive_text(self.text(kind, parameters, **envelope), self.now_ns)
        return self

    def open(self, **changed: Any) -> "Life":
        return self.say("open", open_parameters(**changed))

    def admitted(self, continues_from_frames: int | None = None, position: str = "PT0S", **changed: Any) -> "Life":
        """Open, and be admitted."""
        self.say("open", open_parameters(**changed), position=position)
        self.session.admit(self.now_ns, continues_from_frames)
        assert self.session.state is State.ACTIVE
        return self

    def audio(self, payload: bytes) -> "Life":
        self.session.receive_audio(payload, self.now_ns)
        return self

    def advance(self, for_ns: int) -> "Life":
        """Let time pass, meeting every deadline."""
        until_ns = self.now_ns + for_ns
        while self.session.deadline_ns <= until_ns:
            self.now_ns = max(self.now_ns, self.session.deadline_ns)
            self.session.on_deadline(self.now_ns)
            assert self.session.deadline_ns > self.now_ns
        self.now_ns = until_ns
        return self

    def events(self) -> list[Event]:
        """Take out the events."""
        events = list(self.session.events)
        self.session.events.clear()
        return events

    def commands(self) -> list[Command]:
        """Take out the commands, as call.py does: with the list."""
        commands, self.session.commands = self.session.commands, []
        return commands

    def sent(self) -> list[dict[str, Any]]:
        """Take out the commands, of which all must be texts, as JSON."""
        commands = self.commands()
        assert all(isinstance(command, SendText) for command in commands), commands
        return [json.loads(command.text) for command in commands if isinstance(command, SendText)]

    def sent_types(self) -> list[str]:
        return [message["type"] for message in self.sent()]


def counts(events: Sequence[Event]) -> dict[str, int]:
    """Return what was counted, by kind."""
    found: dict[str, int] = {}
    for event in events:
        if isinstance(event, Counted):
            found[event.kind] = found.get(event.kind, 0) + event.times
    return found


def frames_of(events: Sequence[Event], frame_bytes: int) -> int:
    """Return the frames of all audio and all gaps."""
    audio = sum(len(event.payload) for event in events if isinstance(event, AudioArrived))
    assert audio % frame_bytes == 0
    return audio // frame_bytes + sum(event.frames for event in events if isinstance(event, GapArrived))


class Talk:
    """A session and the strict client, who talk without delay. `admission` answers the question for a stream."""

    def __init__(
        self, terms: AudioHook2Terms | None = None, admission: Refusal | int | None = None, **peer: Any
    ) -> None:
        self.now_ns = START_NS
        self.session = AudioHook2Session(terms or AudioHook2Terms(), GREETING, self.now_ns)
        self.client = AudioHook2Client(peer.pop("caller", CALLER), self.now_ns, **peer)
        self.admission = admission
        self.events: list[Event] = []
        self.commands: list[Command] = []
        """All but the texts, which went to the client."""
        self.settle()

    def settle(self) -> "Talk":
        """Pass on what either side wants to say until neither wants anything."""
        while self.client.texts or self.session.commands or self.session.events:
            texts, self.client.texts = self.client.texts, []
            for text in texts:
                self.session.receive_text(text, self.now_ns)
            self._serve()
        return self

    def _serve(self) -> None:
        events, self.session.events = self.session.events, []
        self.events += events
        for event in events:
            if isinstance(event, AdmissionAsked):
                if isinstance(self.admission, Refusal):
                    self.session.refuse(self.admission, self.now_ns)
                else:
                    self.session.admit(self.now_ns, self.admission)
        commands, self.session.commands = self.session.commands, []
        for command in commands:
            if isinstance(command, SendText):
                self.client.receive_text(command.text, self.now_ns)
            else:
                self.commands.append(command)

    def audio(self, payload: bytes) -> "Talk":
        """Let the client send audio, if it may, behind its texts."""
        self.settle()
        if self.client.wants_audio and self.client.media is not None:
            self.client.audio_sent(len(payload) // len(self.client.media.channels))
            self.session.receive_audio(payload, self.now_ns)
        return self.settle()

    def advance(self, for_ns: int) -> "Talk":
        """Let time pass, meeting every deadline of both."""
        self.settle()
        until_ns = self.now_ns + for_ns
        while (due_ns := min(self.client.deadline_ns, self.session.deadline_ns)) <= until_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.client.on_deadline(self.now_ns)
            self.settle()
            self.session.on_deadline(self.now_ns)
            self.settle()
        self.now_ns = until_ns
        return self
