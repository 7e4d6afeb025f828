"""How many of one connection's messages are not decoded, since the worker is late. Pure; one object a connection.

Two ways to be late. All of the worker is: then every connection gives a share (overload.py). Or this connection is in
the bulk lane, where it waits for its portions and no turn's length shows it: it falls behind if it has been there for
longer than the worker may lag, nobody has been idle since, and its media time advanced by less than the clock. A peer
that catches up, or sends half a minute at once, advances by more: a backlog is no overload, and is never shed. Who has
fallen behind is shed until the lane lets go of it: to keep pace with the clock would leave it as late as it is, and its
pings with it (measured: 12 s).
"""

from audiohook.worker.overload import FULL, Overload


class Shedding:
    """A connection's part in it. Counts messages; which they are (the oldest) is the caller's."""

    __slots__ = ("_carry", "_overload", "_since_media_ns", "_since_ns", "late")

    def __init__(self, overload: Overload) -> None:
        self._overload = overload
        self._carry = 0
        self._since_ns = self._since_media_ns = 0
        self.late = False
        """Whether this connection has fallen behind in the bulk lane."""

    @property
    def active(self) -> bool:
        """Whether `to_shed` has to be asked at all."""
        return self._overload.share > 0 or self.late

    def look(self, media_ns: int, idle_ns: int, now_ns: int, *, alone: bool = False) -> None:
        """The lane serves a portion. `idle_ns`: when the worker last had nothing to do. `alone`: no other waits there.

        Who is alone there is late by what he sends (a message in 100,000 fragments, say), and not by the worker.
        """
        if not self._since_ns or alone:
            # Counted from its first portion: in a crowd that one comes late, and nothing can have advanced before it.
            self._since_ns, self._since_media_ns = now_ns, media_ns
        waited_ns = now_ns - self._since_ns
        busy = idle_ns <= self._since_ns
        behind = waited_ns > self._overload.lag_ns and media_ns - self._since_media_ns < waited_ns
        self.late = busy and not alone and (self.late or behind)

    def leave_lane(self) -> None:
        self.late = False
        self._since_ns = 0

    def to_shed(self, messages: int) -> int:
        """Return how many of this many messages, that were read at once, are not to be decoded."""
        if self.late:
            return messages
        shed, self._carry = divmod(messages * self._overload.share + self._carry, FULL)
        return min(shed, messages)
