"""The supervisor's ends of the command lines: one socket pair a child, served without ever waiting.

Carries records between the kernel and the pure `switchboard.py`. Invariants: at most RECORDS_A_TURN records of a line
are read in a turn of the arbiter's loop; nothing is queued here (what a line has no room for is told to the
switchboard); a line is read to its end before its child counts as gone; plain descriptors, not socket objects, since a
forked child closes its copies by number (`Arbiter._let_go`).
"""

import errno
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterable

from audiohook.control.commands import LINE_BUFFER_BYTES, READ_BYTES
from audiohook.supervisor.switchboard import Send, Switchboard

RECORDS_A_TURN = 16

_NO_ROOM = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE})


class Line:
    """Our end of one child's line."""

    __slots__ = ("fd", "place")

    def __init__(self, place: int, fd: int) -> None:
        self.place = place
        self.fd = fd


class CommandLines:
    """All lines, by place. `dropped(place)` is told of a child that said what no child may say."""

    def __init__(
        self, switchboard: Switchboard, selector: selectors.BaseSelector, dropped: Callable[[int], None]
    ) -> None:
        self._switchboard = switchboard
        self._selector = selector
        self._dropped = dropped
        self._lines: dict[int, Line] = {}

    def open(self, place: int) -> int:
        """Make a line for a child that is about to be started; return its end, non-blocking, which the caller closes.

        Raises OSError. Our end is registered with its Line as data: pass that to `serve`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINE_BUFFER_BYTES)
        self.take_on(place, ours.detach())
        return theirs.detach()

    def take_on(self, place: int, fd: int) -> None:
        """Serve a line that is there already: `fd` is our end, non-blocking."""
        line = Line(place, fd)
        self._lines[place] = line
        self._selector.register(line.fd, selectors.EVENT_READ, line)
        self._switchboard.join(place)

    def adopt(self, place: int, fd: int | None) -> None:
        """Serve the line of a worker that another supervisor has started, if it is still there."""
        if fd is None:
            self._switchboard.strand(place)
        else:
            self.take_on(place, fd)

    def fd_of(self, place: int) -> int | None:
        """Return our end of a child's line; None if it has none any more."""
        line = self._lines.get(place)
        return None if line is None else line.fd

    def serve(self, line: Line, now_ns: int) -> None:
        """Take in what a child has said, a bounded number of records. A line that is closed by now is skipped."""
        for _ in range(RECORDS_A_TURN):
            if not self._take_one(line, now_ns):
                return

    def close(self, place: int, now_ns: int) -> None:
        """The child is dead: take in its last words, then tell whoever waits for it. Nothing if there is no line."""
        line = self._lines.get(place)
        while line is not None and self._take_one(line, now_ns):
            pass
        self.drop(place)

    def drop(self, place: int) -> None:
        """End a line now, whatever is still to be read from it."""
        line = self._lines.pop(place, None)
        if line is not None:
            self._selector.unregister(line.fd)
            os.close(line.fd)
            self._send(self._switchboard.leave(place))

    def tick(self, now_ns: int) -> None:
        """Give up what has waited too long."""
        self._send(self._switchboard.expire(now_ns))

    def _take_one(self, line: Line, now_ns: int) -> bool:
        """Take in one record; return whether there may be more."""
        if self._lines.get(line.place) is not line:
            return False
        try:
            record = os.read(line.fd, READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # It died with commands unread. The kernel says that first, and keeps what was said before for the next
            # read (tests/process/test_control_lines.py).
            return True
        if not record:  # its end, or an empty packet, which nobody may send: the two look alike
            self.drop(line.place)
            return False
        sends = self._switchboard.receive(line.place, record, now_ns)
        if sends is None:
            self.drop(line.place)
            self._dropped(line.place)
            return False
        self._send(sends)
        return True

    def _send(self, sends: Iterable[Send]) -> None:
        waiting = deque(sends)
        while waiting:
            send = waiting.popleft()
            line = self._lines.get(send.place)
            if line is None:
                continue
            try:
                os.write(line.fd, send.record)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    waiting += self._switchboard.undelivered(send)
                # Anything else is the end of the child, which its line's end of file tells in its own turn.
