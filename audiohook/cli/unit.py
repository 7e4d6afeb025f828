"""The daemon as systemd sees it: what it is told at the supervisor's moments, and what it keeps for us.

    start    FDSTORE of memory, listeners and hub, before the first fork; READY=1 when every worker accepts
    a fork   FDSTORE of our end of the worker's command line, by which a supervisor after us commands its calls
    every s  STATUS= if it has changed; WATCHDOG=1 only while this loop turns and a worker that accepts lives
    reload   RELOADING=1 when the trial begins; READY=1 when the outcome is known; the store as it is then
    stop     STOPPING=1; the last words are waited for, so that systemd has read them

While it starts, reloads or stops, EXTEND_TIMEOUT_USEC makes the daemon's own deadlines the ones that count. Without
systemd all of this does nothing. The texts are `net/service_messages.py`'s; contract: docs/systemd.md.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from audiohook.cli.belongings import Belongings
from audiohook.cli.inheritance import stored_things
from audiohook.memory import layout
from audiohook.net.service_messages import (
    EXTEND_EVERY_NS,
    EXTENSION_NS,
    WATCHDOG,
    Watchdog,
    extend,
    forget,
    line_name,
    listener_name,
    ready,
    reloading,
    status_line,
    stopping,
    store,
    watchdog_ns,
)
from audiohook.net.systemd import Notifier
from audiohook.supervisor.children import Found
from audiohook.supervisor.handover import Lot
from audiohook.supervisor.hooks import Hooks, Reloading, TrialCommand
from audiohook.supervisor.orders import Reloaded, ReloadFailed
from audiohook.units import NS_PER_S

STATUS_EVERY_NS = NS_PER_S

Words = Callable[[str], Sequence[int]]
"""One word of `layout.ROW`, of every worker's row."""


class Unit:
    """One supervisor's line to systemd."""

    def __init__(self, notifier: Notifier, environ: Mapping[str, str], belongings: Belongings, words: Words) -> None:
        """Store what is to outlive this process. Raises BootError for an environment that contradicts itself."""
        self._notifier = notifier
        self._belongings = belongings
        self._words = words
        interval_ns = watchdog_ns(environ, os.getpid())
        self._watchdog = None if interval_ns is None else Watchdog(interval_ns)
        self._doing = "starting"
        self._told = ""
        self._told_ns = self._extended_ns = 0
        self._keep()

    def joined(self, orphans: Iterable[Found]) -> list[Found]:
        """Return living workers of a daemon before with the lines that lead to them; all other lines are let go."""
        lines, self._belongings.lines = self._belongings.lines, {}
        joined = [replace(found, command_fd=lines.pop(found.orphan.row, None)) for found in orphans]
        for row, fd in lines.items():
            os.close(fd)
            self._notifier.send(forget(line_name(row)))
        return joined

    def watched(self, hooks: Hooks) -> Hooks:
        """Return the hooks with systemd told at each of them, after they have done their own."""

        def on_forked(row: int, command_fd: int) -> None:
            hooks.on_forked(row, command_fd)
            self._notifier.send(store(line_name(row)), [command_fd])

        def on_dead(row: int) -> None:
            hooks.on_dead(row)
            self._notifier.send(forget(line_name(row)))

        def on_ready() -> None:
            hooks.on_ready()
            self._settled()

        def on_stopping() -> None:
            self._doing = "stopping"
            self._notifier.send(stopping(self._status()))
            hooks.on_stopping()

        def on_reload(ended: Reloaded | ReloadFailed) -> None:
            for text, _ in self._belongings.dropped:
                self._notifier.send(forget(listener_name(text)))
            hooks.on_reload(ended)
            self._keep()
            if self._doing == "reloading":
                self._settled()

        def on_tick() -> None:
            hooks.on_tick()
            self._tick(time.monotonic_ns())

        return replace(
            hooks,
            on_forked=on_forked,
            on_dead=on_dead,
            on_ready=on_ready,
            on_stopping=on_stopping,
            on_reload=on_reload,
            on_tick=on_tick,
        )

    def announcing(self, before: Reloading) -> Reloading:
        """Return the same way of reloading, with systemd told that it begins."""

        def trial(lot: Lot) -> TrialCommand:
            self._doing = "reloading"
            self._notifier.send(reloading(time.monotonic_ns(), self._status()))
            return before.trial(lot)

        return replace(before, trial=trial)

    @property
    def keeps_queue(self) -> bool:
        """Whether connections that nobody has accepted outlive this process."""
        return self._notifier.listened_to

    def resumed(self) -> None:
        """This image goes on with a reload that another has begun."""
        self._doing = "reloading"

    def forked(self) -> None:
        """In a worker: nothing of this is its own."""
        self._notifier.close()

    def finished(self) -> None:
        """The service has ended; this process follows."""
        self._notifier.send(status_line("stopped"))
        self._notifier.barrier()

    def _settled(self) -> None:
        self._doing = "serving"
        self._notifier.send(ready(self._status()))

    def _keep(self) -> None:
        own = self._belongings
        if self._notifier.listened_to:
            for fd, name in stored_things(own.listeners, own.files, own.hub, own.hub_path):
                self._notifier.send(store(name), [fd])

    def _tick(self, now_ns: int) -> None:
        if not self._notifier.listened_to:
            return
        if self._watchdog is not None and self._watchdog.due(now_ns, self._newest_beat_ns()):
            self._notifier.send(WATCHDOG, wait=False)
        if self._doing != "serving" and now_ns - self._extended_ns >= EXTEND_EVERY_NS:
            self._extended_ns = now_ns
            self._notifier.send(extend(EXTENSION_NS), wait=False)
        if now_ns - self._told_ns >= STATUS_EVERY_NS:
            self._told_ns = now_ns
            status = self._status()
            if status != self._told:
                self._told = status
                self._notifier.send(status_line(status), wait=False)

    def _newest_beat_ns(self) -> int:
        beats = zip(self._words("state"), self._words("heartbeat_ns"), strict=True)
        return max((beat for state, beat in beats if state == layout.ROW_ACCEPTING), default=0)

    def _status(self) -> str:
        states = list(self._words("state"))
        accepting, draining = states.count(layout.ROW_ACCEPTING), states.count(layout.ROW_DRAINING)
        old = f", {draining} drain" if draining else ""
        return f"{self._doing}: {accepting} workers accept{old}; {sum(self._words('live'))} connections"
