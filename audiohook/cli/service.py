"""Puts the daemon together: configuration to memory, listeners, hub, workers, desk, and the arbiter over them.

The one module that knows all of it. Order matters: everything that can be refused is refused before the first fork, so
that a start either fails in words or serves.
"""

import json
import logging
import os
import platform
import socket
import sys
from collections.abc import Mapping

from audiohook.codec.opus import libopus_version
from audiohook.codec.opus_library import opus_library_path
from audiohook.config import Config, hub_path, resolve_principals, worker_count
from audiohook.control.hub_socket import open_hub, remove_hub
from audiohook.control.roles import ROLES
from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.arena import Arena, MemoryFiles
from audiohook.memory.locks import SlotLocks
from audiohook.memory.pool import SlotPool
from audiohook.net.descriptors import check_descriptors, raise_descriptor_limit
from audiohook.net.listener import bound_address, open_listeners
from audiohook.net.seat import WorkerSeat
from audiohook.net.stacks import dump_stacks_when_asked
from audiohook.supervisor.arbiter import Arbiter
from audiohook.supervisor.chores import Chores
from audiohook.supervisor.hooks import DeskCommand, Hooks
from audiohook.supervisor.state import Plan
from audiohook.supervisor.switchboard import Switchboard
from audiohook.units import seconds_ns
from audiohook.worker.process import run_worker

log = logging.getLogger("audiohook")

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
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


def serve(config: Config) -> int:
    """Run the daemon in this process until it is told to stop; return the exit code. Raises BootError."""
    check_platform()
    dump_stacks_when_asked()
    # Here and not at the first call: it may be missing, and looking for it runs other programs while calls wait.
    log.info("decoder: %s from %s", libopus_version(), opus_library_path())
    workers = worker_count(config)
    rows = workers * (config.server.max_generations + 1)
    sizes = layout.geometry(config.memory.streams, rows, config.memory.ring_seconds, config.memory.events_per_worker)
    check_descriptors(config.memory.streams, len(config.server.listen), raise_descriptor_limit())
    listeners = open_listeners(config.server.listen, config.server.backlog)
    path = hub_path(config, os.environ)
    hub = open_hub(path)
    inode = os.stat(path).st_ino
    try:
        files = MemoryFiles(sizes)
        log.info(
            "shared memory allocated megabytes=%d streams=%d ring_seconds=%.1f rows=%d",
            sizes.arena_bytes // 1_000_000,
            sizes.slots,
            sizes.ring_bytes / (2 * layout.RING_RATE_HZ),
            sizes.rows,
        )
        arena = Arena(files.arena, writable=True)
        chores = Chores(
            arena,
            SlotPool(arena, SlotLocks(files.locks)),
            keep_ended_ns=seconds_ns(config.memory.keep_ended_seconds),
            hold_ns=seconds_ns(config.context.hold_ttl_seconds),
        )
        plan = Plan(
            workers=workers,
            rows=rows,
            desk=True,
            boot_ns=seconds_ns(config.server.boot_seconds),
            drain_ns=seconds_ns(config.server.drain_seconds),
        )

        def worker_main(seat: WorkerSeat) -> int:
            # Inherited and not ours: with orphans holding it, the hub would take connections that nobody serves.
            hub.close()
            os.close(files.read_only)
            return run_worker(seat, files, config)

        switchboard = Switchboard(chores.whereabouts, chores.parking.command, chores.commands_refused)
        hooks = _hooks(chores, listeners, path)
        hang_ns = seconds_ns(config.server.hang_seconds)
        code = Arbiter(plan, listeners, worker_main, hooks, switchboard, _desk(config, files, hub), hang_ns).run()
        chores.parking.end_all()  # a call that was lost while the others were drained
        chores.set_state(layout.STOPPED, layout.ROW_FREE)
        chores.tell("service_stopped")
        return code
    finally:
        remove_hub(hub, path, inode)


def _desk(config: Config, files: MemoryFiles, hub: socket.socket) -> DeskCommand:
    roles = {role: resolve_principals(getattr(config.hub, role), key=f"hub.{role}") for role in ROLES}
    settings = {
        "roles": {
            role: {"uids": sorted(who.uids), "gids": sorted(who.gids), "any": who.any} for role, who in roles.items()
        },
        "max_clients": config.hub.max_clients,
        "max_watched": config.hub.max_watched,
        "log_level": config.log.level.upper(),
        "log_format": LOG_FORMAT,
    }
    # -P: the working directory is no place to import from.
    argv = (sys.executable, "-P", "-m", "audiohook.control.desk", json.dumps(settings))
    return DeskCommand(argv, {"arena": files.read_only, "watch": files.watch, "hub": hub.fileno()})


def _hooks(chores: Chores, listeners: tuple[socket.socket, ...], path: str) -> Hooks:
    def write_log(level: str, text: str, fields: Mapping[str, object]) -> None:
        shown = "".join(f" {name}={value}" for name, value in fields.items())
        log.log(logging.getLevelName(level.upper()), "%s%s", text, shown)

    def on_dead(row: int) -> None:
        aborted = chores.worker_died(row)
        if aborted:
            log.error("a worker died with its calls row=%d aborted=%d", row, aborted)

    def on_ready() -> None:
        chores.set_state(layout.SERVING, layout.ROW_ACCEPTING)
        chores.tell("service_ready")
        where = ",".join(bound_address(listener) for listener in listeners)
        log.info("READY listen=%s hub=%s pid=%d", where, path, os.getpid())

    def on_stopping() -> None:
        chores.set_state(layout.DRAINING, layout.ROW_DRAINING)
        chores.tell("service_stopping")
        chores.parking.end_all()

    return Hooks(
        log=write_log,
        on_dead=on_dead,
        on_ready=on_ready,
        on_stopping=on_stopping,
        on_hung=chores.hung,
        on_scaled=chores.scaled,
        on_tick=chores.tick,
        heartbeats=lambda: chores.words("heartbeat_ns"),
        loads=lambda: chores.words("live"),
    )
