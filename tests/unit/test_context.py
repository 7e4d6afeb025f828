"""session/context.py: every pair of the table, and the clocks; holds: test_context_hold.py. Integer clocks, no wire."""

from collections.abc import Callable

import pytest

from audiohook.errors import (
    HEARTBEAT_LOST,
    INTERNAL_ERROR,
    PEER_CLOSED,
    PEER_VANISHED,
    SEND_STALLED,
    SHUTDOWN,
    SUPERSEDED,
)
from audiohook.session.context import CLOSE_WAIT_NS, TABLE, Action, ContextSession, Input, State
from audiohook.session.events import (
    AudioArrived,
    AudioHeld,
    Command,
    Ended,
    Event,
    Noticed,
    Reset,
    SendClose,
    SendPing,
)
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S
from tests.support.calls import (
    DEGRADED_NS,
    FIRST_AUDIO_NS,
    HEARTBEAT_NS,
    HOLD_NS,
    RECONNECT_NS,
    START_NS,
    context_terms,
)

HOUR_NS = 3600 * NS_PER_S


def take(session: ContextSession) -> tuple[list[Event], list[Command]]:
    """Take out what a session has said, as its caller does."""
    events, commands = list(session.events), list(session.commands)
    session.events.clear()
    session.commands.clear()
    return events, commands


# Every pair of the table, through the public methods


class Life:
    """A session and its clock."""

    def __init__(self, **terms: int) -> None:
        self.now_ns = START_NS
        self.session = ContextSession(context_terms(**terms), self.now_ns)  # type: ignore[arg-type]

    def pass_time(self, for_ns: int) -> None:
        """Let time pass with a pong every second, and every deadline met."""
        until_ns = self.now_ns + for_ns
        while self.now_ns < until_ns:
            self.now_ns = min(self.now_ns + NS_PER_S, until_ns)
            self.session.receive_control(self.now_ns)
            self.session.on_deadline(self.now_ns)


def reached(state: State) -> Life:
    life = Life()
    session = life.session
    if state is State.MUTE:
        life.pass_time(FIRST_AUDIO_NS)
    elif state in (State.FLOWING, State.DEGRADED):
        session.receive_audio(b"a", life.now_ns)
        if state is State.DEGRADED:
            life.pass_time(DEGRADED_NS)
    elif state in (State.HELD_EARLY, State.HELD):
        if state is State.HELD:
            session.receive_audio(b"a", life.now_ns)
        session.hold(life.now_ns)
    elif state is State.CLOSING:
        session.close(SHUTDOWN, life.now_ns)
    elif state is State.OVER:
        session.receive_eof(life.now_ns)
    assert session.state is state
    take(session)
    return life


def silence(life: Life) -> None:
    """Long enough for any state; a second less than the wait for a close, in which silence could not be told apart."""
    life.pass_time(HOUR_NS if life.session.state is not State.CLOSING else CLOSE_WAIT_NS - NS_PER_S)


def close_late(life: Life) -> None:
    life.now_ns += CLOSE_WAIT_NS
    life.session.on_deadline(life.now_ns)


GIVE: dict[Input, Callable[[Life], None]] = {
    Input.AUDIO: lambda life: life.session.receive_audio(b"opus", life.now_ns),
    Input.TEXT: lambda life: life.session.receive_text("", life.now_ns),
    Input.SILENCE: silence,
    Input.HOLD: lambda life: life.session.hold(life.now_ns),
    Input.UNHOLD: lambda life: life.session.unhold(life.now_ns),
    Input.PEER_CLOSE: lambda life: life.session.receive_close(1000, "bye", life.now_ns),
    Input.PEER_GONE: lambda life: life.session.receive_eof(life.now_ns),
    Input.PEER_DEAD: lambda life: life.session.close(SEND_STALLED, life.now_ns),
    Input.END: lambda life: life.session.close(INTERNAL_ERROR, life.now_ns),
    Input.CLOSE_LATE: close_late,
}

ON_HOLD = (State.HELD_EARLY, State.HELD)


def ended_by(state: State, given: Input) -> Ended:
    """Return how a stream ends in this state; who is on hold is waited for whatever happens to the connection."""
    waits_ns = HOLD_NS if state in ON_HOLD else RECONNECT_NS
    return {
        Input.PEER_CLOSE: Ended(PEER_CLOSED, 1000, "bye", waits_ns if state in ON_HOLD else 0),
        Input.PEER_GONE: Ended(PEER_VANISHED, waits_ns=waits_ns),
        Input.PEER_DEAD: Ended("send_stalled", waits_ns=waits_ns),
        Input.END: Ended("internal_error", 1011, "internal error"),
    }[given]


def effect(state: State, action: Action, given: Input) -> tuple[list[Event], list[Command]]:
    """Return what each action is known by."""
    match action:
        case Action.DELIVER:
            return [AudioArrived(b"opus")], []
        case Action.RECOVER:
            return [Noticed("recovered"), AudioArrived(b"opus")], []
        case Action.HOLD_BACK:
            return [AudioHeld(b"opus")], []
        case Action.SAY_HELD:
            return [Noticed("held")], []
        case Action.SAY_UNHELD:
            return [Noticed("unheld")], []
        case Action.IGNORE_TEXT:
            return [Noticed("text_ignored")], []
        case Action.SAY_NO_AUDIO:
            return [Noticed("no_audio")], []
        case Action.SAY_DEGRADED:
            return [Noticed("degraded")], []
        case Action.FINISH:
            return [ended_by(state, given)], []
        case Action.FINISH_TOLD:
            return [ended_by(state, given)], [SendClose(1011, "internal error")]
        case Action.FINISH_DEAD:
            return [ended_by(state, given)], [Reset()]
        case Action.DROP:
            return [], [Reset()]
        case Action.NOTHING:
            return [], []


@pytest.mark.parametrize("given", Input)
@pytest.mark.parametrize("state", State)
def test_every_pair(state: State, given: Input) -> None:
    after, action = TABLE[state, given]
    life = reached(state)
    GIVE[given](life)
    assert life.session.state is after
    events, commands = take(life.session)
    assert (events, [command for command in commands if command != SendPing()]) == effect(state, action, given)


def test_the_table_has_every_pair_and_no_other() -> None:
    assert set(TABLE) == {(state, given) for state in State for given in Input}
    assert {action for _, action in TABLE.values()} == set(Action)


def test_nothing_leads_back_from_an_end() -> None:
    for (state, _), (after, _) in TABLE.items():
        if state is State.CLOSING:
            assert after in (State.CLOSING, State.OVER)
        if state is State.OVER:
            assert after is State.OVER


# The heartbeat


def test_a_ping_every_heartbeat_while_the_peer_answers() -> None:
    life = Life()
    pings = []
    for _ in range(5):
        life.now_ns = life.session.deadline_ns
        life.session.on_deadline(life.now_ns)
        if take(life.session)[1] == [SendPing()]:
            pings.append((life.now_ns - START_NS) // NS_PER_S)
            life.session.receive_control(life.now_ns + NS_PER_MS)
    assert pings == [4, 8, 12, 16], "and the silence's own deadline, at 10 s, brought none"


def test_dead_when_nothing_came_until_the_next_ping_was_due() -> None:
    life = Life()
    session = life.session
    session.on_deadline(START_NS + HEARTBEAT_NS)
    assert take(session) == ([], [SendPing()])
    session.on_deadline(START_NS + 2 * HEARTBEAT_NS - 1)
    assert take(session) == ([], [])
    session.on_deadline(START_NS + 2 * HEARTBEAT_NS)
    assert take(session) == ([Ended(HEARTBEAT_LOST.slug, waits_ns=RECONNECT_NS)], [Reset()])
    assert (session.state, session.deadline_ns) == (State.OVER, NEVER_NS)


def test_frames_from_before_the_ping_do_not_answer_it() -> None:
    life = Life()
    session = life.session
    session.receive_audio(b"a", START_NS + HEARTBEAT_NS - 1)
    session.on_deadline(START_NS + HEARTBEAT_NS)
    session.on_deadline(START_NS + 2 * HEARTBEAT_NS)
    assert session.state is State.OVER


@pytest.mark.parametrize("at_ns", [0, 1, HEARTBEAT_NS - 1, HEARTBEAT_NS])
@pytest.mark.parametrize(
    "sign",
    [
        lambda session, now_ns: session.receive_audio(b"a", now_ns),
        lambda session, now_ns: session.receive_text("", now_ns),
        lambda session, now_ns: session.receive_control(now_ns),
    ],
    ids=["audio", "text", "control"],
)
def test_any_frame_is_a_sign_of_life(sign: Callable[[ContextSession, int], None], at_ns: int) -> None:
    life = Life()
    session = life.session
    session.on_deadline(START_NS + HEARTBEAT_NS)
    sign(session, START_NS + HEARTBEAT_NS + at_ns)
    session.on_deadline(START_NS + 2 * HEARTBEAT_NS)
    assert session.commands == [SendPing(), SendPing()]


def test_a_process_that_was_stopped_for_a_minute_asks_again_before_it_judges() -> None:
    life = Life()
    session = life.session
    session.on_deadline(START_NS + HEARTBEAT_NS)
    late_ns = START_NS + HEARTBEAT_NS + 60 * NS_PER_S
    session.on_deadline(late_ns)
    assert session.state in (State.FRESH, State.MUTE)
    assert session.commands == [SendPing(), SendPing()]
    session.on_deadline(late_ns + HEARTBEAT_NS)
    assert session.events[-1] == Ended(HEARTBEAT_LOST.slug, waits_ns=RECONNECT_NS), "but then it does"


def test_no_ping_and_no_judgement_while_closing() -> None:
    life = reached(State.CLOSING)
    life.session.on_deadline(START_NS + CLOSE_WAIT_NS - 1)
    assert take(life.session) == ([], [])
    assert life.session.deadline_ns == START_NS + CLOSE_WAIT_NS
    life.session.on_deadline(START_NS + CLOSE_WAIT_NS)
    assert take(life.session) == ([], [Reset()])
    assert life.session.deadline_ns == NEVER_NS


# Silence


def notices(life: Life) -> list[str]:
    return [event.kind for event in take(life.session)[0] if isinstance(event, Noticed)]


def test_no_audio_is_said_once_however_long_there_is_none() -> None:
    life = Life()
    life.pass_time(FIRST_AUDIO_NS - 1)
    assert notices(life) == []
    life.pass_time(1)
    assert notices(life) == ["no_audio"]
    life.pass_time(HOUR_NS)
    assert notices(life) == []


def test_the_first_audio_after_no_audio_is_not_a_recovery() -> None:
    life = reached(State.MUTE)
    life.session.receive_audio(b"first", life.now_ns)
    assert take(life.session)[0] == [AudioArrived(b"first")]
    life.pass_time(DEGRADED_NS)
    assert notices(life) == ["degraded"]


def test_degraded_and_recovered_take_turns() -> None:
    life = reached(State.FLOWING)
    for _ in range(3):
        life.pass_time(DEGRADED_NS - 1)
        assert notices(life) == []
        life.pass_time(1)
        assert notices(life) == ["degraded"]
        life.pass_time(HOUR_NS)
        assert notices(life) == []
        life.session.receive_audio(b"a", life.now_ns)
        life.session.receive_audio(b"b", life.now_ns)
        assert take(life.session)[0] == [Noticed("recovered"), AudioArrived(b"a"), AudioArrived(b"b")]


def test_an_empty_message_is_audio_to_the_clock() -> None:
    life = reached(State.FLOWING)
    life.pass_time(DEGRADED_NS - 1)
    life.session.receive_audio(b"", life.now_ns)
    life.pass_time(DEGRADED_NS - 1)
    assert notices(life) == []


def test_text_and_pongs_are_no_audio() -> None:
    life = reached(State.FLOWING)
    for _ in range(DEGRADED_NS // NS_PER_S):
        life.session.receive_text("", life.now_ns)
        life.pass_time(NS_PER_S)
    assert notices(life).count("degraded") == 1


# Leaving


@pytest.mark.parametrize(
    ("code", "text", "waits_ns"),
    [
        (1000, "Hold", HOLD_NS),
        (1000, "hold", HOLD_NS),
        (1000, "", 0),
        (1000, "on hold", 0),
        (1011, "Hold", 0),
        (1001, "", RECONNECT_NS),
        (1006, "", RECONNECT_NS),
        (1012, "restart", RECONNECT_NS),
        (1011, "", 0),
        (None, "", 0),
        (4000, "", 0),
    ],
)
def test_how_long_the_peer_that_closes_is_waited_for(code: int | None, text: str, waits_ns: int) -> None:
    life = reached(State.FLOWING)
    life.session.receive_close(code, text, life.now_ns)
    said = [Noticed("held")] if waits_ns == HOLD_NS else []
    assert take(life.session) == ([*said, Ended(PEER_CLOSED, code, text, waits_ns)], [])


def test_a_newer_connection_takes_the_stream_on_from_a_stream_that_waits() -> None:
    life = reached(State.FLOWING)
    life.session.close(SUPERSEDED, life.now_ns)
    ended = Ended("superseded", 4409, SUPERSEDED.text, RECONNECT_NS)
    assert take(life.session) == ([ended], [SendClose(4409, SUPERSEDED.text)])


def test_a_close_without_a_code_in_the_peers_frame() -> None:
    life = reached(State.FLOWING)
    life.session.receive_close(None, "", life.now_ns)
    assert take(life.session)[0] == [Ended(PEER_CLOSED, None, "")]
