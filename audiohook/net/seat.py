"""What a child of the supervisor is given, and the few words that it says back.

A worker gets its seat as an argument; an exec'ed child (the desk) gets descriptors by name in `AUDIOHOOK_FDS`
(`net/hygiene.py`), `lifeline` and `report` among them. Both speak the same words on `report`:

    R\\n             I accept
    E<text>\\n       I cannot boot, for this reason (UTF-8, one line); my exit follows, with `BootError.exit_code`
    B\\n             my loop turns (the desk only; a worker's row has its heartbeat)
    C<text>\\n       nothing but these settings differs (a reload's trial only; JSON), and else as R

The lifeline is the read end of a pipe in which nobody ever writes and whose write end the supervisor alone holds:
readable means end of file means the supervisor is gone. A line for commands goes with it (`control/commands.py`):
`command_fd` of a worker, `commands` of the desk. Knows nothing of forking, memory or audio.
"""

import os
import socket
from dataclasses import dataclass

MAX_MESSAGE_BYTES = 3072
"""Below PIPE_BUF: a message is written whole or not at all."""

MAX_UNREAD_BYTES = 65_536
"""What the supervisor keeps of a line without an end: a worker reads from strangers, so it is not trusted blindly."""


@dataclass(frozen=True, slots=True)
class WorkerSeat:
    """A worker's place in the world: its row, the listeners that it shares, its two pipes and its line.

    The descriptors belong to the worker's process from the fork on. `listeners` and `command_fd` are non-blocking.
    """

    row: int
    generation: int
    listeners: tuple[socket.socket, ...]
    lifeline_fd: int
    report_fd: int
    command_fd: int


def report_ready(report_fd: int) -> None:
    """Tell the supervisor that this process accepts. A supervisor that is gone is the lifeline's news, not ours."""
    _write(report_fd, b"R\n")


def report_failure(report_fd: int, message: str) -> None:
    """Tell the supervisor why this process cannot boot; line breaks and control characters become blanks."""
    line = "".join(character if character.isprintable() else " " for character in message)
    _write(report_fd, b"E" + line.encode()[:MAX_MESSAGE_BYTES] + b"\n")


def report_changes(report_fd: int, text: str) -> None:
    """Tell the supervisor which settings have to be changed, and that this is all: one line of JSON."""
    _write(report_fd, b"C" + text.encode() + b"\n")


def report_beat(report_fd: int) -> None:
    """Tell the supervisor that this process turns its loop. `report_fd` is non-blocking."""
    _write(report_fd, b"B\n")


def _write(report_fd: int, line: bytes) -> None:
    try:
        os.write(report_fd, line)
    except (BrokenPipeError, BlockingIOError):
        pass  # it is gone, or it is stopped and has not read for hours


@dataclass(frozen=True, slots=True)
class ChangesOnly:
    """The word C, with its text."""

    text: str


Word = ChangesOnly | str | None
"""None for ready, or the text of a failure, or the settings that differ."""


class ReportReader:
    """The supervisor's side: bytes in, words out."""

    def __init__(self, unread: bytes = b"", beats: int = 0) -> None:
        self.unread = unread
        """The beginning of a line."""
        self.beats = beats
        """How often the process has said that its loop turns."""

    def receive_data(self, data: bytes) -> list[Word]:
        """Return the words that these bytes complete, in order; unknown lines are dropped."""
        *lines, rest = (self.unread + data).split(b"\n")
        self.unread = rest[-MAX_UNREAD_BYTES:]
        self.beats += lines.count(b"B")
        return [_word(line) for line in lines if line == b"R" or line.startswith((b"E", b"C"))]


def _word(line: bytes) -> Word:
    text = line[1:].decode(errors="replace")
    if line.startswith(b"C"):
        return ChangesOnly(text)
    return None if line == b"R" else text
