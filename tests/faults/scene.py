"""What rows have in common: a daemon of four workers, and what is to be found of its calls when all is over."""

import time
from pathlib import Path
from typing import Any

from audiohook.memory import layout
from tests.faults.live import Told
from tests.faults.outcome import Outcome
from tests.support.daemon import Daemon, descriptors, link

WORKERS = 4
A_PROCESSOR_EACH = 0
"""As many workers as processors, the default: where what is timed is the workers' and not that of who waits for one."""
SPARE_STREAMS = 64
"""Newcomers end at once, but their places are taken by the next only when no other is free."""

PATIENCE: list[str] = []
"""Settings for every daemon, behind a row's own. Where only counts matter, workers get time: there may be little."""

STALE_NS = 250_000_000


def daemon_for(calls: int, *settings: str, workers: int = WORKERS, **options: Any) -> Daemon:
    """Return a daemon, to be entered, that has room for so many calls and some more."""
    sizes = f"server.workers={workers}", f"memory.streams={calls + SPARE_STREAMS}"
    return Daemon(*sizes, *settings, *PATIENCE, **options)


def accepting(daemon: Daemon) -> dict[int, int]:
    """Return the pid of every worker that accepts and whose loop turns, by row."""
    rows = zip(daemon.row("pid"), daemon.row("state"), daemon.row("heartbeat_ns"), strict=True)
    now_ns = time.monotonic_ns()
    return {
        row: pid
        for row, (pid, state, beat_ns) in enumerate(rows)
        if pid and state == layout.ROW_ACCEPTING and now_ns - beat_ns < STALE_NS
    }


def wait_workers(daemon: Daemon, count: int, without: int = 0) -> float:
    """Wait until so many workers accept, none of them of this pid; return when that was."""

    def there() -> float:
        pids = accepting(daemon).values()
        return time.monotonic() if len(pids) == count and without not in pids else 0.0

    return daemon.wait(there, f"{count} workers that accept")


def streams_of(daemon: Daemon, row: int) -> dict[str, int]:
    """Return the live streams of a worker: their length so far, in frames, by stream id."""
    streams = [stream for stream in daemon.hub.streams() if stream.card()["row"] == row]
    return {stream.stream_id: stream.totals.length for stream in streams}


def lengths(daemon: Daemon, streams: dict[str, int]) -> dict[str, int]:
    """Return the present length of each of these streams, also of those that are over."""
    return {one.stream_id: one.totals.length for one in daemon.hub.streams(ended=True) if one.stream_id in streams}


def accepted_ports(pid: int) -> set[int]:
    """Return the peers' ports of every connection that a process holds: what it has taken out of the queue."""
    inodes = {link(pid, fd)[len("socket:[") : -1] for fd in descriptors(pid) if link(pid, fd).startswith("socket:[")}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(fields[2].rpartition(":")[2], 16) for fields in lines if fields[9] in inodes}


def cpu_ns(pid: int) -> int:
    """Return how long a process of one thread has run in its life: exact, where /proc/PID/stat counts ticks."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def judge_calls(outcome: Outcome, told: Told, victims: dict[str, int] | None = None) -> None:
    """Find: all but `victims` were read back sample for sample; of those, all that they had when they ended.

    `victims` are the lengths, by stream id, that their worker had published when it stopped.
    """
    hit = victims or {}
    imperfect = told.imperfect
    others = [one for one in imperfect if one not in hit]
    outcome.lost.update(told.lost(others))
    outcome.own.update(told.lost(one for one in imperfect if one in hit))
    wrong = [one for one in others if not accounted_for(imperfect[one])]
    outcome.count(not wrong, f"{len(wrong)} calls that were not hit are not as they were sent")
    # Of time: a worker that gets too little of a processor may be too late, and then says so.
    outcome.timed(not outcome.lost["dropped"], f"{outcome.lost['dropped']} frames of others were dropped")
    read = told.perfect + len(imperfect)
    outcome.count(read == outcome.calls, f"{read} of {outcome.calls} calls were read back")
    unread = [
        one
        for one, length in hit.items()
        if one in imperfect and not imperfect[one]["verified"] == imperfect[one]["length"] == length
    ]
    outcome.count(
        not unread, f"{len(unread)} of {len(hit)} streams that were hit are not readable to their last commit"
    )
    served = told.endings.get("interrupted", 0) + told.endings.get("completed", 0)
    # Not "==": among the hit are streams of newcomers, who are none of the calls.
    outcome.count(outcome.calls - len(hit) <= served <= outcome.calls, f"calls ended so: {told.endings}")
    outcome.void = outcome.void or told.late


def accounted_for(verdict: dict[str, Any]) -> bool:
    """Return whether a stream is, sample for sample, what was sent, but for what it says was dropped."""
    wrong = ("missing", "missing_tail", "different", "repeated", "surplus")
    return not any(verdict[name] for name in wrong) and set(verdict["gap_frames"]) <= {"dropped"}


def judge_log(outcome: Outcome, daemon: Daemon, before: list[str], kinds: int) -> None:
    """Find: since then the log has grown by no more than a line a worker and kind, and one more a minute.

    What it has of calls that come, go and are parked is one line each, and does not count.
    """
    lines = unusual_lines(daemon)[len(before) :]
    most = 2 * kinds * WORKERS
    shown = lines[0].partition(" ")[2].partition(" ")[2] if lines else ""
    outcome.count(len(lines) <= most, f"the log has {len(lines)} lines of it: {shown}")


def unusual_lines(daemon: Daemon) -> list[str]:
    """Return the log's lines, but for those of calls that come and go."""
    return [line for line in daemon.log.splitlines() if " stream " not in line]
