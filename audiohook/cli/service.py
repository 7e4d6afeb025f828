"""Puts the daemon together: configuration to memory, listeners, hub, workers, desk, and the arbiter over them.

The one module that knows all of it. Order matters: everything that can be refused is refused before the first fork, so
that a start either fails in words or serves.
"""

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable

from audiohook.cli.belongings import Belongings, open_belongings
from audiohook.cli.fitting import configured_geometry
from audiohook.cli.inheritance import Inheritance
from audiohook.cli.moments import Moments
from audiohook.cli.reloading import Successor
from audiohook.cli.unit import Unit
from audiohook.codec.opus import libopus_version
from audiohook.codec.opus_library import opus_library_path
from audiohook.config import Config, resolve_principals, worker_count
from audiohook.config.live import LiveSettings, with_changes
from audiohook.control.roles import ROLES
from audiohook.errors import BootError, ConfigError
from audiohook.memory import layout
from audiohook.memory.arena import Arena, MemoryFiles
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool
from audiohook.net.descriptors import check_descriptors, raise_descriptor_limit
from audiohook.net.journal import note_row, set_log_level
from audiohook.net.seat import WorkerSeat
from audiohook.net.stacks import dump_stacks_when_asked
from audiohook.net.systemd import Notifier
from audiohook.net.tls_pair import TlsPair
from audiohook.supervisor.adoption import take_over
from audiohook.supervisor.arbiter import Arbiter
from audiohook.supervisor.certificate_watch import certificate_watch
from audiohook.supervisor.chores import Chores
from audiohook.supervisor.crossing import Resumption
from audiohook.supervisor.handover import Handover
from audiohook.supervisor.hooks import DeskCommand, Reloading
from audiohook.supervisor.orders import Changes
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.switchboard import Switchboard
from audiohook.units import seconds_ns
from audiohook.worker.process import run_worker

log = logging.getLogger("audiohook")

OLDEST_KERNEL = (5, 16)


def check_platform() -> None:
    """Raise BootError where the daemon cannot run: other machines reorder stores, older kernels lack futex_waitv."""
    kernel = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if platform.system() != "Linux" or kernel < OLDEST_KERNEL:
        raise BootError(
            f"Linux 5.16 or newer is needed (futex_waitv), this is {platform.system()} {platform.release()}"
        )
    if platform.machine() != "x86_64":
        raise BootError(f"x86-64 is needed (the shared memory relies on its order of stores), not {platform.machine()}")


def check_start(config: Config) -> None:
    """Look at what a start needs and a configuration cannot say: platform, descriptors, decoder. Raises BootError."""
    check_platform()
    # Here and not at the first call: it may be missing, and looking for it runs other programs while calls wait.
    log.info("decoder: %s from %s", libopus_version(), opus_library_path())
    check_descriptors(config.memory.streams, len(config.server.listen), raise_descriptor_limit())


def serve(config: Config, arguments: list[str]) -> int:
    """Run the daemon in this process until it is told to stop; return the exit code. Raises BootError.

    `arguments` are those of its command line: a reload reads them again.
    """
    check_start(config)
    rows = worker_count(config) * (config.server.max_generations + 1)
    sizes = configured_geometry(config, rows)
    notifier = Notifier.of(os.environ)
    belongings = open_belongings(config, sizes, Inheritance.of(os.environ, notifier))
    log.info(
        "shared memory allocated megabytes=%d streams=%d ring_seconds=%.1f rows=%d",
        sizes.arena_bytes // 1_000_000,
        sizes.slots,
        sizes.ring_bytes / (2 * layout.RING_RATE_HZ),
        sizes.rows,
    )
    return run_service(config, arguments, belongings)


def run_service(
    config: Config,
    arguments: list[str],
    belongings: Belongings,
    handover: Handover | None = None,
    taken_over: Callable[[], None] = lambda: None,
) -> int:
    """Run the service with what it owns, from the beginning or where another image of this process stopped."""
    dump_stacks_when_asked()
    return _Service(config, belongings, handover).run(arguments, taken_over)


class _Service:
    """What one image runs the service with. `handover` None: from the beginning."""

    def __init__(self, config: Config, belongings: Belongings, handover: Handover | None) -> None:
        self._config = config
        self._settings = LiveSettings.made_of(config)
        self._belongings = belongings
        self._handover = handover
        self._from_snapshot = handover is not None and bool(handover.image)
        self._in_charge = handover is None
        arena = Arena(belongings.files.arena, writable=True)
        self._orphans = take_over(arena, belongings.files.locks) if handover is None else []
        generation = 1 + max((found.orphan.generation for found in self._orphans), default=-1)
        self._plan = _plan(config, belongings.files, generation)
        self._chores = Chores(
            arena,
            SlotPool(arena, SlotLocks(belongings.files.locks)),
            keep_ended_ns=seconds_ns(config.memory.keep_ended_seconds),
            hold_ns=seconds_ns(config.context.hold_ttl_seconds),
            generation=generation if handover is None else handover.lot.state.reload.back_to[0],
        )
        if handover is None:
            self._chores.bury({found.orphan.row for found in self._orphans})
        else:
            self._chores.set_state(layout.SERVING, layout.ROW_ACCEPTING)
        self._unit = Unit(Notifier.of(os.environ), os.environ, belongings, self._chores.words)
        self._orphans = self._unit.joined(self._orphans)
        self._pair = _tls_pair(config)
        self._watch = certificate_watch(config, self._pair, belongings.sockets, self._chores.row, self._chores.tell)

    def run(self, arguments: list[str], taken_over: Callable[[], None]) -> int:
        """Return the exit code."""
        arbiter = self._arbiter(arguments, self._resumption(taken_over))
        try:
            code = arbiter.run()
        finally:
            if self._in_charge:
                self._belongings.give_up()
        self._chores.parking.end_all()  # a call that was lost while the others were drained
        self._chores.set_state(layout.STOPPED, layout.ROW_FREE)
        self._chores.tell("service_stopped")
        self._unit.finished()
        return code

    def _arbiter(self, arguments: list[str], resumption: Resumption | None) -> Arbiter:
        chores, belongings = self._chores, self._belongings
        successor = Successor(lambda: self._config, arguments, belongings, self._handover)
        moments = Moments(chores, belongings, self._watch, self._change_settings)
        return Arbiter(
            self._plan,
            belongings.sockets,
            self._worker_main,
            self._unit.watched(moments.hooks),
            # Tickets go on rising over a kill of the supervisor: a line that outlives it may hold answers to its own.
            Switchboard(chores.whereabouts, chores.parking.command, chores.commands_refused, time.monotonic_ns()),
            _desk(self._config, belongings, self._settings.fd, self._from_snapshot),
            seconds_ns(self._config.server.hang_seconds),
            self._unit.announcing(Reloading(successor.trial, successor.trial_started, successor.cross)),
            resumption,
            self._orphans,
        )

    def _resumption(self, taken_over: Callable[[], None]) -> Resumption | None:
        if self._handover is None:
            return None

        def take_charge() -> None:
            self._in_charge = True
            taken_over()

        self._unit.resumed()
        return Resumption(self._handover.lot, self._plan, self._handover.fault, take_charge)

    def _worker_main(self, seat: WorkerSeat) -> int:
        note_row(seat.row)
        self._unit.forked()
        self._belongings.forked(self._from_snapshot)
        os.close(self._settings.fd)
        if self._watch is not None:
            self._watch.let_go()
        keeps_queue = self._unit.keeps_queue
        return run_worker(seat, self._belongings.files, self._config, self._pair, keeps_queue, self._settings)

    def _change_settings(self, changes: Changes) -> None:
        """Everybody who looks at the page has them from now on."""
        self._config = with_changes(self._config, changes)
        self._settings.write(self._config)
        set_log_level(self._settings.log_level)


def _plan(config: Config, files: MemoryFiles, generation: int) -> Plan:
    workers, rows = worker_count(config), files.geometry.rows
    return Plan(
        workers=workers,
        rows=rows,
        desk=True,
        boot_ns=seconds_ns(config.server.boot_seconds),
        drain_ns=seconds_ns(config.server.drain_seconds),
        generation=generation,
        max_draining=config.server.max_generations,
        generation_ns=seconds_ns(config.server.generation_deadline_seconds),
    )


def _desk(config: Config, belongings: Belongings, settings_fd: int, from_snapshot: bool) -> DeskCommand:
    roles = {role: resolve_principals(getattr(config.hub, role), key=f"hub.{role}") for role in ROLES}
    settings = {
        "roles": {
            role: {"uids": sorted(who.uids), "gids": sorted(who.gids), "any": who.any} for role, who in roles.items()
        },
        "max_clients": config.hub.max_clients,
        "max_watched": config.hub.max_watched,
    }
    files, image = belongings.files, belongings.image
    fds = {"arena": files.read_only, "watch": files.watch, "hub": belongings.hub.fileno(), "settings": settings_fd}
    # -P: the working directory is no place to import from.
    argv: tuple[str, ...] = (sys.executable, "-P", "-m", "audiohook.control.desk", json.dumps(settings))
    if from_snapshot:
        argv = (sys.executable, "-P", "-c", _DESK_FROM_SNAPSHOT, json.dumps(settings), image.path)
        fds["image"] = image.snapshot_fd
    return DeskCommand(argv, fds)


_DESK_FROM_SNAPSHOT = """
import sys
sys.path.insert(0, sys.argv.pop())
from audiohook.control.desk import main
sys.exit(main())
"""


def _tls_pair(config: Config) -> TlsPair | None:
    """Return certificate and key, which were good when the configuration was read. Raises BootError."""
    try:
        return TlsPair(config.tls) if config.tls.certificate_file else None
    except ConfigError as error:
        raise BootError(str(error)) from None
