"""`open` to `opened` with hundreds of calls live and every reader stopped; status 1 if p99.9 misses its target.

python -m tests.latency.run [--context 40] [--audiohook2 460] [--opens 2000] [--readers 8]
"""

import argparse
import os
import sys
import time

from tests.latency.background import all_at_once
from tests.latency.opens import Times, measure, quantile_ms
from tests.support.daemon import Daemon, cpu_seconds

TARGET_MS = 100.0
SPARE_STREAMS = 32


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.latency.run", description=__doc__)
    parser.add_argument("--context", type=int, default=40, help="live calls of context, 20 ms of Opus a packet")
    parser.add_argument(
        "--audiohook2", type=int, default=460, help="live calls of audiohook2, 200 ms of PCMU a message"
    )
    parser.add_argument("--opens", type=int, default=2000, help="openings to measure, one after another")
    parser.add_argument("--readers", type=int, default=8, help="reader processes, all of them stopped")
    given = parser.parse_args(arguments)
    calls = {"context": given.context, "audiohook2": given.audiohook2}
    streams = f"memory.streams={sum(calls.values()) + SPARE_STREAMS}"
    with Daemon(streams) as daemon:
        with all_at_once(daemon.wait_ready(), calls, given.readers) as live:
            print(f"{sum(calls.values())} live calls {calls}, {given.readers} readers stopped", flush=True)
            times = watched(daemon, given.opens)
            for each in live:
                for fault, count in each.finish()["faults"].items():
                    print(f"live calls: {count} x {fault}")
        assert daemon.stop() == 0
    return 1 if times.faults or quantile_ms(times.open, 0.999) >= TARGET_MS else 0


def watched(daemon: Daemon, opens: int) -> Times:
    """Measure, and print what came of it and what the workers did meanwhile."""
    pids = list(daemon.workers().values())
    packets, cpu_s, began_s = daemon.counter("packets"), sum(map(cpu_seconds, pids)), time.monotonic()
    times = measure(daemon.address, opens, pids)
    seconds = time.monotonic() - began_s
    packets, cpu_s = daemon.counter("packets") - packets, sum(map(cpu_seconds, pids)) - cpu_s
    print(
        f"{opens} opens in {seconds:.1f} s, beside {packets / seconds:,.0f} packets/s; {len(pids)} workers use "
        f"{cpu_s / seconds:.2f} processors of {len(os.sched_getaffinity(0))}; load average {os.getloadavg()[0]:.1f}"
    )
    for name, values in (("connect", times.connect), ("upgrade -> 101", times.upgrade), ("open -> opened", times.open)):
        print(f"{name:<15} ms", *(f"{label} {quantile_ms(values, share):8.2f}" for label, share in SHARES), flush=True)
    slowest = sorted(zip(times.open, times.waited, strict=True), reverse=True)[:5]
    told = ", ".join(f"{time_ns / 1e6:.1f} ({waited_ns / 1e6:.1f})" for time_ns, waited_ns in slowest)
    print(f"slowest ms, of which without a processor: {told}")
    for fault in times.faults:
        print(f"fault: {fault}")
    return times


SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
