"""Any peer at all: whatever it sends and when, the session keeps its promises (hypothesis, stateful)."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from audiohook.errors import INTERNAL_ERROR, MESSAGE_TOO_LARGE, NO_SLOT, SEND_STALLED, SHUTDOWN, Closure
from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2 import ANSWER_WAIT_NS, CLOSE_WAIT_NS
from audiohook.session.audiohook2_table import COUNTED, LIVE, State
from audiohook.session.events import (
    AdmissionAsked,
    AudioArrived,
    Continues,
    Counted,
    Ended,
    Event,
    GapArrived,
    Noticed,
    NotOpened,
    PeerError,
    Probed,
    Reset,
    SendClose,
    SendText,
)
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S
from tests.support.audiohook2 import CONVERSATION, PROBE, SESSION, STEREO, Life, open_parameters

DURATIONS_NS = st.sampled_from([0, NS_PER_MS, 200 * NS_PER_MS, NS_PER_S, 5 * NS_PER_S, 10 * NS_PER_S, 31 * NS_PER_S])
SPANS = st.sampled_from(["PT0S", "PT0.000125S", "PT0.0001S", "PT1S", "PT1.00006S", "PT9S", "PT2678400S"])
WRONG_SPANS = st.sampled_from(["", "PT1M", "PT99999999999S", 5, None])
PARAMETERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "ping": st.sampled_from([{}, {"rtt": "PT0.1S"}, {"rtt": 5}]),
    "paused": st.just({}),
    "resumed": st.fixed_dictionaries({"start": SPANS, "discarded": SPANS}),
    "discarded": st.fixed_dictionaries({"start": SPANS, "discarded": SPANS}),
    "update": st.sampled_from([{}, {"language": "en"}]),
    "error": st.sampled_from([{}, {"code": 429, "message": "x", "retryAfter": "PT2S"}, {"code": 409}]),
    "dtmf": st.just({"digit": "1"}),
    "playback_started": st.just({}),
    "reconnecting": st.just({}),
}
OPENS = st.sampled_from(
    [
        *({}, {}, {}),
        {"media": []},
        {"media": [{**STEREO, "channels": ["internal"]}]},
        {"media": [{**STEREO, "format": "L16"}]},
        {"supportedLanguages": True},
        {"continuedSessions": [{"id": CONVERSATION, "serverseq": 1, "clientseq": 1}]},
        {"organizationId": CONVERSATION},
        PROBE,
    ]
)
ENTITIES = st.sampled_from([[{"type": "barge_in", "data": {}}], [{"type": "barge_in", "data": {}}] * 30, [{}], []])
FRAME_BYTES = {("pcmu", 1): 1, ("pcmu", 2): 2, ("l16", 1): 2, ("l16", 2): 4, ("none", 1): 1}


class AnyPeer(RuleBasedStateMachine):
    """What is modelled here is only what a strict peer and a strict reader of streams can see."""

    @initialize(start_paused=st.booleans(), first_open=st.none() | OPENS, reached=st.none() | st.integers(0, 100_000))
    def connect(self, start_paused: bool, first_open: dict[str, Any] | None, reached: int | None) -> None:
        self.life = Life(start_paused=start_paused)
        self.session = self.life.session
        self.events: list[Event] = []
        self.texts: list[wire.AnyServerMessage] = []
        self.frames = 0
        self.frame_bytes = 1
        self.admitted = self.closed_frame = self.reset = False
        self.since_ns, self.state = self.life.now_ns, State.PREPARING
        self.refusing = False
        self.reached = reached
        self.gather()
        if first_open is not None:
            self.open(first_open, "PT0S")

    # ------------------------------------------------------------------------------------ what the peer does

    @rule(changes=OPENS, position=SPANS)
    def open(self, changes: dict[str, Any], position: str) -> None:
        self.hear(self.life.text("open", open_parameters(**changes), position=position))

    @rule(data=st.data(), kind=st.sampled_from(sorted(PARAMETERS)), position=SPANS)
    def message(self, data: st.DataObject, kind: str, position: str) -> None:
        self.hear(self.life.text(kind, data.draw(PARAMETERS[kind]), position=position))

    @rule(reason=st.sampled_from(["end", "error", "disconnect", "reconnect", "bored"]), rarely=st.integers(0, 3))
    def close_message(self, reason: str, rarely: int) -> None:
        if not rarely:
            self.hear(self.life.text("close", {"reason": reason}))

    @rule(
        wrong=st.sampled_from(
            [
                *({"seq": 1}, {"seq": 10**6}, {"serverseq": 10**6}, {"id": CONVERSATION}, {"version": "3"}),
                *({"seq": "x"}, {"parameters": []}, {"type": "resumed"}),
            ]
        ),
        rarely=st.integers(0, 5),
    )
    def wrong_message(self, wrong: dict[str, Any], rarely: int) -> None:
        if not rarely:
            self.hear(json.dumps({**json.loads(self.life.text("ping")), **wrong}))

    @rule(span=st.fixed_dictionaries({"start": WRONG_SPANS, "discarded": SPANS}), rarely=st.integers(0, 5))
    def wrong_span(self, span: dict[str, Any], rarely: int) -> None:
        if not rarely:
            self.hear(self.life.text("discarded", span))

    @rule(text=st.text(max_size=40), rarely=st.integers(0, 5))
    def garbage(self, text: str, rarely: int) -> None:
        if not rarely:
            self.hear(text)

    def hear(self, text: str) -> None:
        self.session.receive_text(text, self.life.now_ns)
        self.took_sign()

    @rule(payload=st.binary(max_size=9) | st.integers(0, 65_536).map(bytes))
    def audio(self, payload: bytes) -> None:
        self.life.audio(payload)
        self.took_sign()

    @rule(rarely=st.integers(0, 9), code=st.sampled_from([None, 1000, 1001]))
    def close_frame(self, rarely: int, code: int | None) -> None:
        if not rarely:
            self.session.receive_close(code, "bye", self.life.now_ns)
            self.gather()
            assert self.session.over

    @rule(rarely=st.integers(0, 9))
    def eof(self, rarely: int) -> None:
        if not rarely:
            self.session.receive_eof(self.life.now_ns)
            self.gather()
            assert self.session.over

    # ------------------------------------------------------------------------------------ what we do

    @rule(refusing=st.booleans())
    def think_again(self, refusing: bool) -> None:
        self.refusing = refusing

    @rule(rarely=st.integers(0, 9), why=st.sampled_from([SHUTDOWN, INTERNAL_ERROR, MESSAGE_TOO_LARGE, SEND_STALLED]))
    def our_end(self, rarely: int, why: Closure) -> None:
        if not rarely:
            self.session.close(why, self.life.now_ns)
            self.gather()

    @rule(rarely=st.integers(0, 9))
    def disconnect(self, rarely: int) -> None:
        if not rarely:
            self.session.disconnect("completed", "done", self.life.now_ns)
            self.gather()

    @rule(pause=st.booleans())
    def control(self, pause: bool) -> None:
        (self.session.pause if pause else self.session.resume)(self.life.now_ns)
        self.gather()

    @rule(entities=ENTITIES)
    def event(self, entities: list[Any]) -> None:
        self.session.send_event(entities, self.life.now_ns)
        self.gather()

    @rule(for_ns=DURATIONS_NS)
    def time_passes(self, for_ns: int) -> None:
        self.life.now_ns += for_ns

    @rule()
    def tick(self) -> None:
        self.session.on_deadline(self.life.now_ns)
        assert self.session.deadline_ns > self.life.now_ns
        self.gather()

    @precondition(lambda self: self.session.deadline_ns < NEVER_NS)
    @rule()
    def deadline_comes(self) -> None:
        self.life.now_ns = max(self.life.now_ns, self.session.deadline_ns)
        self.tick()

    # ------------------------------------------------------------------------------------ what can be seen

    def took_sign(self) -> None:
        if self.session.state is self.state and self.state in (State.PROBED, *LIVE):
            self.since_ns = self.life.now_ns
        self.gather()

    def gather(self) -> None:
        """Do what a worker does, and check everything that comes out."""
        for event in self.life.events():
            self.events.append(event)
            if isinstance(event, AdmissionAsked):
                self.frame_bytes = FRAME_BYTES[event.media.codec, len(event.media.channel_names)]
                if self.refusing:
                    self.session.refuse(NO_SLOT, self.life.now_ns)
                else:
                    self.session.admit(self.life.now_ns, self.reached)
                    self.admitted = True
                    assert self.session.streaming
                self.gather()
            elif isinstance(event, AudioArrived):
                assert event.payload
                assert len(event.payload) % self.frame_bytes == 0
                self.frames += len(event.payload) // self.frame_bytes
            elif isinstance(event, GapArrived):
                assert event.frames > 0
                assert event.cause in ("paused", "discarded", "lost")
                self.frames += event.frames
            elif isinstance(event, Counted):
                assert event.times > 0
                assert event.kind in COUNTED
            else:
                assert isinstance(event, Noticed | Ended | NotOpened | Continues | Probed | PeerError)
        for command in self.life.commands():
            assert not self.reset
            if isinstance(command, SendText):
                assert not self.closed_frame
                assert len(command.text.encode()) <= wire.MAX_SENT_BYTES
                self.read_strictly(wire.SERVER_MESSAGE.decode(command.text))
            elif isinstance(command, SendClose):
                assert not self.closed_frame
                self.closed_frame = True
            else:
                assert isinstance(command, Reset)
                self.reset = True
        if self.session.state is not self.state:
            self.state, self.since_ns = self.session.state, self.life.now_ns

    def read_strictly(self, message: wire.AnyServerMessage) -> None:
        before = [type(earlier) for earlier in self.texts]
        assert message.seq == len(before) + 1
        assert message.id == SESSION
        assert not self.texts or message.clientseq >= self.texts[-1].clientseq
        assert wire.Closed not in before, "nothing after closed"
        assert not isinstance(message, wire.Reconnect), "nobody can ask for it"
        if isinstance(message, wire.Opened):
            assert before == [], "opened is the first"
        elif not isinstance(message, wire.Disconnect | wire.Closed):
            assert before[:1] == [wire.Opened], "and all but disconnect and closed come after it"
        if isinstance(message, wire.Disconnect):
            assert wire.Disconnect not in before
        if wire.Disconnect in before:
            assert isinstance(message, wire.Pong | wire.Closed)
        self.texts.append(message)

    @invariant()
    def media_time_adds_up(self) -> None:
        if self.admitted:
            media = self.session.media_time
            assert media.base + self.frames == media.end
        else:
            assert self.frames == 0

    @invariant()
    def a_stream_ends_once(self) -> None:
        ends = [type(event) for event in self.events if isinstance(event, Ended | NotOpened)]
        if self.admitted:
            assert ends == ([] if self.session.streaming else [Ended])
        else:
            alive = self.session.state in (State.PREPARING, State.PROBED)
            probed = any(isinstance(event, Probed) for event in self.events)
            assert ends == ([] if alive or probed else [NotOpened])
        assert self.session.state is not State.OPENING, "the worker has answered"

    @invariant()
    def a_deadline_is_never_late(self) -> None:
        waits_ns = {
            State.PREPARING: 10 * NS_PER_S,
            State.PROBED: 30 * NS_PER_S,
            State.ACTIVE: 30 * NS_PER_S,
            State.PAUSED: 3600 * NS_PER_S,
            State.REJECTED: ANSWER_WAIT_NS,
            State.SIGNALED: ANSWER_WAIT_NS,
            State.CLOSED: ANSWER_WAIT_NS,
            State.LEAVING: CLOSE_WAIT_NS,
        }
        if self.state in waits_ns:
            assert self.session.deadline_ns <= self.since_ns + waits_ns[self.state]

    def teardown(self) -> None:
        """Whatever happened, a session whose peer is silent from now on comes to its end by deadlines alone."""
        for _ in range(400):
            if self.session.over:
                break
            self.deadline_comes()
            self.a_stream_ends_once()
        assert self.session.over


AnyPeer.TestCase.settings = settings(max_examples=200, stateful_step_count=50)
TestAnyPeer = AnyPeer.TestCase
