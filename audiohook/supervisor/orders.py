"""What the supervisor's policy is told (inputs) and what it orders (commands), as values.

Pure: knows no process, no signal number and no clock. The arbiter (`supervisor/arbiter.py`) makes the inputs out of
what the kernel says and carries the commands out, in the order of the list. Rows are those of the worker table,
0 to `Plan.rows` - 1, and a place is a row or `state.DESK`; an exit status is an exit code, or minus the number of the
signal that killed the process (what `os.waitstatus_to_exitcode` returns).
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Urge = Literal["drain", "hurry", "kill", "retire", "dump"]
"""drain: refuse new calls, leave when the last one ends. hurry: end every call properly, leave. kill: SIGKILL.
retire: leave new calls to the other workers, leave when the last one of its own ends. dump: write every thread's stack
to the log, and nothing else."""

SignalName = Literal["TERM", "INT", "QUIT", "HUP"]
"""SIGTTIN and SIGTTOU are not among them: the arbiter makes a `Scale` of each."""

Level = Literal["debug", "info", "warning", "error"]


class Started(msgspec.Struct, frozen=True):
    """The arbiter stands ready; sent once, first."""


class WorkerReady(msgspec.Struct, frozen=True):
    """The worker of this row accepts connections."""

    row: int


class WorkerReport(msgspec.Struct, frozen=True):
    """The worker of this row cannot boot and says why, in one line; its exit follows."""

    row: int
    message: str


class ChildExited(msgspec.Struct, frozen=True):
    """The worker of this row was reaped; everything it had reported was told before."""

    row: int
    pid: int
    status: int


class ForkFailed(msgspec.Struct, frozen=True):
    """The last `ForkWorker` of this row made no process."""

    row: int
    message: str


class DeskReady(msgspec.Struct, frozen=True):
    """The desk serves the hub."""


class DeskReport(msgspec.Struct, frozen=True):
    """The desk cannot boot and says why, in one line; its exit follows."""

    message: str


class DeskExited(msgspec.Struct, frozen=True):
    """The desk was reaped."""

    status: int


class DeskForkFailed(msgspec.Struct, frozen=True):
    """The last `ForkDesk` made no process."""

    message: str


class Signal(msgspec.Struct, frozen=True):
    """Somebody sent the supervisor a signal."""

    name: SignalName


class Hung(msgspec.Struct, frozen=True):
    """The child of this place has not turned its loop for `stood_ns` (`supervisor/hangs.py`). Told once a hang."""

    place: int
    pid: int
    stood_ns: int


class Beating(msgspec.Struct, frozen=True):
    """The child of this place, of which `Hung` was told, turns its loop again."""

    place: int


class Scale(msgspec.Struct, frozen=True):
    """So many workers are wanted. `loads` is the count of connections of each row, `asked` says who wants it."""

    workers: int
    loads: tuple[int, ...] = ()
    asked: Mapping[str, object] = {}


class DeadlineReached(msgspec.Struct, frozen=True):
    """`now_ns` has reached `policy.deadline_ns()`. Harmless when it has not."""


Input = (
    Started
    | WorkerReady
    | WorkerReport
    | ChildExited
    | ForkFailed
    | DeskReady
    | DeskReport
    | DeskExited
    | DeskForkFailed
    | Signal
    | Hung
    | Beating
    | Scale
    | DeadlineReached
)


class ForkWorker(msgspec.Struct, frozen=True):
    """Fork a worker into this row, which holds no process."""

    row: int
    generation: int


class ForkDesk(msgspec.Struct, frozen=True):
    """Fork and exec the desk; there is none."""


class SignalWorker(msgspec.Struct, frozen=True):
    """Urge the worker of this row, which holds a process."""

    row: int
    urge: Urge


class SignalDesk(msgspec.Struct, frozen=True):
    """Urge the desk, which is there."""

    urge: Urge


class MarkDead(msgspec.Struct, frozen=True):
    """The worker of this row is gone: what it still owned in memory becomes ABORTED before the row is used again."""

    row: int


class AnnounceReady(msgspec.Struct, frozen=True):
    """Every worker and the desk are ready. At most once in a life."""


class AnnounceStopping(msgspec.Struct, frozen=True):
    """The service has begun to end. At most once in a life."""


class AnnounceHung(msgspec.Struct, frozen=True):
    """A child is hung; what becomes of it follows."""

    place: int
    pid: int
    stood_ns: int


class Scaled(msgspec.Struct, frozen=True):
    """A `Scale` was carried out: these rows are started, those leave with their last call (or have none)."""

    before: int
    after: int
    started: tuple[int, ...]
    leaving: tuple[int, ...]
    asked: Mapping[str, object]


class ScaleRefused(msgspec.Struct, frozen=True):
    """A `Scale` was not carried out, and why, in one short line."""

    text: str


class Log(msgspec.Struct, frozen=True):
    """A line for the log: no audio, no numbers of callers, nothing that a peer sent."""

    level: Level
    text: str
    fields: Mapping[str, object] = {}


class Exit(msgspec.Struct, frozen=True):
    """Nothing is left to supervise: leave with this exit code. The last command of all."""

    code: int


Command = (
    ForkWorker
    | ForkDesk
    | SignalWorker
    | SignalDesk
    | MarkDead
    | AnnounceReady
    | AnnounceStopping
    | AnnounceHung
    | Scaled
    | ScaleRefused
    | Log
    | Exit
)
