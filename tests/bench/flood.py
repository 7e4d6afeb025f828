"""So many calls that all talk at once when they are told to: more than a worker can take, if it is to be.

`python -m tests.bench.flood HOST PORT CALLS` connects them, silent, and says `ready`; with a line on its standard input
every call sends a packet of 20 ms every 20 ms, until that ends; then it says in JSON what it did. In this order, since
a worker that is full refuses new calls: with `audiohook-load` one never gets past the edge.

Nothing is read: pings of the daemon must be rarer than a run is long (`context.heartbeat_ms`).
"""

import json
import select
import socket
import sys
import time

from audiohook.units import NS_PER_MS
from audiohook.wire.client import masked_frame
from tests.support.peer import MASK, SCRIPTS, call, packets_of

PACKET_NS = 20 * NS_PER_MS
SLICES = 20
"""Of the calls, sent one after another within the 20 ms: calls do not speak in chorus."""


def main(host: str, port: int, calls: int) -> None:
    scripts = [[masked_frame(packet, MASK) for packet in packets_of(number)] for number in range(SCRIPTS)]
    sockets = []
    for _ in range(calls):
        connected = call((host, port)).socket
        connected.setblocking(False)
        sockets.append(connected)
    slices = [list(enumerate(sockets))[part::SLICES] for part in range(SLICES)]
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(talk(slices, scripts)), flush=True)


def talk(slices: list[list[tuple[int, socket.socket]]], scripts: list[list[bytes]]) -> dict[str, float]:
    """Send until standard input ends. `late`: by how much the latest slice was, in milliseconds."""
    sent = unsent = tick = late_ns = 0
    began_ns = time.monotonic_ns()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for part, calls in enumerate(slices):
            due_ns = began_ns + tick * PACKET_NS + part * PACKET_NS // SLICES
            now_ns = time.monotonic_ns()
            if now_ns < due_ns:
                time.sleep((due_ns - now_ns) / 1e9)
            late_ns = max(late_ns, now_ns - due_ns)
            for number, connected in calls:
                script = scripts[number % SCRIPTS]
                frame = script[(tick + number) % len(script)]
                try:
                    # A frame that went in part would break the next one: the kernel has room for a second of them.
                    assert connected.send(frame) == len(frame)
                    sent += 1
                except BlockingIOError:
                    unsent += 1
        tick += 1
    seconds = (time.monotonic_ns() - began_ns) / 1e9
    return {"sent": sent, "unsent": unsent, "late_ms": late_ns / 1e6, "seconds": seconds}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
