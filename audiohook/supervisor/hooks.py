"""What the arbiter is handed: what the service does at its moments, and how the desk is run. Knows no process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from audiohook.supervisor.handover import Lot
from audiohook.supervisor.orders import AnnounceHung, Reloaded, ReloadFailed, ReloadRefused, Scaled


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the service does at the supervisor's moments. Called in its one thread; must be short and start no thread.

    An exception out of one is logged and changes nothing else: a fault in a chore must not cost every call.
    """

    log: Callable[[str, str, Mapping[str, object]], None]
    """(level, text, fields)"""
    on_forked: Callable[[int, int], None]
    """A worker was forked into this row; the number is that of our end of its command line, which stays ours."""
    on_dead: Callable[[int], None]
    """The worker of this row is reaped: mark what it owned ABORTED. Returns before the row is used again."""
    on_ready: Callable[[], None]
    on_stopping: Callable[[], None]
    on_hung: Callable[[AnnounceHung], None]
    on_scaled: Callable[[Scaled], None]
    on_reload: Callable[[Reloaded | ReloadFailed], None]
    """A reload is over: nothing of it will be gone back to."""
    on_reload_refused: Callable[[ReloadRefused], None]
    """One was asked for that does not begin. Another may be under way, and needs all that it could go back to."""
    on_tick: Callable[[], None]
    """About every 100 ms."""
    heartbeats: Callable[[], Sequence[int]]
    """A number of each row that changes with each turn of its worker's loop."""
    loads: Callable[[], Sequence[int]]
    """How many connections each row's worker has."""


@dataclass(frozen=True, slots=True)
class DeskCommand:
    """How the desk is run, and the descriptors that it gets by name besides `lifeline`, `report` and `commands`."""

    argv: tuple[str, ...]
    fds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TrialCommand:
    """How the trial process of a reload is run, and the descriptors that it gets by name besides `report`."""

    argv: tuple[str, ...]
    fds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Reloading:
    """How this process is tried out and re-executed."""

    trial: Callable[[Lot], TrialCommand]
    """Prepare a trial process that could take on this lot."""
    trial_started: Callable[[], None]
    """It has been started, or could not be: what was opened for it can be closed."""
    cross: Callable[[Lot, str], NoReturn]
    """Re-execute this process, signals being blocked: into what is on the disk, or with a fault into the old code.

    Raises OSError or BootError if that cannot be; everything is as it was then.
    """
