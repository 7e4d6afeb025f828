"""The audio of one `audiohook2` session: from binary messages and skipped spans to events, each at its place.

Knows the size of a frame and the stream's media time, no state and no codec. Invariant: the frames of the
`AudioArrived` and `GapArrived` that come out of here, added to `MediaTime.base`, are `MediaTime.end`.
"""

from audiohook.session.audiohook2_media import RATE_HZ, Choice
from audiohook.session.audiohook2_position import MediaTime, parse_duration
from audiohook.session.events import AudioArrived, Counted, Event, GapArrived

Span = tuple[int, int]
"""Start and length of a skipped span, in nanoseconds of the peer's position."""


class Audio:
    """What arrives in one stream. `frame_bytes` is 0 while none may: no media were chosen."""

    __slots__ = ("frame_bytes", "media_time")

    def __init__(self, choice: Choice | None, first_ns: int, reached_frames: int | None) -> None:
        self.frame_bytes = choice.frame_bytes if choice else 0
        self.media_time = MediaTime(RATE_HZ, first_ns, reached_frames)

    def begin(self) -> list[Event]:
        """Return what stands before the first audio: what was lost since the stream that this one continues."""
        lost = self.media_time.first_gap
        return [GapArrived(lost, "lost")] if lost else []

    def hears(self, payload: bytes) -> bool:
        """Take a binary message if all of it is whole frames and new; False: nothing was taken, it is for `receive`."""
        if not payload or not self.frame_bytes or len(payload) % self.frame_bytes:
            return False
        return self.media_time.take_new(len(payload) // self.frame_bytes)

    def receive(self, payload: bytes) -> list[Event]:
        """Take a binary message. Bytes of a broken last frame are dropped, as are frames that are there already."""
        events: list[Event] = []
        frames, broken_bytes = divmod(len(payload), self.frame_bytes)
        if broken_bytes:
            # Each message begins with a whole frame, so this costs one frame and not the order of the channels.
            events.append(Counted("truncated_audio"))
            payload = payload[:-broken_bytes]
        repeated = self.media_time.take_audio(frames)
        if repeated:
            events.append(Counted("repeated_frames", repeated))
            payload = payload[repeated * self.frame_bytes :]
        if payload:
            events.append(AudioArrived(payload))
        return events

    def skip(self, span: Span, cause: str) -> list[Event]:
        """Take a span without audio."""
        gap, overlap = self.media_time.skip(*span)
        events: list[Event] = [Counted("overlaps")] if overlap else []
        return [*events, GapArrived(gap, cause)] if gap else events

    def compare(self, position: str) -> list[Event]:
        """Take what the peer thinks its position is. Counted where it differs; ours is what was sent."""
        position_ns = parse_duration(position)
        differs = position_ns is not None and not self.media_time.agrees(position_ns)
        return [Counted("position_differs")] if differs else []
