"""How soon a worker whose core is full answers: `open` to `opened`, `ping` to `pong`.

    .venv/bin/python -m tests.bench.answers [--calls 1400] [--opens 1000] [--overload-ms 300] [--json]

One worker, pinned to a core, is sent more packets than it can decode (`flood.py`, on the other cores), and sheds. A
worker in that state refuses new calls with 503, so the connections whose `open` is timed were upgraded before; each
then pings as Genesys does, 1 s after `opened`, at the pong, and every 5 s, which is timed too. All of it is this
process' view: what it was itself late by is told beside. `tests/latency/run.py` asks the same of a daemon that is not
full, with readers that stand still. Exit status 1 if a p99.9 misses its target, an answer was wrong, or the run is
void: the worker had not all of its core to do, or the flood was late.
"""

import argparse
import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from audiohook.session.audiohook2_client import AudioHook2Client
from audiohook.units import NS_PER_S
from tests.latency.opens import quantile_ms
from tests.support.daemon import ROOT, Daemon, cpu_seconds
from tests.support.genesys import Genesys

TARGET_MS = 100.0
OPENS_A_SECOND = 50
PINGED_NS = 6 * NS_PER_S
"""How long after its `opened` the last session is watched: three pings."""

SPARE = 64
FULL_SHARE, FLOOD_LATE_MS = 0.9, 200.0
"""Less of its core than this, and the worker was not full; a flood later than this stood still, then came at once."""

RAMP_S = 2.0
"""For the worker to find out that it is overloaded."""

SHARES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))


@dataclass
class Answers:
    """What was measured, in nanoseconds. `late`: how much later than planned this process sent an `open`."""

    opens: list[int] = field(default_factory=list)
    pings: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Session:
    """One session of `audiohook2`: upgraded at first, and timed from its `open` on."""

    def __init__(self, address: tuple[str, int], answers: Answers) -> None:
        self.genesys = Genesys(address)
        assert self.genesys.upgrade().accepted
        self._answers = answers
        self._asked_ns = 0
        self._rtt_ns: int | None = None

    def open(self) -> None:
        genesys = self.genesys
        self._asked_ns = time.monotonic_ns()
        genesys.client = AudioHook2Client(genesys.caller, self._asked_ns)  # its patience begins now
        genesys.flush()

    def turn(self) -> None:
        """Take what has come, and what there is to say about it."""
        client = self.genesys.client
        was_open, pongs = client.opened, self._pongs
        self.genesys.turn()
        if client.opened and not was_open:
            self._answers.opens.append(time.monotonic_ns() - self._asked_ns)
        if self._pongs > pongs and client.rtt_ns is not None:
            self._answers.pings.append(client.rtt_ns)

    def look(self, now_ns: int) -> None:
        """Ping if it is time."""
        if now_ns >= self.genesys.client.deadline_ns:
            self.genesys.client.on_deadline(now_ns)
            self.genesys.flush()

    @property
    def _pongs(self) -> int:
        return sum(type(message).__name__ == "Pong" for message in self.genesys.client.received)


@contextmanager
def flood(daemon: Daemon, calls: int, report: dict[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    """Connect so many calls; they talk from the first line on that is written, and `report` is filled at the end."""
    host, port = daemon.address
    command = ["nice", "-n", "5", sys.executable, "-m", "tests.bench.flood", host, str(port), str(calls)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", "the flood did not get through"
        yield process
        output, _ = process.communicate(timeout=60)
        report.update(json.loads(output))
    finally:
        process.kill()
        process.wait()


def measure(sessions: list[Session], answers: Answers, opens_a_second: float, pinged_ns: int) -> None:
    """Open all sessions, evenly, let each ping, and go on for `pinged_ns` behind the last `opened`."""
    step_ns = round(NS_PER_S / opens_a_second)
    began_ns = time.monotonic_ns()
    waiting = list(enumerate(sessions))
    opened: list[Session] = []
    end_ns = began_ns + len(sessions) * step_ns + pinged_ns
    with selectors.DefaultSelector() as selector:
        while (now_ns := time.monotonic_ns()) < end_ns:
            while waiting and now_ns >= began_ns + waiting[0][0] * step_ns:
                number, session = waiting.pop(0)
                answers.late.append(now_ns - began_ns - number * step_ns)
                session.open()
                selector.register(session.genesys.socket, selectors.EVENT_READ, session)
                opened.append(session)
            for key, _ in selector.select(0.002):
                key.data.turn()
            now_ns = time.monotonic_ns()
            for session in opened:
                session.look(now_ns)
    answers.faults += [fault for session in sessions for fault in session.genesys.client.faults]


def run(calls: int, opens: int, *settings: str, pinged_ns: int = PINGED_NS, ramp_s: float = RAMP_S) -> dict[str, Any]:
    """Measure, and return everything that is told."""
    answers, flooded = Answers(), dict[str, Any]()
    room = (
        "server.workers=1",
        f"memory.streams={calls + opens + SPARE}",
        "memory.ring_seconds=1",
        "audiohook2.open_seconds=600",
        f"admission.waiting_per_worker={opens + SPARE}",
        "context.heartbeat_ms=600000",
    )
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(*room, *settings)).wait_ready()
        (worker,) = daemon.workers().values()
        apart = stack.enter_context(core_of_its_own(worker))
        driver = stack.enter_context(flood(daemon, calls, flooded))
        sessions = [Session(daemon.address, answers) for _ in range(opens)]
        for session in sessions:
            stack.callback(session.genesys.socket.close)
        assert driver.stdin is not None
        driver.stdin.write("go\n")
        driver.stdin.flush()
        time.sleep(ramp_s)  # the load is what is measured, and it is not there at once
        cpu_s, began_s, before = cpu_seconds(worker), time.monotonic(), daemon.counters()
        measure(sessions, answers, OPENS_A_SECOND, pinged_ns)
        seconds = time.monotonic() - began_s
        done = daemon.counters() - before
        busy = (cpu_seconds(worker) - cpu_s) / seconds
    figures = {"calls": calls, "busy": round(busy, 3), "own_core": apart, "seconds": round(seconds, 1)}
    return told(answers, figures, done, flooded)


@contextmanager
def core_of_its_own(worker: int) -> Iterator[bool]:
    """Give the worker the first core, and everybody else of ours the others; False where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(worker, cores[:1])
        os.sched_setaffinity(0, cores[1:])
    try:
        yield len(cores) > 1
    finally:
        os.sched_setaffinity(0, cores)


def told(answers: Answers, figures: dict[str, Any], done: Counter[str], flooded: dict[str, Any]) -> dict[str, Any]:
    """Return the figures as plain values."""
    times = {"open": answers.opens, "ping": answers.pings, "late": answers.late}
    return {
        **figures,
        "packets": done["packets"],
        "shed": done["shed_messages"],
        "flood": flooded,
        "asked": len(answers.late),
        "opens": len(answers.opens),
        "pings": len(answers.pings),
        "faults": dict(Counter(answers.faults)),
        "milliseconds": {
            name: {label: round(quantile_ms(each, share), 2) for label, share in SHARES}
            for name, each in times.items()
            if each
        },
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as lines."""
    share = found["shed"] / max(1, found["packets"])
    alone = "a core of its own" if found["own_core"] else "A CORE THAT IT SHARES WITH WHAT MEASURES IT"
    came = f"{found['packets'] / found['seconds']:,.0f} packets/s came, {share:.0%} were shed"
    lines = [
        f"{found['calls']:,} calls of 20 ms Opus, a worker on {alone}, {found['busy']:.0%} busy; {came}",
        f"{'milliseconds':<24}" + "".join(f"{label:>9}" for label, _ in SHARES) + f"{'of':>9}",
    ]
    names = {"open": ("open to opened", "opens"), "ping": ("ping to pong", "pings"), "late": ("late here", "opens")}
    for name, times in found["milliseconds"].items():
        label, count = names[name]
        lines.append(f"{label:<24}" + "".join(f"{times[one]:>9.2f}" for one, _ in SHARES) + f"{found[count]:>9,}")
    lines += [f"fault: {count} × {fault}" for fault, count in found["faults"].items()]
    lines += [f"VOID: {why}" for why in voids(found)]
    return "\n".join(lines)


def voids(found: dict[str, Any]) -> list[str]:
    """Return why the figures say nothing of a full worker, in words; empty if they do."""
    why = []
    if found["busy"] < FULL_SHARE:
        why.append(f"the worker was {found['busy']:.0%} busy: more --calls, or others have used its core")
    if found["flood"]["late_ms"] > FLOOD_LATE_MS:
        why.append(f"the flood was late by {found['flood']['late_ms']:.0f} ms")
    return why


def misses(found: dict[str, Any]) -> bool:
    """Return whether a target is missed, an answer was wrong, or one did not come."""
    late = any(found["milliseconds"].get(name, {"p99.9": TARGET_MS})["p99.9"] >= TARGET_MS for name in ("open", "ping"))
    incomplete = found["opens"] < found["asked"]
    return bool(found["faults"] or voids(found)) or late or incomplete


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.answers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--calls", type=int, default=1400, help="calls that talk: more than a core takes")
    parser.add_argument("--opens", type=int, default=1000, help="sessions of audiohook2 to open")
    parser.add_argument("--overload-ms", type=int, help="server.overload_ms; default: the daemon's")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    settings = () if given.overload_ms is None else (f"server.overload_ms={given.overload_ms}",)
    output, sys.stdout = sys.stdout, sys.stderr  # the daemon's log, when it ends
    try:
        found = run(given.calls, given.opens, *settings)
    finally:
        sys.stdout = output
    print(json.dumps(found, indent=2) if given.json else table(found))
    return 1 if misses(found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
