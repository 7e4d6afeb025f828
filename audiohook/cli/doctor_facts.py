"""What `audiohookctl doctor` knows before it judges: plain values, found by `doctor_probing.py`.

An `error` is what the daemon itself would say, with its remedy, since the probing calls what the daemon calls; it is
empty where nothing is wrong. None is what could not be found out or is not there.
"""

from dataclasses import dataclass, field

from audiohook.config import Config


@dataclass(frozen=True)
class Machine:
    kernel: str
    platform_error: str
    python: tuple[int, int, int]
    libraries: dict[str, str | None]
    """Version by distribution, None where it is missing."""
    somaxconn: int | None
    core_pattern: str
    clock_synchronized: bool | None
    clock_error_ms: float


@dataclass(frozen=True)
class Opus:
    """libopus. `frames` is what it made of a packet of 20 ms at 16 kHz, 320 if it works."""

    path: str = ""
    version: str = ""
    frames: int = 0
    error: str = ""


@dataclass(frozen=True)
class Limits:
    """Resource limits, None for none: the running daemon's, else this shell's, which a unit may well change."""

    whose: str
    open_files: int | None
    """The hard one, which the daemon raises its own to."""
    file_bytes: int | None
    core_bytes: int | None


@dataclass(frozen=True)
class Room:
    """Whether the memory is there: for the arena, and for the workers' own beside it."""

    arena_bytes: int
    arena_error: str
    all_bytes: int
    all_error: str


@dataclass(frozen=True)
class Place:
    """A file or a folder by path. `mode` is None where there is none."""

    path: str
    mode: int | None
    error: str = ""


@dataclass(frozen=True)
class HubPlace:
    """Where the hub's socket is to be. `folder` is the nearest that there is, `kind` "", "socket" or "other"."""

    path: str
    kind: str
    folder: Place
    folder_writable: bool


@dataclass(frozen=True)
class Port:
    """Who listens at an address: "nobody", "daemon", "others", or "somebody" where the kernel does not tell whom."""

    address: str
    listener: str
    error: str = ""


@dataclass(frozen=True)
class CertificateState:
    error: str = ""
    lifetime: str = ""
    """In words."""
    valid: bool = True
    days_left: int = 0


@dataclass(frozen=True)
class Worker:
    row: int
    pid: int
    state: str
    beat_age_ms: int


@dataclass(frozen=True)
class Running:
    """A daemon that answered at the hub."""

    supervisor_pid: int
    supervisor_beat_age_ms: int
    state: str
    slots: int
    ring_bytes: int
    workers: tuple[Worker, ...] = ()
    probe: str = ""
    """Outcome of its last TLS handshake with itself, in words; empty where none is made."""
    probe_ok: bool = True


@dataclass(frozen=True)
class Hub:
    error: str = ""
    running: Running | None = None


@dataclass(frozen=True)
class Configured:
    """What is known only with a configuration that can be read."""

    config: Config
    wanted_ring_bytes: int
    limits: Limits
    room: Room
    hub_place: HubPlace
    ports: tuple[Port, ...]
    keys: str = ""
    """What the keys file holds, in words."""
    keys_error: str = ""
    certificate: CertificateState | None = None


@dataclass(frozen=True)
class Facts:
    machine: Machine
    opus: Opus
    config_file: Place | None
    """None: the embedded defaults."""
    config_error: str = ""
    hub: Hub = field(default_factory=Hub)
    configured: Configured | None = None
    """None where `config_error` says why."""
