"""`opened` comes from the socket's own worker, whatever else stands still: readers, clients of the hub, and the desk.

A short run of `python -m tests.latency.run`: every opening is answered and nobody's call suffers. How soon is measured
there, on a machine that has nothing else to do; an upper bound here would only measure the other tests.
"""

import signal
from collections.abc import Callable

from tests.latency.background import all_at_once
from tests.latency.opens import measure
from tests.support.daemon import Daemon, kill

CALLS = {"context": 10, "audiohook2": 40}
OPENS = 100


def test_every_open_is_answered_while_all_readers_stand_still(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon("memory.streams=64")
    with all_at_once(daemon, CALLS, readers=3) as live:
        desk = daemon.desk()
        kill(desk, signal.SIGSTOP)
        packets = daemon.counter("packets")
        times = measure(daemon.address, OPENS, list(daemon.workers().values()))
        assert len(times.open) == OPENS
        assert not times.faults
        daemon.wait(lambda: daemon.counter("packets") > packets + 1000, "the live calls' packets")
        assert daemon.slot_states()["LIVE"] == sum(CALLS.values())
        kill(desk, signal.SIGCONT)
        for each in live:
            each.finish()
    assert daemon.counter("streams_opened") == sum(CALLS.values()) + OPENS
    daemon.wait(lambda: daemon.counter("streams_ended") == sum(CALLS.values()) + OPENS, "the end of every stream")
    assert daemon.counter("concealed_packets") == 0
    assert daemon.stop() == 0
