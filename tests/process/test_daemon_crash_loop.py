"""A worker that dies again and again: the others serve everybody, and it is left more and more time between."""

import signal
from collections.abc import Callable

from tests.support.daemon import Daemon, kill
from tests.support.peer import call

StartDaemon = Callable[..., Daemon]

DEATHS = 5


def test_one_of_four_that_loops_keeps_nobody_waiting(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("server.workers=4", "memory.streams=64")
    others = {row: pid for row, pid in daemon.workers().items() if row}
    placed = 0
    while len(daemon.logged("worker 0 was killed")) < DEATHS:
        pid = daemon.workers().get(0)
        if pid is not None:
            kill(pid, signal.SIGKILL)
            daemon.wait(lambda died=pid: daemon.workers().get(0) != died, "the mark on it")
        call(daemon.address).close()  # answered by another: row 0 has no worker, or one that has just begun
        placed += 1
    assert {row: pid for row, pid in daemon.workers().items() if row} == others
    waits = [match[1] for match in daemon.logged(r"worker 0 is restarted in (\S+) s")]
    assert waits == ["0.25", "0.5", "1", "2"][: len(waits)]
    assert len(waits) >= DEATHS - 2
    assert daemon.counter("streams_opened") == placed
    assert daemon.stop() == 0


def test_while_no_worker_serves_the_next_attempt_is_a_second_away_at_most(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("server.workers=1")
    for death in range(1, DEATHS + 1):
        pid = daemon.wait(lambda: daemon.workers().get(0), "a worker")
        kill(pid, signal.SIGKILL)
        daemon.wait_logged("worker 0 was killed", death)
    daemon.wait_logged("worker 0 is restarted", DEATHS - 1)
    with call(daemon.address) as peer:
        peer.close()
    waits = [match[1] for match in daemon.logged(r"worker 0 is restarted in (\S+) s")]
    assert waits == ["0.25", "0.5", "1", "1"]
    assert daemon.stop() == 0
