"""Looks at the machine, the files and the daemon for `audiohookctl doctor`; judges nothing (`doctor_checks.py`).

Changes nothing that outlives it: a free port is bound for an instant. Whatever is missing or forbidden is a fact like
the others, so nothing here raises.
"""

import ctypes
import ipaddress
import os
import platform
import resource
import socket
import stat
import struct
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import audiohook
from audiohook.cli.doctor_facts import (
    CertificateState,
    Configured,
    Facts,
    Hub,
    HubPlace,
    Limits,
    Machine,
    Opus,
    Place,
    Port,
    Room,
    Running,
    Worker,
)
from audiohook.cli.fitting import configured_geometry
from audiohook.cli.service import check_platform
from audiohook.cli.status_tls import read_tls
from audiohook.codec.opus import OpusDecoder, OpusEncoder, OpusError, libopus_version
from audiohook.codec.opus_library import opus_library_path
from audiohook.config import Config, KeysFile, hub_path, load, parse_address, worker_count
from audiohook.errors import AudiohookError, BootError, ConfigError
from audiohook.memory.arena import check_room
from audiohook.memory.board import read_header, read_rows
from audiohook.net.listener import open_listener
from audiohook.net.tls_pair import TlsPair

LIBRARIES = ("numpy", "msgspec", "wsproto", "h11", "opuslib", "psutil", "http-sf")

WORKER_BYTES = 64_000_000
"""What a worker takes beside the arena with some hundred calls, rounded up."""

_RATE_HZ, _PACKET_FRAMES = 16_000, 320

_TIMEX_BYTES = 208
_MAXERROR_AT, _STATUS_AT = 24, 40
_STA_UNSYNC = 0x0040
"""adjtimex(2): struct timex of x86-64, and the status bit of a clock that nobody sets."""


def look(config_path: str | None, overrides: list[str], hub: str | None) -> Facts:
    """Return everything that is known. `hub`: path of the hub's socket, None for the configured one."""
    config, config_error = None, ""
    try:
        config = load(config_path, overrides)
    except ConfigError as error:
        config_error = str(error)
    named = hub or os.environ.get("AUDIOHOOK_HUB") or hub_path(config or Config(), os.environ)
    there = _hub(named)
    return Facts(
        machine=_machine(),
        opus=_opus(),
        config_file=_place(config_path) if config_path else None,
        config_error=config_error,
        hub=there,
        configured=_configured(config, there.running, named) if config else None,
    )


# ------------------------------------------------------------------------------------------------ the machine


def _machine() -> Machine:
    platform_error = ""
    try:
        check_platform()
    except BootError as error:
        platform_error = str(error)
    synchronized, error_ms = _clock()
    somaxconn = _text("/proc/sys/net/core/somaxconn")
    return Machine(
        kernel=f"{platform.system()} {platform.release()} on {platform.machine()}",
        platform_error=platform_error,
        python=sys.version_info[:3],
        libraries={name: _version(name) for name in LIBRARIES},
        somaxconn=int(somaxconn) if somaxconn else None,
        core_pattern=_text("/proc/sys/kernel/core_pattern"),
        clock_synchronized=synchronized,
        clock_error_ms=error_ms,
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _clock() -> tuple[bool | None, float]:
    """Return whether the kernel's clock is disciplined, None where it does not tell, and its largest error in ms."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: nothing is set, which everybody may
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return None, 0.0
    if state < 0:
        return None, 0.0
    (error_us,) = struct.unpack_from("q", timex, _MAXERROR_AT)
    (status,) = struct.unpack_from("i", timex, _STATUS_AT)
    return not status & _STA_UNSYNC, error_us / 1000


def _opus() -> Opus:
    try:
        path, version = opus_library_path(), libopus_version()
        packet = OpusEncoder(_RATE_HZ).encode(bytes(2 * _PACKET_FRAMES), _PACKET_FRAMES)
        decoder = OpusDecoder(_RATE_HZ)
        samples = ctypes.create_string_buffer(2 * decoder.bound_frames)
        return Opus(path, version, decoder.decode_into(packet, ctypes.addressof(samples)))
    except (BootError, OpusError) as error:
        return Opus(error=str(error))


# ------------------------------------------------------------------------------------------------ the daemon


def _hub(path: str) -> Hub:
    try:
        with audiohook.attach(path) as hub:
            header, rows, tls = read_header(hub.arena), read_rows(hub.arena), read_tls(hub.arena)
            ring_bytes = hub.arena.geometry.ring_bytes
    except (AudiohookError, OSError) as error:
        return Hub(error=str(error))
    beat_age_ms = next((row["heartbeat_age_ms"] for row in rows if row["kind"] == "supervisor"), 0)
    workers = tuple(
        Worker(row["row"], row["pid"], row["state"], row["heartbeat_age_ms"])
        for row in rows
        if row["kind"] == "worker" and row["pid"]
    )
    running = Running(
        supervisor_pid=header["supervisor_pid"],
        supervisor_beat_age_ms=beat_age_ms,
        state=header["state"],
        slots=header["slots"],
        ring_bytes=ring_bytes,
        workers=workers,
        probe=(tls or {}).get("probe") or "",
        # None yet: a daemon that has just begun has tried nothing, and is not ill for that.
        probe_ok=tls is None or tls.get("probe") is None or bool(tls.get("probe_ok")),
    )
    return Hub(running=running)


# ------------------------------------------------------------------------------------------------ what is configured


def _configured(config: Config, running: Running | None, hub: str) -> Configured:
    keys, keys_error = _keys(config)
    sizes = configured_geometry(config, worker_count(config) * (config.server.max_generations + 1))
    return Configured(
        config=config,
        wanted_ring_bytes=sizes.ring_bytes,
        limits=_limits(running),
        room=_room(sizes.arena_bytes, sizes.arena_bytes + worker_count(config) * WORKER_BYTES),
        hub_place=_hub_place(hub),
        ports=tuple(_port(text, running) for text in config.server.listen),
        keys=keys,
        keys_error=keys_error,
        certificate=_certificate(config),
    )


def _limits(running: Running | None) -> Limits:
    kinds = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
    whose = "the daemon's" if running else "this shell's"
    try:
        process = psutil.Process(running.supervisor_pid if running else None)
        files, size, core = (process.rlimit(kind) for kind in kinds)
    except psutil.Error:  # another user's
        return _limits(None)
    return Limits(whose, _finite(files[1]), _finite(size[0]), _finite(core[0]))


def _finite(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _room(arena_bytes: int, all_bytes: int) -> Room:
    errors = []
    for needed in (arena_bytes, all_bytes):
        try:
            check_room(needed)
        except BootError as error:
            errors.append(str(error))
        else:
            errors.append("")
    return Room(arena_bytes, errors[0], all_bytes, errors[1])


def _keys(config: Config) -> tuple[str, str]:
    if not config.auth.keys_file:
        return "", ""
    try:
        keyring = KeysFile(config.auth.keys_file).keyring
    except ConfigError as error:
        return "", str(error)
    return f"{len(keyring)} API keys", ""


def _certificate(config: Config) -> CertificateState | None:
    if not config.tls.certificate_file:
        return None
    now_s = time.time()
    try:
        shown = TlsPair(config.tls).certificate
    except ConfigError as error:
        return CertificateState(error=str(error))
    return CertificateState("", shown.lifetime_in_words(now_s), shown.valid_at(now_s), shown.days_left(now_s))


def _place(path: str) -> Place:
    try:
        return Place(path, os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        return Place(path, None, str(error))


def _hub_place(path: str) -> HubPlace:
    try:
        kind = "socket" if stat.S_ISSOCK(os.lstat(path).st_mode) else "other"
    except OSError:
        kind = ""
    folder = Path(path).absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return HubPlace(path, kind, _place(str(folder)), os.access(folder, os.W_OK | os.X_OK))


def _port(text: str, running: Running | None) -> Port:
    address = parse_address(text)
    assert address is not None, "checked with the configuration"
    if address.port:
        listeners = _listeners(address.host, address.port)
        pids = {running.supervisor_pid, *(worker.pid for worker in running.workers)} if running else set()
        if listeners & pids:
            return Port(text, "daemon")
        if listeners:
            return Port(text, "somebody" if None in listeners else "others")
        if running:
            return Port(text, "nobody")
    try:
        open_listener(text, 1).close()
    except BootError as error:
        return Port(text, "nobody", str(error))
    return Port(text, "nobody")


def _listeners(host: str, port: int) -> set[int | None]:
    """Return the processes that listen where `host` and `port` are, None for one that only root may see.

    An IPv6 wildcard that takes IPv4 too is not found here: the kernel says so when the address is tried.
    """
    try:
        wanted = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return set()  # the try says that the name cannot be looked up
    if any(ipaddress.ip_address(one).is_unspecified for one in wanted):
        family = ipaddress.ip_address(next(iter(wanted))).version
        return {pid for ip, pid in _listening(port) if ipaddress.ip_address(ip).version == family}
    return {pid for ip, pid in _listening(port) if ip in wanted | {"0.0.0.0" if "." in min(wanted) else "::"}}


def _listening(port: int) -> list[tuple[str, int | None]]:
    """Return the address of every listener at a port, and its process."""
    found: list[tuple[str, int | None]] = []
    for one in psutil.net_connections("tcp"):
        address: tuple[Any, ...] = one.laddr
        if one.status == psutil.CONN_LISTEN and address[1] == port:
            found.append((address[0], one.pid))
    return found
