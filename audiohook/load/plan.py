"""The plan of a run: who calls when, at which phase of the packet clock, and what is played. PURE: integers only.

Knows neither sockets nor audio; of a clip it knows the number of packets. Times are nanoseconds after the run's epoch.

Invariants (tests/unit/test_load_plan.py):

- every call belongs to one process, and the processes' shares differ by at most one call;
- connects are spread evenly over the ramp; the phases of all calls, and so those of each process, are spread evenly
  over one packet interval: sending in bursts would measure the queue that the client itself has made;
- calls of the dialect `context` come in pairs, inbound and outbound, with one call id: one WebSocket a direction;
  a call of `audiohook2` has both channels, so each has a call id of its own;
- as long as there are at least as many packets as calls, no two calls of a dialect begin at the same packet, so no two
  carry the same audio. Beyond that, calls with the same beginning go on in different orders.
"""

import hashlib
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import gcd

import msgspec

from audiohook.load.errors import LoadError
from audiohook.load.faults.planned import PlannedFault
from audiohook.session.audiohook2_terms import DIALECT as AUDIOHOOK2
from audiohook.session.context import DIALECT as CONTEXT
from audiohook.units import NS_PER_S

MAX_CALLS = 20_000
MAX_SECONDS = 86_400
DIALECTS = {"context": (CONTEXT,), "audiohook2": (AUDIOHOOK2,), "mixed": (CONTEXT, AUDIOHOOK2)}
"""What the calls of a run speak, in turn, by the name of the choice."""

WATCHED_CALLS = 16
"""Calls whose packets are watched one by one for the publish latency: each costs a reader of its own."""

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: multiples of it, modulo anything, stay far apart from one another."""

WORD = (1 << 64) - 1


class PlannedCall(msgspec.Struct, frozen=True):
    """One call: its place, its names, and its times. It sends `packets` of `packet_ns`; `phase_ns` is their place
    within that interval.

    `participant_id` is the name by which a stream in the shared memory is known to be this call's: new in each run.
    """

    index: int
    process: int
    dialect: str
    packet_ns: int
    packets: int
    connect_ns: int
    phase_ns: int
    call_id: str
    session_id: str
    participant_id: str
    direction: str

    def first_due_ns(self, open_ns: int) -> int:
        """Return when the first packet is due: the next instant of this call's phase after it was opened.

        Counted from the opening and not from the plan, so that a server that is slow to answer gets no burst to catch
        up.
        """
        return open_ns + (self.phase_ns - open_ns) % self.packet_ns


class Playlist(msgspec.Struct, frozen=True):
    """What one call plays: the clips in `order`, over and over, at first from `first_packet` of the first one on."""

    order: tuple[int, ...]
    first_packet: int


class Plan(msgspec.Struct, frozen=True):
    """The whole run. `watched` are the calls whose publish latency is taken.

    `faults` is what goes wrong, by call; `returns` are the connections with which calls come back (`faults/`).
    """

    run: str
    calls: tuple[PlannedCall, ...]
    processes: int
    watched: tuple[int, ...]
    seed: int
    faults: Mapping[int, PlannedFault] = {}
    returns: tuple[PlannedCall, ...] = ()

    def of_process(self, process: int) -> tuple[PlannedCall, ...]:
        """Return the calls that `process` places."""
        returns = (call for call in self.returns if call.process == process)
        return (*self.calls[process :: self.processes], *returns)


def make_plan(
    *,
    calls: int,
    seconds: float,
    processes: int,
    dialects: Sequence[str] = (CONTEXT,),
    packet_ns: Mapping[str, int],
    ramp_ns: int,
    token: bytes,
    seed: int,
) -> Plan:
    """Return the plan of `calls` calls of `seconds` each, placed by `processes` processes within `ramp_ns`.

    They speak `dialects` in turn, whose packets are `packet_ns` long. `token` (any bytes, new for every run) makes the
    run's names; `seed` chooses the audio. Out of bounds: LoadError.
    """
    if not 1 <= calls <= MAX_CALLS:
        raise LoadError(f"calls = {calls}: wanted 1 to {MAX_CALLS}")
    if not 0 < seconds <= MAX_SECONDS:
        raise LoadError(f"seconds = {seconds}: wanted more than 0, at most {MAX_SECONDS}")
    processes = min(processes, calls)
    run = f"load-{hashlib.blake2b(token, digest_size=6).hexdigest()}"
    planned = tuple(
        _planned(index, calls, dialects, packet_ns, seconds, processes, ramp_ns, run, token) for index in range(calls)
    )
    count = min(calls, WATCHED_CALLS)
    watched = tuple(place * calls // count for place in range(count))
    return Plan(run, planned, processes, watched, seed)


def _planned(
    index: int,
    calls: int,
    dialects: Sequence[str],
    packet_ns: Mapping[str, int],
    seconds: float,
    processes: int,
    ramp_ns: int,
    run: str,
    token: bytes,
) -> PlannedCall:
    rank, turn = divmod(index, len(dialects))
    dialect = dialects[turn]
    context = dialect == CONTEXT
    return PlannedCall(
        index=index,
        process=index % processes,
        dialect=dialect,
        packet_ns=packet_ns[dialect],
        packets=max(1, round(seconds * NS_PER_S) // packet_ns[dialect]),
        connect_ns=index * ramp_ns // calls,
        phase_ns=index * packet_ns[dialect] // calls,
        call_id=uuid_of(token, f"call {dialect} {rank // 2 if context else rank}"),
        session_id=run if context else uuid_of(token, f"session {index}"),
        participant_id=f"{run}-{index}" if context else uuid_of(token, f"participant {index}"),
        direction=("inbound", "outbound")[rank % 2] if context else "unknown",
    )


def playlist(index: int, clip_packets: Sequence[int], seed: int) -> Playlist:
    """Return what call `index` plays from clips of `clip_packets` packets each (every one ≥ 1)."""
    ends = list(accumulate(clip_packets))
    start = (mixed(seed) + index * _stride(ends[-1])) % ends[-1]
    first = bisect_right(ends, start)
    rest = [clip for clip in range(len(clip_packets)) if clip != first]
    state = mixed(seed ^ mixed(index + 1))
    for place in range(len(rest) - 1, 0, -1):
        state = mixed(state)
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


def uuid_of(token: bytes, name: str) -> str:
    """Return a UUID that is always the same for `token` and `name`."""
    digest = hashlib.blake2b(token + name.encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


def _stride(total: int) -> int:
    """Return a step near the golden section of `total` that visits every place of it before it comes back."""
    step = max(1, total * GOLDEN >> 64)
    while gcd(step, total) != 1:
        step += 1
    return step


def mixed(state: int) -> int:
    """Return the next number of the splitmix64 sequence: an even spread, the same on every machine."""
    state = (state + GOLDEN) & WORD
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
    return state ^ (state >> 31)
