"""What a service and systemd say to one another, as text: the notify protocol, LISTEN_FDS, names in the fd store. Pure.

Sources: sd_notify(3) for what is sent, sd_listen_fds(3) and sd_watchdog_enabled(3) for the environment. The sockets are
`net/systemd.py`'s, what is kept in the store is `cli/unit.py`'s.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote

from audiohook.errors import BootError
from audiohook.units import NS_PER_S

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""

MAX_STATUS_CHARACTERS = 200
MAX_ROW_DIGITS = 9

_LISTEN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_OURS = "audiohook-"
_LISTENER = f"{_OURS}listen-"
_HUB = f"{_OURS}hub-"
_LINE = f"{_OURS}line-"
MEMORY_PARTS = ("arena", "read_only", "locks", "watch")

BARRIER = "BARRIER=1\n"
WATCHDOG = "WATCHDOG=1\n"


class PassedFd(NamedTuple):
    """A descriptor that we were started with, and its name: one of the store's, or that of the unit's socket."""

    fd: int
    name: str


# What is sent


def ready(status: str) -> str:
    """The start, or a reload, is over."""
    return f"READY=1\n{status_line(status)}"


def reloading(now_ns: int, status: str) -> str:
    """A reload begins. `now_ns` is CLOCK_MONOTONIC: a unit of Type=notify-reload waits for one that is not older."""
    return f"RELOADING=1\nMONOTONIC_USEC={now_ns // 1000}\n{status_line(status)}"


def stopping(status: str) -> str:
    return f"STOPPING=1\n{status_line(status)}"


def status_line(status: str) -> str:
    """What `systemctl status` shows. A line break in it would begin another assignment: it becomes a blank."""
    shown = "".join(character if character.isprintable() else " " for character in status)
    return f"STATUS={shown[:MAX_STATUS_CHARACTERS]}\n"


def extend(duration_ns: int) -> str:
    """Ask that the start, reload or stop under way be given so much time from now on, at least."""
    return f"EXTEND_TIMEOUT_USEC={duration_ns // 1000}\n"


def store(name: str) -> str:
    """Keep the descriptor that comes with this. FDPOLL=0: systemd need not watch it for hang-ups; it has none."""
    return f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0\n"


def forget(name: str) -> str:
    """Drop every descriptor of this name."""
    return f"FDSTOREREMOVE=1\nFDNAME={name}\n"


# Names in the fd store: printable ASCII without a colon, 255 characters at most


def listener_name(text: str) -> str:
    """Return the name of a listener that the configuration calls `text`."""
    return _LISTENER + quote(text, safe="")


def memory_name(part: str) -> str:
    """Return the name of one of MEMORY_PARTS."""
    return _OURS + part


def hub_name(device: int, inode: int) -> str:
    """Return the name of the hub's socket: the file that is bound to it cannot be told from the descriptor."""
    return f"{_HUB}{device}-{inode}"


def line_name(row: int) -> str:
    """Return the name of the supervisor's end of a worker's command line."""
    return f"{_LINE}{row}"


class Kept(NamedTuple):
    """Passed descriptors, sorted out. Each is in one of them only."""

    listeners: tuple[tuple[str, int], ...]
    """(address as the configuration had it, descriptor)"""
    memory: dict[str, int]
    hub: PassedFd | None
    lines: dict[int, int]
    """The supervisor's end of the command line of each row's worker."""
    activated: tuple[PassedFd, ...]
    """What is not from our store: the sockets that units list."""
    strange: tuple[PassedFd, ...]
    """From our store, and not to be used: of another version, or twice there."""


def sort_out(passed: Sequence[PassedFd]) -> Kept:
    """Tell passed descriptors apart by their names, never by their order."""
    listeners: list[tuple[str, int]] = []
    memory: dict[str, int] = {}
    hub: PassedFd | None = None
    lines: dict[int, int] = {}
    activated: list[PassedFd] = []
    strange: list[PassedFd] = []
    for one in passed:
        part = one.name.removeprefix(_OURS)
        if not one.name.startswith(_OURS):
            activated.append(one)
        elif one.name.startswith(_LISTENER):
            listeners.append((unquote(one.name.removeprefix(_LISTENER)), one.fd))
        elif part in MEMORY_PARTS and part not in memory:
            memory[part] = one.fd
        elif one.name.startswith(_HUB) and hub is None:
            hub = one
        elif (row := _row(one.name)) is not None and row not in lines:
            lines[row] = one.fd
        else:
            strange.append(one)
    return Kept(tuple(listeners), memory, hub, lines, tuple(activated), tuple(strange))


def _row(name: str) -> int | None:
    """Return the row that `line_name` was given, None if this is no such name."""
    text = name.removeprefix(_LINE)
    known = name.startswith(_LINE) and text.isascii() and text.isdigit() and len(text) <= MAX_ROW_DIGITS
    return int(text) if known else None


# What the environment says


def notify_address(environ: Mapping[str, str]) -> str | None:
    """Return where notifications go, None if nobody wants any. Raises BootError for what is no Unix socket."""
    text = environ.get("NOTIFY_SOCKET", "")
    if not text:
        return None
    if text.startswith("@"):
        return "\0" + text[1:]
    if text.startswith("/"):
        return text
    raise BootError(f'NOTIFY_SOCKET is "{text}"; only Unix sockets are known here, and systemd must be told READY')


def watchdog_ns(environ: Mapping[str, str], pid: int) -> int | None:
    """Return how often systemd wants a sign of life, None if it wants none from process `pid`."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return _number(environ, "WATCHDOG_USEC") * 1000 or None


def take_passed(environ: MutableMapping[str, str], pid: int) -> list[PassedFd]:
    """Return the descriptors that process `pid` was started with, and remove the variables: they are true once.

    Raises BootError if they contradict one another.
    """
    said = {name: environ.pop(name) for name in _LISTEN if name in environ}
    if said.get("LISTEN_PID") != str(pid):
        return []
    count = _number(said, "LISTEN_FDS")
    names = said.get("LISTEN_FDNAMES", "").split(":") if "LISTEN_FDNAMES" in said and count else ["unknown"] * count
    if len(names) != count:
        raise BootError(f"LISTEN_FDS is {count} and LISTEN_FDNAMES has {len(names)} names: both must be of one start")
    return [PassedFd(FIRST_FD + at, name) for at, name in enumerate(names)]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BootError(f'{name} is "{text}", which is no number: it is systemd\'s to set, not yours')
    return int(text)


# When to feed the watchdog


class Watchdog:
    """Says when WATCHDOG=1 is due: only while whoever asks turns its loop, and a worker that accepts has lived lately.

    A sign of life counts for a quarter of the interval, and one is sent as often. So a feed is at most a quarter old
    when nothing lives any more, and workers that hang have half of the interval to be found and replaced
    (`supervisor/hangs.py`) before the supervisor is killed for it.
    """

    def __init__(self, interval_ns: int) -> None:
        self._share_ns = interval_ns // 4
        self._fed_ns = 0

    def due(self, now_ns: int, newest_beat_ns: int) -> bool:
        """`newest_beat_ns` is the youngest heartbeat of a worker that accepts, or 0. True: feed it now."""
        if now_ns - self._fed_ns < self._share_ns or now_ns - newest_beat_ns > self._share_ns:
            return False
        self._fed_ns = now_ns
        return True


EXTEND_EVERY_NS = NS_PER_S
EXTENSION_NS = 15 * NS_PER_S
"""Asked for while it starts, reloads or stops: its own deadlines (`server.boot_seconds`, `server.drain_seconds`) are
the ones that count; a supervisor that hangs meanwhile is killed so much later."""
