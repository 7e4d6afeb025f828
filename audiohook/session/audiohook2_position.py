"""Durations and media time of the `audiohook2` dialect: whole frames and whole nanoseconds, never a float.

A duration on the wire is `PT<decimal>S`, of seconds only. It is read to the nanosecond, which is exact for every number
of frames at 8,000 Hz (125,000 ns each), and a sum of durations is turned into frames once, as a sum: two roundings
would drift (tests/unit/test_audiohook2_position.py::test_a_sum_is_rounded_once).

`MediaTime` knows where a stream is. Its invariants, whatever a peer says: the position never goes back, no gap is
negative, and `base + frames delivered + frames of gaps == end` (tests/unit/test_audiohook2_any.py).
"""

import re

from audiohook.units import NS_PER_S

MAX_DURATION_NS = 31 * 86_400 * NS_PER_S
"""No call lasts longer; a duration beyond it is none. So no sum of what a peer says can outgrow a 64-bit word."""

MAX_OFFERED_NS = 30 * NS_PER_S
"""How much history a peer can offer when it continues a session: the whole of its buffer."""

DURATION = r"^PT(?:[0-9]+\.?[0-9]*|\.[0-9]+)S\Z"
"""A duration as it may come. What we send has at least one digit before the point and none behind it without need."""

_MAX_CHARACTERS = 64
_DURATION = re.compile(r"PT([0-9]*)(?:\.([0-9]*))?S")


def parse_duration(text: str) -> int | None:
    """Return a duration in nanoseconds, rounded to the nearest; None if it is none or longer than MAX_DURATION_NS."""
    match = _DURATION.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    whole, fraction = match[1], match[2] or ""
    if not whole and not fraction:
        return None
    duration_ns = int(whole or "0") * NS_PER_S + int(fraction[:9].ljust(9, "0")) + (fraction[9:10] >= "5")
    return duration_ns if duration_ns <= MAX_DURATION_NS else None


def format_duration(duration_ns: int) -> str:
    """Return nanoseconds (not negative) as a duration, exactly."""
    seconds, rest_ns = divmod(duration_ns, NS_PER_S)
    fraction = f".{rest_ns:09}".rstrip("0") if rest_ns else ""
    return f"PT{seconds}{fraction}S"


def frames_in(duration_ns: int, rate_hz: int) -> int:
    """Return the frames of a duration, to the nearest; half a frame is one."""
    return (duration_ns * rate_hz + NS_PER_S // 2) // NS_PER_S


def duration_of(frames: int, rate_hz: int) -> str:
    """Return so many frames as a duration: exact where a frame is a whole number of nanoseconds (8,000 Hz is)."""
    return format_duration(frames * NS_PER_S // rate_hz)


class MediaTime:
    """Where a stream is, in frames of its own timeline, which a peer's positions may be shifted against.

    A stream that continues another starts where that one ends. What the peer offers again of it is left out, frame by
    frame; what is missing in between is a gap. If the two are further apart than any history that a peer can offer,
    its positions have started anew, and only then are they shifted.
    """

    __slots__ = ("_rate_hz", "_shift", "base", "first_gap", "floor", "position")

    def __init__(self, rate_hz: int, first_ns: int, reached_frames: int | None) -> None:
        """Start at the peer's position `first_ns`; the stream continued, if any, reaches `reached_frames`."""
        first = frames_in(first_ns, rate_hz)
        reached = first if reached_frames is None else reached_frames
        self._rate_hz = rate_hz
        self._shift = reached - first if reached - first > frames_in(MAX_OFFERED_NS, rate_hz) else 0
        self.position = first + self._shift
        """The next frame that the peer will send."""
        self.base = reached
        """The first frame of the stream."""
        self.first_gap = max(0, self.position - reached)
        """Frames between the end of the stream continued and the first ones offered here."""
        self.floor = max(self.position, reached)
        """Frames before this one belong to the stream continued."""

    @property
    def end(self) -> int:
        """The end of the stream: the next frame that will be new."""
        return max(self.position, self.floor)

    @property
    def discard_to(self) -> str | None:
        """The first position that is wanted, as a duration; None if all that is offered is new."""
        if self.position >= self.floor:
            return None
        return duration_of(self.floor - self._shift, self._rate_hz)

    def take_new(self, frames: int) -> bool:
        """Take `frames` of audio if all of them are new; return whether they were taken."""
        if self.position < self.floor:
            return False
        self.position += frames
        return True

    def take_audio(self, frames: int) -> int:
        """Take `frames` of audio; return how many at their head are not new and are to be left out."""
        old = min(frames, self.end - self.position)
        self.position += frames
        return old

    def skip(self, start_ns: int, discarded_ns: int) -> tuple[int, bool]:
        """Let the peer's position be `start_ns + discarded_ns`; return (frames of the gap up to it, overlap).

        A hole between our position and the start is part of the gap. Overlap says that the start lies before our
        position: what was delivered stays, and the gap is what goes beyond it.
        """
        target = frames_in(start_ns + discarded_ns, self._rate_hz) + self._shift
        overlap = frames_in(start_ns, self._rate_hz) + self._shift < self.position
        gap = max(0, target - self.end)
        self.position = max(self.position, target)
        return gap, overlap

    def agrees(self, position_ns: int) -> bool:
        """Return whether the peer's position is ours, to the frame that rounding may cost."""
        return abs(frames_in(position_ns, self._rate_hz) + self._shift - self.position) <= 1
