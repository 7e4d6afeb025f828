"""What the daemon does at the supervisor's moments: the hooks, without systemd's part of them (`unit.py`).

Log lines, the words in memory, what is kept and what is let go. Knows no process and no policy.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping

from audiohook.cli.belongings import Belongings
from audiohook.memory import layout
from audiohook.net.listener import bound_address
from audiohook.supervisor.certificate_watch import CertificateWatch
from audiohook.supervisor.chores import Chores
from audiohook.supervisor.hooks import Hooks
from audiohook.supervisor.orders import Changes, Reloaded, ReloadFailed

log = logging.getLogger("audiohook")


class Moments:
    """One image's."""

    def __init__(
        self,
        chores: Chores,
        belongings: Belongings,
        watch: CertificateWatch | None,
        change_settings: Callable[[Changes], None],
    ) -> None:
        self._chores = chores
        self._change_settings = change_settings
        self._belongings = belongings
        self._watch = watch

    @property
    def hooks(self) -> Hooks:
        return Hooks(
            log=_write_log,
            on_forked=lambda _row, _command_fd: None,
            on_dead=self._on_dead,
            on_ready=self._on_ready,
            on_stopping=self._on_stopping,
            on_hung=self._chores.hung,
            on_scaled=self._chores.scaled,
            on_reload=self._on_reload,
            on_reload_refused=self._chores.reload_refused,
            on_tick=self._on_tick,
            heartbeats=lambda: self._chores.words("heartbeat_ns"),
            loads=lambda: self._chores.words("live"),
        )

    def _on_dead(self, row: int) -> None:
        aborted = self._chores.worker_died(row)
        if aborted:
            log.error("a worker died with its calls row=%d aborted=%d", row, aborted)

    def _on_ready(self) -> None:
        self._chores.set_state(layout.SERVING, layout.ROW_ACCEPTING)
        self._chores.tell("service_ready")
        log.info("READY listen=%s hub=%s pid=%d", self._where(), self._belongings.hub_path, os.getpid())

    def _on_reload(self, ended: Reloaded | ReloadFailed) -> None:
        self._belongings.settle()
        if isinstance(ended, Reloaded) and ended.changes:
            self._change_settings(ended.changes)
        elif isinstance(ended, Reloaded):
            log.info("generation %d takes new calls listen=%s", ended.generation, self._where())
        self._chores.reloaded(ended)

    def _on_stopping(self) -> None:
        self._chores.set_state(layout.DRAINING, layout.ROW_DRAINING)
        self._chores.tell("service_stopping")
        self._chores.parking.end_all()
        if self._watch is not None:
            self._watch.stop()

    def _on_tick(self) -> None:
        self._chores.tick()
        if self._watch is not None:
            self._watch.look(time.monotonic_ns())

    def _where(self) -> str:
        return ",".join(bound_address(listener) for listener in self._belongings.sockets)


def _write_log(level: str, text: str, fields: Mapping[str, object]) -> None:
    shown = "".join(f" {name}={value}" for name, value in fields.items())
    log.log(logging.getLevelName(level.upper()), "%s%s", text, shown, extra={"fields": fields})
