"""What the `audiohook2` dialect may say without being asked, and when: the peer's rate limits, kept on our side.

A peer that is sent too much answers with error 429 and may end the call for good, so it never is: an event waits for
room in the bucket of all text, a pause or a resume for its own. Answers (to `open`, `ping`, `close`, `update`) never
wait and never stand behind anything; they are only told to the bucket, so that events make room for them.

Pure; integer nanoseconds. The rates are those that other users of the protocol report: text 5/s, burst 25; pause and
resume 2/s, burst 4. Invariant: what leaves here in any window of w seconds is at most burst + w x rate
(tests/unit/test_audiohook2_rates.py::test_no_window_holds_more_than_burst_and_rate).
"""

from collections import deque
from enum import Enum

from audiohook.session.audiohook2_messages import EventParameters, Pause, Resume
from audiohook.units import NEVER_NS, NS_PER_S

TEXT_INTERVAL_NS, TEXT_BURST = NS_PER_S // 5, 25
CONTROL_INTERVAL_NS, CONTROL_BURST = NS_PER_S // 2, 4

MAX_QUEUED_EVENTS = 100
"""20 s at the sustained rate: an event that would wait longer is better refused to whoever sends it."""

MAX_HOLD_NS = 60 * NS_PER_S
"""The longest that a peer's `retryAfter` is obeyed."""

Control = type[Pause] | type[Resume]
Unasked = EventParameters | Control
"""What waits here: an event's parameters, or the class of a message without any."""


class Sending(Enum):
    """What became of something that was to be sent."""

    SENT = "sent"
    QUEUED = "queued"
    FULL = "queue full"
    INVALID = "invalid"
    NOT_OPEN = "not open"


class Bucket:
    """A token bucket that holds `burst` and gains one each `interval_ns`, as the one time at which it is full again."""

    __slots__ = ("_burst", "_full_ns", "_interval_ns")

    def __init__(self, interval_ns: int, burst: int, now_ns: int) -> None:
        self._interval_ns = interval_ns
        self._burst = burst
        self._full_ns = now_ns

    @property
    def due_ns(self) -> int:
        """From when on there is a token."""
        return self._full_ns - (self._burst - 1) * self._interval_ns

    def spend(self, now_ns: int) -> None:
        """Take a token, into debt if there is none; of debt there is at most a bucketful."""
        least_ns = now_ns + 2 * self._burst * self._interval_ns
        self._full_ns = min(max(self._full_ns, now_ns) + self._interval_ns, least_ns)

    def hold(self, until_ns: int) -> None:
        """Have no token before `until_ns`."""
        self._full_ns = max(self._full_ns, until_ns + (self._burst - 1) * self._interval_ns)


class Pace:
    """What waits to be said in one session, in order, and from when on the next of it may be."""

    def __init__(self, now_ns: int) -> None:
        self._text = Bucket(TEXT_INTERVAL_NS, TEXT_BURST, now_ns)
        self._controls: dict[Control, Bucket] = {
            kind: Bucket(CONTROL_INTERVAL_NS, CONTROL_BURST, now_ns) for kind in (Pause, Resume)
        }
        self._events: deque[EventParameters] = deque()
        self._control: Control | None = None

    @property
    def waiting(self) -> int:
        """How many things wait."""
        return len(self._events) + (self._control is not None)

    @property
    def due_ns(self) -> int:
        """When the next of what waits may be said; NEVER_NS if nothing waits."""
        due_ns = self._text.due_ns if self._events else NEVER_NS
        return due_ns if self._control is None else min(due_ns, self._controls[self._control].due_ns)

    def put_events(self, events: list[EventParameters]) -> bool:
        """Queue all of them, or none if there is no room for all; return whether they were."""
        if len(self._events) + len(events) > MAX_QUEUED_EVENTS:
            return False
        self._events += events
        return True

    def put_control(self, kind: Control) -> None:
        """Let `kind` be said next. The last wish counts: it replaces one that still waits."""
        self._control = kind

    def next(self, now_ns: int) -> Unasked | None:
        """Return what is to be said now, once, and None if nothing may or need be. A control goes before events."""
        control = self._control
        if control is not None and self._controls[control].due_ns <= now_ns:
            self._control = None
            self._controls[control].spend(now_ns)
            # Not held up by a full bucket of text: who pauses a stream for a card number must not wait for events.
            self._text.spend(now_ns)
            return control
        if self._events and self._text.due_ns <= now_ns:
            self._text.spend(now_ns)
            return self._events.popleft()
        return None

    def answered(self, now_ns: int) -> None:
        """Take note of an answer, which did not wait."""
        self._text.spend(now_ns)

    def hold(self, for_ns: int, now_ns: int) -> None:
        """Say nothing unasked for a while: the peer wants it so."""
        until_ns = now_ns + min(for_ns, MAX_HOLD_NS)
        for bucket in (self._text, *self._controls.values()):
            bucket.hold(until_ns)

    def clear(self) -> int:
        """Forget what waits; return how many things that were."""
        waiting = self.waiting
        self._events.clear()
        self._control = None
        return waiting
