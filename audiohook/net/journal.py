"""Log lines for the journal, with fields of their own: CALL_ID, STREAM, WORKER_ROW, REASON.

    journalctl -u audiohookd CALL_ID=…        all that was ever said of one call

`begin_logging` chooses: if standard error *is* the journal (JOURNAL_STREAM names its device and inode,
systemd.exec(5)), lines go to the journal's own socket in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), else
to standard error as text. The fields are taken from the log call and never from the finished text, where a peer's words
could look like one: of "stream=%s" the name stands in the format, which is ours, and the value is the argument. Lines
that are put together elsewhere say `extra={"fields": {...}}`.

Never waits: when the journal takes nothing, lines are dropped and counted, and the next line that gets through is
followed by one that says how many. Knows no call and no worker: `note_row` is told.
"""

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TextIO

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
JOURNAL_SOCKET = "/run/systemd/journal/socket"

FIELDS = {
    "stream": "STREAM",
    "call": "CALL_ID",
    "row": "WORKER_ROW",
    "of_row": "WORKER_ROW",
    "reason": "REASON",
}
"""Name in a log line -> field of the journal. `of_row` comes after `row` where both are there."""

_CONVERSION = re.compile(r"(?:\b([a-z_]+)=)?%(?:%|[-+ #0-9.]*[a-zA-Z])")
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

_row: int | None = None


def note_row(row: int) -> None:
    """Say of which worker this process is: the WORKER_ROW of all its lines that name no other."""
    global _row
    _row = row


def begin_logging(level: str) -> None:
    """Have the process' log lines of at least this level written, to the journal or to standard error."""
    # Nothing shows them, and every call has two lines (the manual's logging, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # nor looks for the line that logs
    text = logging.StreamHandler(sys.stderr)
    text.setFormatter(TextFormatter(LOG_FORMAT))
    handler = JournalHandler(text) if is_journal(os.environ, sys.stderr) else text
    logging.basicConfig(level=level.upper(), handlers=[handler])


def set_log_level(level: int) -> None:
    """Have lines of at least this level written from now on. Costs next to nothing where that is so already."""
    root = logging.getLogger()
    if root.level != level:
        root.setLevel(level)


class TextFormatter(logging.Formatter):
    """Shows the time as logging's own does, and asks for the local time once a second, not once a line."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format)
        self._second = (-1, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second, text = self._second
        if second != int(record.created):
            second = int(record.created)
            text = time.strftime(self.default_time_format, self.converter(second))
            self._second = second, text
        return f"{text},{int(record.msecs):03}"


def is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Return whether what is written to `stream` goes to the journal, by systemd's word."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the journal's fields of one log call."""
    found: dict[str, str] = {} if _row is None else {"WORKER_ROW": str(_row)}
    given = getattr(record, "fields", None)
    pairs = given.items() if isinstance(given, Mapping) else _pairs(record)
    for name, value in pairs:
        if name in FIELDS:
            found[FIELDS[name]] = str(value)
    return found


def _pairs(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    arguments = record.args if isinstance(record.args, tuple) else ()
    if arguments:
        # As many as both have: a record that says less than its format is logging's to complain of.
        yield from ((name, value) for name, value in zip(_names(str(record.msg)), arguments, strict=False) if name)


@lru_cache(maxsize=256)
def _names(text_format: str) -> tuple[str, ...]:
    """Return the name before each conversion of a format, "" where there is none. Formats are ours, and few."""
    found = _CONVERSION.finditer(text_format)
    return tuple(conversion[1] or "" for conversion in found if not conversion[0].endswith("%%"))


def encode(fields: Mapping[str, str]) -> bytes:
    """Return a datagram in the native protocol. A value with line breaks is sent with its length before it."""
    parts = []
    for name, value in fields.items():
        data = value.encode(errors="replace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


class JournalHandler(logging.Handler):
    """Sends records to the journal's socket; what it refuses for another reason than haste goes to `fallback`."""

    def __init__(self, fallback: logging.Handler, path: str = JOURNAL_SOCKET) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self._fallback = fallback
        self._path = path
        self._dropped = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
            self._send(text, priority, fields_of(record))
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._send(f"the journal took no lines for a while: dropped={dropped}", 4, {})
        except BlockingIOError:
            self._dropped += 1
        except OSError:
            self._fallback.handle(record)
        except Exception:
            self.handleError(record)

    def _send(self, text: str, priority: int, fields: Mapping[str, str]) -> None:
        said = {"MESSAGE": text, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": "audiohookd", **fields}
        self._socket.sendto(encode(said), self._path)

    def close(self) -> None:
        self._socket.close()
        super().close()
