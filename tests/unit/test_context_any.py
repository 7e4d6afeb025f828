"""session/context.py under hypothesis: any inputs and any clock. One end, nothing behind it, deadlines that advance.

The model keeps the true times by the words of docs/context-dialect.md, not by the code's own clocks.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from audiohook.errors import CLOSURES, HEARTBEAT_LOST, PEER_CLOSED, PEER_VANISHED, SUPERSEDED, Closure
from audiohook.session.context import CLOSE_WAIT_NS, HELD_PAUSE_NS, ContextSession, State
from audiohook.session.events import AudioArrived, AudioHeld, Ended, Event, Noticed, SendClose, SendPing, TimeMeasured
from audiohook.units import NEVER_NS
from tests.support.calls import HOLD_NS, RECONNECT_NS, START_NS, context_terms

DURATIONS = st.integers(1, 60) | st.integers(1, 100_000) | st.sampled_from([CLOSE_WAIT_NS // 2, 3 * CLOSE_WAIT_NS])


class AnyLife(RuleBasedStateMachine):
    steps = 0

    @initialize(heartbeat_ns=DURATIONS, degraded_ns=DURATIONS, first_audio_ns=DURATIONS, ends_after=st.integers(0, 40))
    def begin(self, heartbeat_ns: int, degraded_ns: int, first_audio_ns: int, ends_after: int) -> None:
        self.ends_after = ends_after
        self.heartbeat_ns, self.degraded_ns, self.first_audio_ns = heartbeat_ns, degraded_ns, first_audio_ns
        self.now_ns = START_NS
        self.session = ContextSession(
            context_terms(heartbeat_ns=heartbeat_ns, degraded_ns=degraded_ns, first_audio_ns=first_audio_ns), START_NS
        )
        self.events: list[Event] = []
        self.pings = 0
        self.reset = False
        self.told: SendClose | None = None
        self.audio_ns: int | None = None  # of the last audio
        self.held = False
        self.hold_unmeasured = False  # since the last hold began no audio has come outside it
        self.waiting_ns = START_NS  # since when audio is waited for
        self.frame_ns = START_NS
        self.ping_ns: int | None = None
        self.silence_said = False
        self.close_ns: int | None = None
        self.reason: str | None = None

    @property
    def may_end(self) -> bool:
        """Most lives last a while: an end that came as often as a packet would leave no time for the clocks."""
        return self.steps > self.ends_after

    @property
    def is_open(self) -> bool:
        return self.reason is None

    def gather(self) -> list[Event]:
        """Take out what was said, and hold it against what may be said at all."""
        events, commands = list(self.session.events), list(self.session.commands)
        self.session.events.clear()
        self.session.commands.clear()
        for command in commands:
            assert not self.reset, "a word after the reset"
            if isinstance(command, SendPing):
                assert self.told is None
                self.pings += 1
            elif isinstance(command, SendClose):
                assert self.told is None
                self.told = command
            else:
                self.reset = True
        for event in events:
            assert not any(isinstance(before, Ended) for before in self.events), "an event after the end"
            self.events.append(event)
        return events

    @rule(payload=st.binary(max_size=2))
    def audio(self, payload: bytes) -> None:
        self.session.receive_audio(payload, self.now_ns)
        expected: list[Event] = []
        if self.is_open:
            if self.hold_unmeasured and self.audio_ns is not None and self.now_ns - self.audio_ns >= HELD_PAUSE_NS:
                expected.append(TimeMeasured(self.now_ns - self.audio_ns))
            if self.silence_said and self.audio_ns is not None:
                expected.append(Noticed("recovered"))
            expected.append(AudioHeld(payload) if self.held else AudioArrived(payload))
            self.audio_ns = self.frame_ns = self.waiting_ns = self.now_ns
            self.silence_said = False
            self.hold_unmeasured = self.held
        assert self.gather() == expected

    @rule()
    def hold(self) -> None:
        self.session.hold(self.now_ns)
        assert self.gather() == ([Noticed("held")] if self.is_open and not self.held else [])
        if self.is_open:
            self.held = self.hold_unmeasured = True
            self.silence_said = False

    @rule()
    def unhold(self) -> None:
        self.session.unhold(self.now_ns)
        assert self.gather() == ([Noticed("unheld")] if self.is_open and self.held else [])
        if self.is_open and self.held:
            self.held = False
            self.waiting_ns = self.now_ns

    @rule()
    def text(self) -> None:
        self.session.receive_text("", self.now_ns)
        self.frame_ns = self.now_ns
        assert self.gather() == ([Noticed("text_ignored")] if self.is_open else [])

    @rule()
    def control(self) -> None:
        self.session.receive_control(self.now_ns)
        self.frame_ns = self.now_ns
        assert self.gather() == []

    @property
    def waits_ns(self) -> int:
        return HOLD_NS if self.held else RECONNECT_NS

    def ended(self, ended: Ended, *before: Event) -> None:
        assert self.gather() == ([*before, ended] if self.is_open else [])
        self.reason = self.reason or ended.reason

    @precondition(lambda self: self.may_end)
    @rule(
        code=st.none() | st.sampled_from([1000, 1001, 1006, 1012]) | st.integers(1000, 4999),
        text=st.sampled_from(["Hold", ""]) | st.text(max_size=3),
    )
    def peer_close(self, code: int | None, text: str) -> None:
        self.session.receive_close(code, text, self.now_ns)
        leaves_for_hold = (code, text) == (1000, "Hold")
        said = [Noticed("held")] if leaves_for_hold and not self.held else []
        self.held = self.held or (leaves_for_hold and self.is_open)
        self.ended(
            Ended(PEER_CLOSED, code, text, self.waits_ns if self.held or code in (1001, 1006, 1012) else 0), *said
        )
        assert self.session.state is State.OVER

    @precondition(lambda self: self.may_end)
    @rule()
    def eof(self) -> None:
        self.session.receive_eof(self.now_ns)
        self.ended(Ended(PEER_VANISHED, waits_ns=self.waits_ns))
        assert self.session.state is State.OVER

    @precondition(lambda self: self.may_end)
    @rule(why=st.sampled_from(CLOSURES))
    def close(self, why: Closure) -> None:
        was_open = self.is_open
        self.session.close(why, self.now_ns)
        waits_ns = self.waits_ns if why.code is None or why is SUPERSEDED else 0
        self.ended(Ended(why.slug, why.code, why.text if why.code else "", waits_ns))
        if was_open and why.code is not None:
            self.close_ns = self.now_ns
            assert self.told == SendClose(why.code, why.text)
        if why.code is None:
            assert self.session.state is State.OVER

    @rule(for_ns=DURATIONS)
    def time_passes(self, for_ns: int) -> None:
        self.now_ns += for_ns

    @precondition(lambda self: self.session.deadline_ns < NEVER_NS)
    @rule()
    def deadline_comes(self) -> None:
        self.now_ns = max(self.now_ns, self.session.deadline_ns)
        self.tick()

    @rule()
    def tick(self) -> None:
        pings, was_open = self.pings, self.is_open
        due_ns = self.true_ping_due_ns()
        silence_due = self.is_open and self.now_ns >= self.true_silence_due_ns()
        self.session.on_deadline(self.now_ns)
        events = self.gather()
        silence = Noticed("no_audio" if self.audio_ns is None else "degraded")
        assert events[:1] == [silence] if silence_due else silence not in events
        self.silence_said = self.silence_said or silence_due
        dead = Ended(HEARTBEAT_LOST.slug, waits_ns=self.waits_ns)
        if dead in events:
            assert self.ping_ns is not None
            assert self.frame_ns < self.ping_ns
            assert 0 <= self.now_ns - due_ns <= self.heartbeat_ns, "judged by a clock that had stood still"
            assert self.reset
            self.reason = dead.reason
        elif was_open:
            assert self.pings - pings == (1 if self.now_ns >= due_ns else 0)
        if self.pings > pings:
            self.ping_ns = self.now_ns
        assert self.session.deadline_ns > self.now_ns

    def true_ping_due_ns(self) -> int:
        return (START_NS if self.ping_ns is None else self.ping_ns) + self.heartbeat_ns

    def true_silence_due_ns(self) -> int:
        if self.silence_said or self.held:
            return NEVER_NS
        return self.waiting_ns + (self.first_audio_ns if self.audio_ns is None else self.degraded_ns)

    @invariant()
    def deadline_is_never_late(self) -> None:
        if self.is_open:
            true_ns = min(self.true_ping_due_ns(), self.true_silence_due_ns())
        elif self.session.state is State.CLOSING:
            assert self.close_ns is not None
            true_ns = self.close_ns + CLOSE_WAIT_NS
        else:
            return
        assert self.session.deadline_ns <= true_ns

    @invariant()
    def a_step_was_taken(self) -> None:
        self.steps += 1

    @invariant()
    def the_state_says_what_happened(self) -> None:
        assert sum(isinstance(event, Ended) for event in self.events) == (0 if self.is_open else 1)
        assert self.is_open == (self.session.state not in (State.CLOSING, State.OVER))

    def teardown(self) -> None:
        """Whatever happened, a stream whose peer is silent from now on comes to its end by deadlines alone."""
        for _ in range(12):
            if self.session.state is State.OVER:
                break
            self.deadline_comes()
        assert self.session.state is State.OVER


AnyLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAnyLife = AnyLife.TestCase
