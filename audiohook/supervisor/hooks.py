"""What the arbiter is handed: what the service does at its moments, and how the desk is run. Knows no process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from audiohook.supervisor.orders import AnnounceHung, Scaled


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the service does at the supervisor's moments. Called in its one thread; must be short and start no thread.

    An exception out of one is logged and changes nothing else: a fault in a chore must not cost every call.
    """

    log: Callable[[str, str, Mapping[str, object]], None]
    """(level, text, fields)"""
    on_dead: Callable[[int], None]
    """The worker of this row is reaped: mark what it owned ABORTED. Returns before the row is used again."""
    on_ready: Callable[[], None]
    on_stopping: Callable[[], None]
    on_hung: Callable[[AnnounceHung], None]
    on_scaled: Callable[[Scaled], None]
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
