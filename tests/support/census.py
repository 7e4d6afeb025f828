"""What a daemon has before a test and must have after it: slots, descriptors, live counts; and what it counted."""

from collections import Counter

from audiohook.errors import CLOSURES, REFUSALS
from tests.support.daemon import Daemon

SLOTS = 8
MESSAGE_BYTES = 2000
REQUEST_BYTES = 2048
LIMITS = (
    f"memory.streams={SLOTS}",
    f"context.max_message_bytes={MESSAGE_BYTES}",
    f"http.max_request_bytes={REQUEST_BYTES}",
    "http.max_headers=20",
    "http.request_seconds=1",
    "context.reconnect_seconds=0",
)

SLUGS = {answer.slug for answer in (*REFUSALS, *CLOSURES)}


class Census:
    """What there was before a test; afterwards there is as much of it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._descriptors = daemon.descriptors_of_all()
        self._counters = daemon.counters()
        self._workers = daemon.workers()

    def counted(self) -> Counter[str]:
        """Return what was refused or closed since, by slug, once every connection is gone."""
        daemon = self._daemon
        daemon.wait(lambda: daemon.live() == 0, "the end of every connection")
        return Counter({name: count for name, count in (daemon.counters() - self._counters).items() if name in SLUGS})

    def check(self) -> None:
        daemon = self._daemon
        daemon.wait(lambda: daemon.live() == 0, "the end of every connection")
        assert daemon.row("live") == [0] * len(daemon.row("live"))
        assert daemon.workers() == self._workers
        assert daemon.locked_slots() == []
        assert not set(daemon.slot_states()) - {"FREE", "ENDED"}
        daemon.wait(lambda: daemon.descriptors_of_all() == self._descriptors, f"descriptors: {self._descriptors}")
        assert daemon.counter("internal_error") == 0
        assert daemon.counter("streams_opened") == daemon.counter("streams_ended")
        assert sorted(daemon.stream_lines("started")) == sorted(daemon.stream_lines("ended"))
        assert "Traceback" not in daemon.log
