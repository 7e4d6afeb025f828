"""The judgements of `audiohookctl doctor`: facts in, findings out. Pure; each finding that is not OK names its remedy.

FAIL: the daemon does not start, or calls are lost. WARN: it runs, and something is about to hurt, or cannot be seen
from here. A daemon that is not running is a WARN: the doctor is also asked before the first start.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from audiohook.cli.doctor_facts import Configured, Facts, HubPlace, Limits, Machine, Port, Running
from audiohook.config import Server
from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.net.descriptors import check_descriptors

Level = Literal["OK", "WARN", "FAIL"]
LEVELS: tuple[Level, ...] = ("OK", "WARN", "FAIL")

OLDEST_PYTHON = (3, 11)
PACKET_FRAMES = 320
SERVING = layout.ARENA_STATES[layout.SERVING]
ACCEPTING = layout.ROW_STATES[layout.ROW_ACCEPTING]

_WRITABLE_BY_OTHERS = 0o022
_STICKY = 0o1000


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is empty only where all is well."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def judge(facts: Facts) -> list[Finding]:
    """Return a finding for each check, in the order in which they are told; some checks have several."""
    found: list[Finding] = []
    for check in (_kernel, _python, _libopus, _configuration):
        found += check(facts)
    if facts.configured is not None:
        for configured_check in _CONFIGURED:
            found += configured_check(facts, facts.configured)
    found += _hub(facts)
    found += _workers(facts)
    return [*found, *_clock(facts)]


def worst(found: list[Finding]) -> Level:
    return max((finding.level for finding in found), key=LEVELS.index)


# ------------------------------------------------------------------------------------------------ the machine


def _kernel(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    if machine.platform_error:
        yield Finding("kernel", "FAIL", machine.platform_error, "run the daemon on a machine with such a kernel")
    else:
        yield Finding("kernel", "OK", machine.kernel)


def _python(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    version = ".".join(map(str, machine.python))
    missing = [name for name, found in machine.libraries.items() if found is None]
    if machine.python < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("python", "FAIL", f"Python {version}", f"install the package with Python {oldest} or newer")
    elif missing:
        yield Finding("python", "FAIL", f"missing: {', '.join(missing)}", "pip install 'audiohook[server]'")
    else:
        yield Finding("python", "OK", f"Python {version}, {_versions(machine)}")


def _versions(machine: Machine) -> str:
    return ", ".join(f"{name} {version}" for name, version in machine.libraries.items())


def _libopus(facts: Facts) -> Iterator[Finding]:
    opus = facts.opus
    if opus.error:
        yield Finding("libopus", "FAIL", "calls of the dialect context cannot be decoded", opus.error)
    elif opus.frames != PACKET_FRAMES:
        made = f"{opus.version} from {opus.path} makes {opus.frames} frames of a packet of {PACKET_FRAMES}"
        yield Finding("libopus", "FAIL", made, "install another libopus (Debian: libopus0)")
    else:
        yield Finding("libopus", "OK", f"{opus.version} from {opus.path} decodes")


def _configuration(facts: Facts) -> Iterator[Finding]:
    file = facts.config_file
    if facts.config_error:
        yield Finding("configuration", "FAIL", "what depends on it has not been looked at", facts.config_error)
    elif file is None:
        yield Finding("configuration", "OK", "embedded defaults")
    elif file.mode is not None and file.mode & _WRITABLE_BY_OTHERS:
        text = f"{file.path} can be written by others than its owner (mode {file.mode & 0o7777:04o})"
        yield Finding("configuration", "WARN", text, f"run: chmod go-w {file.path}")
    else:
        yield Finding("configuration", "OK", file.path)


def _clock(facts: Facts) -> Iterator[Finding]:
    machine, config = facts.machine, facts.configured.config if facts.configured else None
    if machine.clock_synchronized:
        yield Finding("clock", "OK", f"synchronized, off by {machine.clock_error_ms:.0f} ms at most")
        return
    text = "is not synchronized" if machine.clock_synchronized is False else "cannot be asked whether it is right"
    if config is not None and config.auth.keys_file:
        text += f"; signatures are refused beyond {config.auth.signature_skew_seconds} s"
    yield Finding("clock", "WARN", f"this clock {text}", "run chrony, ntpd or systemd-timesyncd")


# ------------------------------------------------------------------------------------------------ what is configured


def _descriptors(_: Facts, configured: Configured) -> Iterator[Finding]:
    config, limits = configured.config, configured.limits
    if limits.open_files is None:
        yield Finding("descriptors", "OK", f"unlimited ({limits.whose})")
        return
    try:
        check_descriptors(config.memory.streams, len(config.server.listen), limits.open_files)
    except BootError as error:
        yield Finding("descriptors", "FAIL", f"too few ({limits.whose})", str(error))
    else:
        yield Finding("descriptors", "OK", f"{limits.open_files} a process ({limits.whose})")


def _backlog(facts: Facts, configured: Configured) -> Iterator[Finding]:
    wanted, most = configured.config.server.backlog, facts.machine.somaxconn
    if most is not None and most < wanted:
        text = f"net.core.somaxconn = {most} caps server.backlog = {wanted}: a burst of new calls has to try again"
        yield Finding("backlog", "WARN", text, f"run: sysctl -w net.core.somaxconn={wanted}, or lower server.backlog")
    else:
        yield Finding("backlog", "OK", f"{wanted} connections may wait")


def _memory(facts: Facts, configured: Configured) -> Iterator[Finding]:
    running, room, limits = facts.hub.running, configured.room, configured.limits
    megabytes = room.arena_bytes // 1_000_000
    if running is not None:
        yield _memory_that_is_there(running, configured)
    elif limits.file_bytes is not None and limits.file_bytes < room.arena_bytes:
        text = f"files may have {limits.file_bytes // 1_000_000} MB ({limits.whose}), the arena needs {megabytes}"
        yield Finding("memory", "FAIL", text, "run: ulimit -f unlimited, or LimitFSIZE=infinity in the unit")
    elif room.arena_error:
        yield Finding("memory", "FAIL", "the arena does not fit", room.arena_error)
    elif room.all_error:
        text = f"the arena of {megabytes} MB fits, and the workers beside it may not"
        remedy = f"lower memory.streams or server.workers; {room.all_bytes // 1_000_000} MB in all are safe"
        yield Finding("memory", "WARN", text, remedy)
    else:
        yield Finding("memory", "OK", f"the arena of {megabytes} MB fits")


def _memory_that_is_there(running: Running, configured: Configured) -> Finding:
    streams = configured.config.memory.streams
    if (running.slots, running.ring_bytes) == (streams, configured.wanted_ring_bytes):
        return Finding("memory", "OK", f"allocated: {running.slots} streams of {running.ring_bytes} bytes")
    text = (
        f"the daemon that runs has {running.slots} streams of {running.ring_bytes} bytes, "
        f"the configuration {streams} of {configured.wanted_ring_bytes}"
    )
    return Finding("memory", "WARN", text, "name its configuration with --config and --set, or restart it")


def _cores(facts: Facts, configured: Configured) -> Iterator[Finding]:
    limits: Limits = configured.limits
    if limits.core_bytes == 0 and not facts.machine.core_pattern.startswith("|"):
        yield Finding("core dumps", "OK", f"none ({limits.whose})")
    elif limits.core_bytes == 0:
        # A program behind a pipe gets the core whatever the limit is, but systemd-coredump and apport look at it.
        yield Finding("core dumps", "OK", f"none, if {facts.machine.core_pattern.split()[0][1:]} looks at the limit")
    else:
        text = f"a crash would leave voices on the disk ({limits.whose})"
        yield Finding("core dumps", "WARN", text, "set LimitCORE=0 in the unit, or run: ulimit -c 0")


def _keys(_: Facts, configured: Configured) -> Iterator[Finding]:
    if configured.keys_error:
        yield Finding("keys", "FAIL", "the keys file cannot be used", configured.keys_error)
    elif configured.config.auth.keys_file:
        yield Finding("keys", "OK", f"{configured.config.auth.keys_file}: {configured.keys}")
    else:
        yield Finding("keys", "OK", "none are asked for")


def _certificate(facts: Facts, configured: Configured) -> Iterator[Finding]:
    tls, state = configured.config.tls, configured.certificate
    if state is None:
        yield Finding("certificate", "OK", "no TLS is spoken here")
    elif state.error:
        yield Finding("certificate", "FAIL", "certificate and key cannot be used", state.error)
    elif not state.valid:
        text = f"{tls.certificate_file} {state.lifetime}"
        yield Finding("certificate", "FAIL", text, "renew it; new files are read without a restart")
    elif state.days_left < tls.warn_days:
        text = f"{tls.certificate_file} {state.lifetime}"
        yield Finding("certificate", "WARN", text, "renew it; new files are read without a restart")
    else:
        yield Finding("certificate", "OK", f"{tls.certificate_file} {state.lifetime}; the key is its own")
    running = facts.hub.running
    if running is not None and not running.probe_ok:
        remedy = "look at the chain and at tls.probe_url; until then callers may be refused by their own rules"
        yield Finding("handshake", "FAIL", f"the daemon's own handshake fails: {running.probe}", remedy)
    elif running is not None and running.probe:
        yield Finding("handshake", "OK", running.probe)


def _hub_folder(facts: Facts, configured: Configured) -> Iterator[Finding]:
    place: HubPlace = configured.hub_place
    folder = place.folder
    if place.kind == "other":
        text = f"{place.path} is there and is no socket"
        yield Finding("hub folder", "FAIL", text, "remove it or choose another hub.path")
    elif facts.hub.running is None and not place.folder_writable:
        text = f"{place.path} cannot be made: this user may not write to {folder.path}"
        remedy = "ask as the daemon's user; set RuntimeDirectory= in the unit, or choose another hub.path"
        yield Finding("hub folder", "FAIL", text, remedy)
    elif folder.mode is not None and folder.mode & 0o002 and not folder.mode & _STICKY:
        text = f"everybody may put another socket at {place.path} (mode {folder.mode & 0o7777:04o} of {folder.path})"
        yield Finding("hub folder", "WARN", text, f"run: chmod o-w {folder.path}")
    else:
        yield Finding("hub folder", "OK", folder.path)


def _ports(facts: Facts, configured: Configured) -> Iterator[Finding]:
    for port in configured.ports:
        yield _port(port, facts.hub.running)


def _port(port: Port, running: Running | None) -> Finding:
    remedies = "stop it or choose another port in server.listen"
    if port.error:
        return Finding("port", "FAIL", f"{port.address} cannot be listened on", port.error)
    if port.listener == "daemon":
        return Finding("port", "OK", f"{port.address}: the daemon listens")
    if port.listener == "others":
        return Finding("port", "FAIL", f"{port.address}: another program listens there", remedies)
    if port.listener == "somebody":
        return Finding("port", "WARN", f"{port.address}: whoever listens there, only root may see", "ask as root")
    if running is not None:
        text = f"{port.address}: the daemon that runs does not listen there"
        return Finding("port", "WARN", text, "name its configuration with --config and --set, or reload it")
    return Finding("port", "OK", f"{port.address} is free")


_CONFIGURED: tuple[Callable[[Facts, Configured], Iterator[Finding]], ...] = (
    *(_descriptors, _backlog, _memory, _cores, _keys, _certificate, _hub_folder, _ports),
)


# ------------------------------------------------------------------------------------------------ the daemon


def _hub(facts: Facts) -> Iterator[Finding]:
    running = facts.hub.running
    if running is None:
        yield Finding("hub", "WARN", "no daemon to look at", facts.hub.error)
    elif running.state != SERVING:
        text = f"the daemon (pid {running.supervisor_pid}) is {running.state}"
        yield Finding("hub", "WARN", text, "wait for its end and start it again; it takes no new calls")
    else:
        yield Finding("hub", "OK", f"the daemon (pid {running.supervisor_pid}) serves")


def _workers(facts: Facts) -> Iterator[Finding]:
    running = facts.hub.running
    if running is None:
        return
    server = facts.configured.config.server if facts.configured else Server()
    hang_ms = server.hang_seconds * 1000
    still = [f"row {worker.row} (pid {worker.pid})" for worker in running.workers if worker.beat_age_ms > hang_ms]
    accepting = sum(worker.state == ACCEPTING for worker in running.workers)
    if running.supervisor_beat_age_ms > hang_ms:
        text = f"the supervisor (pid {running.supervisor_pid}) has stood still for {running.supervisor_beat_age_ms} ms"
        yield Finding("workers", "FAIL", text, "if it is gone, start the daemon again: the workers keep their calls")
    elif still:
        remedy = "kill -USR2 to the pid logs its stacks; the supervisor replaces it"
        yield Finding("workers", "FAIL", f"stands still: {', '.join(still)}", remedy)
    elif not accepting and running.state == SERVING:
        yield Finding("workers", "FAIL", "none accepts", "its log says why the workers do not boot")
    else:
        yield Finding("workers", "OK", f"{accepting} of {len(running.workers)} accept")


_HANG_SECONDS = 10.0
"""The default of server.hang_seconds, where the configuration cannot be read."""
