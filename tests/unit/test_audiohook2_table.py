"""Every (state, input) of the `audiohook2` table, through the session's public methods."""

import json
from collections.abc import Callable

import pytest

from audiohook.errors import NO_SLOT, PROTOCOL_ERROR, SEND_STALLED, SHUTDOWN
from audiohook.session.audiohook2_rates import Sending
from audiohook.session.audiohook2_table import COUNTED, LIVE, TABLE, Action, Input, State
from audiohook.session.events import Command, Counted, Event, Reset, SendClose, SendText
from audiohook.units import NS_PER_S
from tests.support.audiohook2 import CONVERSATION, PROBE, Life

HOUR_NS = 3600 * NS_PER_S
SPAN = {"start": "PT0S", "discarded": "PT1S"}

MESSAGES = (
    *(Input.OPEN, Input.OPEN_PROBE, Input.OPEN_FOREIGN, Input.PING, Input.PAUSED, Input.RESUMED, Input.DISCARDED),
    *(Input.UPDATE, Input.ERROR, Input.CLOSE, Input.DTMF, Input.PLAYBACK, Input.UNKNOWN),
)


def reached(state: State) -> Life:
    """Return a session that came to `state` on the shortest way."""
    life = Life()
    if state is State.OPENING:
        life.open()
    elif state is State.PROBED:
        life.open(**PROBE)
    elif state is State.REJECTED:
        life.open().session.refuse(NO_SLOT, life.now_ns)
    elif state is State.OVER:
        life.session.receive_eof(life.now_ns)
    elif state is not State.PREPARING:
        life.admitted()
    if state is State.PAUSED:
        life.say("paused")
    elif state is State.SIGNALED:
        life.session.close(SHUTDOWN, life.now_ns)
    elif state in (State.CLOSED, State.LEAVING):
        life.say("close", {"reason": "end"})
        if state is State.LEAVING:
            life.advance(10 * NS_PER_S)
    assert life.session.state is state
    life.events()
    life.commands()
    return life


def be_late(life: Life) -> None:
    """Let the clock of the present state run out, and nothing else: one call is at most one step."""
    life.now_ns += HOUR_NS
    life.session.on_deadline(life.now_ns)


GIVE: dict[Input, Callable[[Life], object]] = {
    Input.OPEN: lambda life: life.open(),
    Input.OPEN_PROBE: lambda life: life.open(**PROBE),
    Input.OPEN_FOREIGN: lambda life: life.open(organizationId=CONVERSATION),
    Input.PING: lambda life: life.say("ping", {"rtt": "PT0.01S"}),
    Input.PAUSED: lambda life: life.say("paused"),
    Input.RESUMED: lambda life: life.say("resumed", SPAN),
    Input.DISCARDED: lambda life: life.say("discarded", SPAN),
    Input.UPDATE: lambda life: life.say("update", {"language": "de-DE"}),
    Input.ERROR: lambda life: life.say("error", {"code": 409, "message": "tel:+15550001111"}),
    Input.CLOSE: lambda life: life.say("close", {"reason": "end"}),
    Input.DTMF: lambda life: life.say("dtmf", {"digit": "7"}),
    Input.PLAYBACK: lambda life: life.say("playback_started").say("playback_completed"),
    Input.UNKNOWN: lambda life: life.say("reconnecting", {"reason": "rebalance"}),
    Input.VIOLATION: lambda life: life.session.receive_text("{", life.now_ns),
    Input.AUDIO: lambda life: life.audio(b"\xff\xff"),
    Input.PEER_CLOSE: lambda life: life.session.receive_close(None, "", life.now_ns),
    Input.PEER_GONE: lambda life: life.session.receive_eof(life.now_ns),
    Input.ADMITTED: lambda life: life.session.admit(life.now_ns),
    Input.REFUSED: lambda life: life.session.refuse(NO_SLOT, life.now_ns),
    Input.ASK: lambda life: life.session.pause(life.now_ns),
    Input.END: lambda life: life.session.close(SHUTDOWN, life.now_ns),
    Input.BROKEN: lambda life: life.session.close(PROTOCOL_ERROR, life.now_ns),
    Input.PEER_DEAD: lambda life: life.session.close(SEND_STALLED, life.now_ns),
    Input.LATE: be_late,
}

SAID = {
    Action.SEND_OPENED: ["opened"],
    Action.ANSWER_PROBE: ["opened"],
    Action.SAY: ["pause"],
    Action.SEND_DISCONNECT: ["disconnect"],
    Action.SEND_CLOSE_FRAME: ["SendClose"],
    Action.RESET: ["Reset"],
}
ANSWERS = {Input.PING: ["pong"], Input.UPDATE: ["updated"], Input.CLOSE: ["closed"]}
HAPPENED = {
    Action.ASK_ADMISSION: ["AdmissionAsked"],
    Action.ANSWER_PROBE: ["Probed"],
    Action.DELIVER: ["AudioArrived"],
    Action.NOTE_PAUSED: ["Noticed"],
    Action.SKIP: ["GapArrived"],
    Action.END_PAUSE: ["GapArrived", "Noticed"],
    Action.REPORT_ERROR: ["PeerError"],
}


def expected_events(before: State, given: Input) -> list[str]:
    after, action = TABLE[before, given]
    happened = list(HAPPENED.get(action, []))
    if action is Action.COUNT:
        happened = ["Counted"] * (2 if given is Input.PLAYBACK else 1)
    elif action is Action.ANSWER and given is Input.UPDATE:
        happened = ["Counted"]
    if before in LIVE and after not in LIVE:
        happened.append("Ended")
    if before is State.PREPARING and after not in (State.PREPARING, State.OPENING, State.PROBED):
        happened.append("NotOpened")
    if before is State.OPENING and after not in (State.OPENING, *LIVE):
        happened.append("NotOpened")
    return happened


def names(events: list[Event], commands: list[Command]) -> tuple[list[str], list[str]]:
    said = [json.loads(it.text)["type"] if isinstance(it, SendText) else type(it).__name__ for it in commands]
    return [type(event).__name__ for event in events], said


@pytest.mark.parametrize("given", Input)
@pytest.mark.parametrize("state", State)
def test_every_pair(state: State, given: Input) -> None:
    after, action = TABLE[state, given]
    life = reached(state)
    result = GIVE[given](life)
    assert life.session.state is after
    events = life.events()
    said = ANSWERS[given] if action is Action.ANSWER else SAID.get(action, [])
    assert names(events, life.commands()) == (expected_events(state, given), said)
    assert all(event.kind in COUNTED for event in events if isinstance(event, Counted))
    if given is Input.ASK:
        assert result is (Sending.SENT if action is Action.SAY else Sending.NOT_OPEN)
    assert life.session.streaming is (after in LIVE)
    assert life.session.over is (after is State.OVER)


def test_the_table_has_every_pair_and_no_other() -> None:
    assert set(TABLE) == {(state, given) for state in State for given in Input}
    assert {action for _, action in TABLE.values()} == set(Action)
    assert set(GIVE) == set(Input)


def test_nothing_leads_back() -> None:
    order = {state: place for place, state in enumerate(State)}
    for (state, _), (after, _) in TABLE.items():
        if state in LIVE and after in LIVE:
            continue
        assert order[after] >= order[state], (state, after)


def test_before_opened_nothing_is_said_but_disconnect_and_closed() -> None:
    for state in (State.PREPARING, State.REJECTED):
        for given in Input:
            after, action = TABLE[state, given]
            if after not in (State.OPENING, State.PROBED):
                assert action is not Action.SAY
                assert action is not Action.ANSWER or given is Input.CLOSE, (state, given)


def test_after_closed_nothing_is_said_at_all() -> None:
    for state in (State.CLOSED, State.LEAVING, State.OVER):
        for given in Input:
            assert TABLE[state, given][1] in (
                *(Action.NOTHING, Action.COUNT, Action.DECLINE, Action.SEND_CLOSE_FRAME, Action.RESET),
            )


def test_only_a_dead_or_broken_peer_and_patience_drop_the_socket() -> None:
    for (state, given), (_, action) in TABLE.items():
        if action in (Action.SEND_CLOSE_FRAME, Action.RESET):
            assert given in (Input.BROKEN, Input.PEER_DEAD, Input.LATE), (state, given)
            assert given is not Input.LATE or state in (State.REJECTED, State.SIGNALED, State.CLOSED, State.LEAVING)


def test_whatever_arrives_while_the_worker_is_asked_waits() -> None:
    for given in (*MESSAGES, Input.VIOLATION, Input.AUDIO, Input.PEER_CLOSE, Input.PEER_GONE, Input.END):
        assert TABLE[State.OPENING, given] == (State.OPENING, Action.HOLD)


def test_close_frames_have_the_code_of_what_happened() -> None:
    for given, code in ((Input.VIOLATION, 1008), (Input.END, 1012), (Input.LATE, 1008)):
        life = reached(State.ACTIVE)
        GIVE[given](life)
        life.commands()
        life.advance(10 * NS_PER_S)
        (command,) = life.commands()
        assert isinstance(command, SendClose)
        assert command.code == code
        life.advance(2 * NS_PER_S)
        assert life.commands() == [Reset()]
        assert life.session.over
