"""The life of one `audiohook2` session, as a table of (state, input). Pure data; `audiohook2.py` acts on it.

Theory of operation
-------------------
The peer leads: it opens the WebSocket, says `open`, and at the end says `close` and closes the WebSocket when it has
its `closed`. A server that drops the socket first is taken for a broken network, so every end of our own is a
`disconnect` and then patience: each state has its clock, and only when it runs out do we send a close frame, and only
when that is not answered either is the connection reset. Exceptions are a peer that is dead, one that broke the
WebSocket itself, and a message over the limit: there is nobody, or nothing, left to talk with.

    PREPARING ──open──▶ OPENING ──admitted──▶ ACTIVE ⇄ PAUSED      a stream is open in ACTIVE and PAUSED, nowhere else
        │ │                └───refused──▶ REJECTED
        │ └──open of a probe──▶ PROBED
        └──violation, other organization, too late──▶ REJECTED     `disconnect` in the place of `opened`

    ACTIVE, PAUSED, PROBED ──violation, idle, our end──▶ SIGNALED  `disconnect`; the peer's `close` is awaited
    all of these ──close──▶ CLOSED                                 `closed`; the peer's close frame is awaited
    REJECTED, SIGNALED, CLOSED ──too late──▶ LEAVING               our close frame; the peer's is awaited
    all of these ──the peer's close frame, the end of TCP──▶ OVER

OPENING lasts for one turn of the worker, which the peer cannot see: whatever arrived behind `open` in the same read
waits (HOLD) and is taken when the worker has answered. So nothing depends on how TCP cut the bytes. The contract's
CLOSING has no length here at all: `closed` is the answer to `close` within the same call.

Two rules limit what is said. Before `opened`, which is therefore number 1, nothing is sent but `disconnect` and
`closed`: a ping in PREPARING or REJECTED is counted and not answered. After `closed` nothing is sent at all. Where the
reference server and prudence differ, the tolerant way is taken: audio in PAUSED was on its way and is delivered, a
second `open` and unknown messages are counted, nothing is a violation any more once an end is agreed on.

Every pair is in the table; tests/unit/test_audiohook2_table.py visits them all through the session's methods.
"""

from enum import Enum


class State(Enum):
    PREPARING = "preparing"
    OPENING = "opening"
    PROBED = "probed"
    ACTIVE = "active"
    PAUSED = "paused"
    REJECTED = "rejected"
    SIGNALED = "signaled"
    CLOSED = "closed"
    LEAVING = "leaving"
    OVER = "over"


class Input(Enum):
    # Messages of the peer, read and found in order
    OPEN = "open"
    OPEN_PROBE = "open of a probe"
    OPEN_FOREIGN = "open of another organization"
    PING = "ping"
    PAUSED = "paused"
    RESUMED = "resumed"
    DISCARDED = "discarded"
    UPDATE = "update"
    ERROR = "error"
    CLOSE = "close"
    DTMF = "dtmf"
    PLAYBACK = "playback_started, playback_completed"
    UNKNOWN = "unknown type"
    VIOLATION = "violation"
    AUDIO = "audio"
    # The peer's end of the connection
    PEER_CLOSE = "peer's close frame"
    PEER_GONE = "peer gone"
    # Ours
    ADMITTED = "admitted"
    REFUSED = "refused"
    ASK = "something to say"
    END = "our end"
    BROKEN = "WebSocket broken"
    PEER_DEAD = "peer dead"
    LATE = "too late"


class Action(Enum):
    NOTHING = "nothing"
    HOLD = "hold until the worker has answered"
    COUNT = "count, by what it is"
    ASK_ADMISSION = "ask the worker for a stream"
    SEND_OPENED = "opened"
    ANSWER_PROBE = "opened, for a probe"
    ANSWER = "answer: pong, updated or closed"
    DELIVER = "deliver"
    NOTE_PAUSED = "say that the peer paused"
    SKIP = "skip what was not sent"
    END_PAUSE = "skip the pause and say that it is over"
    REPORT_ERROR = "report the peer's error"
    SAY = "say it, in its time"
    DECLINE = "decline to say it"
    SEND_DISCONNECT = "disconnect"
    SEND_CLOSE_FRAME = "close frame"
    RESET = "reset"


LIVE = (State.ACTIVE, State.PAUSED)
"""The states in which a stream is open."""

_OPENED = (State.PROBED, *LIVE)
_WAITING = (State.REJECTED, State.SIGNALED)
_TALKING = (State.PREPARING, *_OPENED, *_WAITING)

_OPENS = (Input.OPEN, Input.OPEN_PROBE, Input.OPEN_FOREIGN)
_MEDIA_TIME = (Input.PAUSED, Input.RESUMED, Input.DISCARDED)
_MESSAGES = (
    *(*_OPENS, *_MEDIA_TIME, Input.PING, Input.UPDATE, Input.ERROR, Input.CLOSE),
    *(Input.DTMF, Input.PLAYBACK, Input.UNKNOWN),
)
_ARRIVING = (*_MESSAGES, Input.VIOLATION, Input.AUDIO, Input.PEER_CLOSE, Input.PEER_GONE)
_ENDS = (Input.END, Input.BROKEN, Input.PEER_DEAD)

_Row = tuple[State, Action]


def _stay(states: tuple[State, ...], inputs: tuple[Input, ...], action: Action) -> dict[tuple[State, Input], _Row]:
    return {(state, given): (state, action) for state in states for given in inputs}


def _go(
    states: tuple[State, ...], inputs: tuple[Input, ...], to: State, action: Action
) -> dict[tuple[State, Input], _Row]:
    return {(state, given): (to, action) for state in states for given in inputs}


TABLE: dict[tuple[State, Input], _Row] = {
    # What is not said otherwise below: nothing happens.
    **_stay(tuple(State), tuple(Input), Action.NOTHING),
    **_stay(tuple(State), (Input.ASK,), Action.DECLINE),
    # A message or audio that means nothing where it comes, is counted until the peer has been told that it is over.
    **_stay(_TALKING, _MESSAGES, Action.COUNT),
    **_stay(_TALKING, (Input.ERROR,), Action.REPORT_ERROR),
    **_stay((*_TALKING, State.CLOSED), (Input.AUDIO,), Action.COUNT),
    # Before `opened`
    (State.PREPARING, Input.OPEN): (State.OPENING, Action.ASK_ADMISSION),
    (State.PREPARING, Input.OPEN_PROBE): (State.PROBED, Action.ANSWER_PROBE),
    **_go(
        (State.PREPARING,), (Input.OPEN_FOREIGN, Input.VIOLATION, Input.AUDIO), State.REJECTED, Action.SEND_DISCONNECT
    ),
    **_go((State.PREPARING,), (Input.LATE, Input.END), State.REJECTED, Action.SEND_DISCONNECT),
    **_stay((State.OPENING,), (*_ARRIVING, *_ENDS), Action.HOLD),
    (State.OPENING, Input.ADMITTED): (State.ACTIVE, Action.SEND_OPENED),
    (State.OPENING, Input.REFUSED): (State.REJECTED, Action.SEND_DISCONNECT),
    # Opened
    **_stay((*_OPENED, State.SIGNALED), (Input.PING,), Action.ANSWER),
    **_stay(LIVE, (Input.UPDATE,), Action.ANSWER),
    **_stay(LIVE, (Input.AUDIO,), Action.DELIVER),
    **_stay(LIVE, (Input.DISCARDED,), Action.SKIP),
    **_stay(LIVE, (Input.ASK,), Action.SAY),
    (State.ACTIVE, Input.PAUSED): (State.PAUSED, Action.NOTE_PAUSED),
    (State.ACTIVE, Input.RESUMED): (State.ACTIVE, Action.SKIP),
    (State.PAUSED, Input.PAUSED): (State.PAUSED, Action.NOTHING),
    (State.PAUSED, Input.RESUMED): (State.ACTIVE, Action.END_PAUSE),
    **_go(_OPENED, (Input.VIOLATION, Input.LATE, Input.END), State.SIGNALED, Action.SEND_DISCONNECT),
    # Ends
    **_go(_TALKING, (Input.CLOSE,), State.CLOSED, Action.ANSWER),
    **_go((*_WAITING, State.CLOSED), (Input.LATE,), State.LEAVING, Action.SEND_CLOSE_FRAME),
    **_go((*_TALKING, State.CLOSED), (Input.BROKEN,), State.LEAVING, Action.SEND_CLOSE_FRAME),
    **_go((*_TALKING, State.CLOSED, State.LEAVING), (Input.PEER_DEAD,), State.OVER, Action.RESET),
    (State.LEAVING, Input.LATE): (State.OVER, Action.RESET),
    **_go((*_TALKING, State.CLOSED, State.LEAVING), (Input.PEER_CLOSE, Input.PEER_GONE), State.OVER, Action.NOTHING),
}

COUNTED = (
    *("unknown_messages", "unknown_fields", "ignored_fields", "stray_messages", "stray_audio", "early_pings"),
    *("position_differs", "overlaps", "repeated_frames", "truncated_audio", "updates", "dtmf", "playback"),
    "events_unsent",
)
"""Every kind of `Counted` that a session can say."""
