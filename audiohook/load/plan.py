"""The plan of a run: who calls when, at which phase of the packet clock, and what is played. PURE: integers only.

Knows neither sockets nor audio; of a clip it knows the number of packets. Times are nanoseconds after the run's epoch.

Invariants (tests/unit/test_load_plan.py):

- every call belongs to one process, and the processes' shares differ by at most one call;
- connects are spread evenly over the ramp; the phases of all calls, and so those of each process, are spread evenly
  over one packet interval: sending in bursts would measure the queue that the client itself has made;
- calls come in pairs, inbound and outbound, with one call id: one WebSocket a direction;
- as long as there are at least as many packets as calls, no two calls begin at the same packet, so no two carry the
  same audio. Beyond that, calls with the same beginning go on in different orders.
"""

import hashlib
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import gcd

import msgspec

from audiohook.load.errors import LoadError
from audiohook.units import NS_PER_S

MAX_CALLS = 20_000
MAX_SECONDS = 86_400
WATCHED_CALLS = 16
"""Calls whose packets are watched one by one for the publish latency: each costs a reader of its own."""

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: multiples of it, modulo anything, stay far apart from one another."""

WORD = (1 << 64) - 1


class PlannedCall(msgspec.Struct, frozen=True):
    """One call: its place, its names, and its times. `phase_ns` is its packets' place within the packet interval."""

    index: int
    process: int
    connect_ns: int
    phase_ns: int
    call_id: str
    session_id: str
    participant_id: str
    direction: str

    def first_due_ns(self, open_ns: int, packet_ns: int) -> int:
        """Return when the first packet is due: the next instant of this call's phase after it was opened.

        Counted from the opening and not from the plan, so that a server that is slow to answer gets no burst to catch
        up.
        """
        return open_ns + (self.phase_ns - open_ns) % packet_ns


class Playlist(msgspec.Struct, frozen=True):
    """What one call plays: the clips in `order`, over and over, at first from `first_packet` of the first one on."""

    order: tuple[int, ...]
    first_packet: int


class Plan(msgspec.Struct, frozen=True):
    """The whole run. `packets` is what each call sends, `watched` are the calls whose publish latency is taken."""

    run: str
    calls: tuple[PlannedCall, ...]
    processes: int
    packets: int
    packet_ns: int
    watched: tuple[int, ...]
    seed: int

    def of_process(self, process: int) -> tuple[PlannedCall, ...]:
        """Return the calls that `process` places."""
        return self.calls[process :: self.processes]


def make_plan(
    *, calls: int, seconds: float, processes: int, packet_ns: int, ramp_ns: int, token: bytes, seed: int
) -> Plan:
    """Return the plan of `calls` calls of `seconds` each, placed by `processes` processes within `ramp_ns`.

    `token` (any bytes, new for every run) makes the run's names; `seed` chooses the audio. Out of bounds: LoadError.
    """
    if not 1 <= calls <= MAX_CALLS:
        raise LoadError(f"calls = {calls}: wanted 1 to {MAX_CALLS}")
    if not 0 < seconds <= MAX_SECONDS:
        raise LoadError(f"seconds = {seconds}: wanted more than 0, at most {MAX_SECONDS}")
    packets = max(1, round(seconds * NS_PER_S) // packet_ns)
    processes = min(processes, calls)
    run = f"load-{hashlib.blake2b(token, digest_size=6).hexdigest()}"
    planned = tuple(
        PlannedCall(
            index=index,
            process=index % processes,
            connect_ns=index * ramp_ns // calls,
            phase_ns=index * packet_ns // calls,
            call_id=_call_id(token, index // 2),
            session_id=run,
            participant_id=f"{run}-{index}",
            direction="outbound" if index % 2 else "inbound",
        )
        for index in range(calls)
    )
    count = min(calls, WATCHED_CALLS)
    watched = tuple(place * calls // count for place in range(count))
    return Plan(run, planned, processes, packets, packet_ns, watched, seed)


def playlist(index: int, clip_packets: Sequence[int], seed: int) -> Playlist:
    """Return what call `index` plays from clips of `clip_packets` packets each (every one ≥ 1)."""
    ends = list(accumulate(clip_packets))
    start = (_mixed(seed) + index * _stride(ends[-1])) % ends[-1]
    first = bisect_right(ends, start)
    rest = [clip for clip in range(len(clip_packets)) if clip != first]
    state = _mixed(seed ^ _mixed(index + 1))
    for place in range(len(rest) - 1, 0, -1):
        state = _mixed(state)
        other = state % (place + 1)
        rest[place], rest[other] = rest[other], rest[place]
    return Playlist((first, *rest), start - (ends[first] - clip_packets[first]))


def played(clips: Sequence[Sequence[bytes]], what: Playlist) -> Iterator[bytes]:
    """Yield, without end, the items of `clips` (a clip is a sequence of them) in the order that `what` says."""
    first = what.first_packet
    while True:
        for clip in what.order:
            yield from clips[clip][first:]
            first = 0


def _call_id(token: bytes, pair: int) -> str:
    digest = hashlib.blake2b(token + pair.to_bytes(8, "big"), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


def _stride(total: int) -> int:
    """Return a step near the golden section of `total` that visits every place of it before it comes back."""
    step = max(1, total * GOLDEN >> 64)
    while gcd(step, total) != 1:
        step += 1
    return step


def _mixed(state: int) -> int:
    """Return the next number of the splitmix64 sequence: an even spread, the same on every machine."""
    state = (state + GOLDEN) & WORD
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
    return state ^ (state >> 31)
