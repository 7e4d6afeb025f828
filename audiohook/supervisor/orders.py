"""What the supervisor's policy is told (inputs) and what it orders (commands), as values.

Pure: knows no process, no signal number and no clock. The arbiter (`supervisor/arbiter.py`) makes the inputs out of
what the kernel says and carries the commands out, in the order of the list. Rows are those of the worker table,
0 to `Plan.rows` - 1, and a place is a row or `state.DESK`; an exit status is an exit code, or minus the number of the
signal that killed the process (what `os.waitstatus_to_exitcode` returns).
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from audiohook.supervisor.plan import Plan

Urge = Literal["drain", "hurry", "kill", "retire", "dump"]
"""drain: refuse new calls, leave when the last one ends. hurry: end every call properly, leave. kill: SIGKILL.
retire: leave new calls to the other workers, leave when the last one of its own ends. dump: write every thread's stack
to the log, and nothing else."""

SignalName = Literal["TERM", "INT", "QUIT", "HUP"]
"""SIGTTIN and SIGTTOU are not among them: the arbiter makes a `Scale` of each."""

Level = Literal["debug", "info", "warning", "error"]


Changes = Mapping[str, tuple[int | str, int | str]]
"""Settings that differ (`config/live.py`): their values before and after."""


class Orphan(msgspec.Struct, frozen=True):
    """A living worker of a daemon that was killed (`supervisor/orphans.py`)."""

    row: int
    generation: int


class Started(msgspec.Struct, frozen=True):
    """The arbiter stands ready; sent once, first. `orphans` are in their rows."""

    orphans: tuple[Orphan, ...] = ()


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


class OrphanGone(msgspec.Struct, frozen=True):
    """The orphan of this row has ended; how, its parent knows."""

    row: int
    pid: int


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


class ReloadAsked(msgspec.Struct, frozen=True):
    """Code and configuration are to be loaded anew. `asked` says who wants it: uid and pid, or the signal."""

    asked: Mapping[str, str | int] = {}


class TrialPassed(msgspec.Struct, frozen=True):
    """The trial process has found nothing wrong; its exit follows.

    `changes` are settings that can be changed while processes run, and there is nothing else to be done. Empty: there
    is, or nothing at all has changed.
    """

    changes: Changes = {}


class TrialFailed(msgspec.Struct, frozen=True):
    """The trial process says what is wrong, in one line, or could not be started."""

    message: str
    started: bool = True


class TrialExited(msgspec.Struct, frozen=True):
    """The trial process was reaped; everything that it had to say was told before."""

    status: int


class Resumed(msgspec.Struct, frozen=True):
    """This process has been re-executed. `plan` is by the code and the configuration that run now.

    `fault` is empty if these are the new ones, else why they are the old ones again.
    """

    plan: Plan
    fault: str = ""


class CrossFailed(msgspec.Struct, frozen=True):
    """The last `Cross` was not carried out: this process is what it was."""

    message: str


Input = (
    Started
    | WorkerReady
    | WorkerReport
    | ChildExited
    | OrphanGone
    | ForkFailed
    | DeskReady
    | DeskReport
    | DeskExited
    | DeskForkFailed
    | Signal
    | Hung
    | Beating
    | Scale
    | ReloadAsked
    | TrialPassed
    | TrialFailed
    | TrialExited
    | Resumed
    | CrossFailed
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


class StartTrial(msgspec.Struct, frozen=True):
    """Start the trial process; there is none."""


class KillTrial(msgspec.Struct, frozen=True):
    """SIGKILL to the trial process, if there is one."""


class Cross(msgspec.Struct, frozen=True):
    """Re-execute this process: into what is on the disk, or, with `fault`, back into the old code.

    The last command of its list: what follows it is `Resumed` in another image, or `CrossFailed` in this one.
    """

    fault: str = ""


class Reloaded(msgspec.Struct, frozen=True):
    """A reload was carried out: this generation takes the new calls, so many others keep theirs.

    With `changes` it is the one that was there, and these settings are to be changed now.
    """

    generation: int
    draining: int
    asked: Mapping[str, str | int]
    changes: Changes = {}


class ReloadFailed(msgspec.Struct, frozen=True):
    """A reload was not carried out, or was taken back: everything is as it was before, and `text` says why."""

    text: str
    asked: Mapping[str, str | int]


class ReloadRefused(msgspec.Struct, frozen=True):
    """A reload that was asked for is not begun, and why. One that is under way goes on."""

    text: str
    asked: Mapping[str, str | int]


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
    | StartTrial
    | KillTrial
    | Cross
    | Reloaded
    | ReloadFailed
    | ReloadRefused
    | Log
    | Exit
)
