"""`audiohook-record`: writes every call to a WAV file, with a verdict as JSON beside it.

Follows the daemon: when it was restarted there is new memory behind the same hub, which is recorded as well, while
workers that an old daemon left behind are recorded to their end. A thread for each such memory, and one that looks.

Exit status: 0 after SIGTERM or SIGINT, with every file complete; 1 if no hub answers at the start; 2 for options or a
folder that cannot be used; 3 if recording failed (the log says why).
"""

import argparse
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence

import audiohook
from audiohook.control.attachment import find_hub
from audiohook.errors import AudiohookError, ConfigError
from audiohook.net.descriptors import raise_descriptor_limit
from audiohook.net.signals import SignalInbox
from audiohook.sinks.naming import DEFAULT_PATTERN, FIELDS
from audiohook.sinks.recorder import Recorder
from audiohook.sinks.verdict import IDENTITIES

NO_HUB = 1
BAD_OPTIONS = 2
FAILED = 3
LOOK_SECONDS = 1.0
STOPPED_BY = frozenset({signal.SIGTERM, signal.SIGINT})
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"

log = logging.getLogger("audiohook.record")


class Following:
    """The hubs that are recorded, each in a thread: one as a rule, an old and a new one after a daemon was replaced."""

    def __init__(self, recorder: Recorder, path: str | None) -> None:
        self._recorder = recorder
        self._path = path
        self._threads: dict[audiohook.Hub, threading.Thread] = {}
        self._socket: tuple[int, int] | None = None
        self.failed = False

    def look(self) -> None:
        """Attach if another daemon has taken the hub's name, or if none is recorded. Raises HubUnavailable."""
        self._threads = {hub: thread for hub, thread in self._threads.items() if thread.is_alive()}
        path = find_hub(self._path)
        socket = _identity_of(path)
        if self._threads and socket in (None, self._socket):
            return
        hub = audiohook.attach(path)
        self._socket = socket
        if any(hub.arena.arena_id == known.arena.arena_id for known in self._threads):
            hub.close()
            return
        thread = threading.Thread(target=self._record, args=(hub,), name="audiohook-record")
        self._threads[hub] = thread
        thread.start()

    def stop(self) -> None:
        """Let every file be completed, and wait for that."""
        for hub in self._threads:
            hub.stop_following()
        for thread in self._threads.values():
            thread.join()

    def _record(self, hub: audiohook.Hub) -> None:
        try:
            with hub:
                log.info("attached to %s", hub.path)
                self._recorder.record(hub)
        except Exception:
            log.exception("recording failed")
            self.failed = True


def _identity_of(path: str) -> tuple[int, int] | None:
    """Return what tells a daemon's socket from its successor's of the same name, None while there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    try:
        recorder = Recorder(given.dir, given.pattern, _matches(given.match))
    except ConfigError as error:
        print(f"audiohook-record: {error}", file=sys.stderr)
        return BAD_OPTIONS
    raise_descriptor_limit()
    # Not blocked and awaited: NumPy's library starts threads when it is imported, which would not block them. A signal
    # that comes while the main thread looks would end the process in one of those (tests/process/test_record.py).
    signals = SignalInbox()
    signals.install(STOPPED_BY)
    following = Following(recorder, given.hub)
    try:
        following.look()
    except AudiohookError as error:
        print(f"audiohook-record: {error}", file=sys.stderr)
        return NO_HUB
    while not following.failed and not select.select([signals], [], [], LOOK_SECONDS)[0]:
        try:
            following.look()
        except audiohook.HubUnavailable:
            pass  # a daemon is starting, or will: the next look finds it
        except AudiohookError as error:
            log.error("%s", error)
            following.failed = True
    following.stop()
    recorder.close()
    signals.restore()
    return FAILED if following.failed else 0


def _matches(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for key, equals, _ in pairs:
        if not equals:
            raise ConfigError("command line", "--match", key, "it takes KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audiohook-record", description="Writes every call of audiohookd to a WAV file, its verdict beside it."
    )
    parser.add_argument("--hub", metavar="PATH", help="the hub.sock (default: AUDIOHOOK_HUB, else the usual places)")
    parser.add_argument("--dir", metavar="DIR", default="recordings", help="the folder; default: recordings")
    parser.add_argument(
        "--pattern",
        default=DEFAULT_PATTERN,
        help=f"name below the folder; it may have {', '.join(FIELDS)} in braces; default: {DEFAULT_PATTERN}",
    )
    parser.add_argument(
        "--match",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=f"only streams with this value, given again for more conditions; KEY is one of {', '.join(IDENTITIES)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
