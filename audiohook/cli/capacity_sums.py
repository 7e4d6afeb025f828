"""From what a call costs to calls a core, calls a host and hosts: the sums of `audiohookctl capacity`. Pure.

Knows nothing of how costs were measured (`capacity_measuring.py`) or shown (`capacity_page.py`). docs/scaling.md has
the reasoning, and tests/unit/test_docs_scaling.py recomputes its figures by these.

Invariants (tests/unit/test_capacity_sums.py): more of anything that a host has never means fewer calls, a cost that
rises never means more; a host's calls are the least of its limits.
"""

import math
from dataclasses import dataclass

from audiohook.units import NS_PER_S

HEADROOM = 0.7
"""How much of what there is may be planned with. The rest is for bursts, for a loss of a host, and for what was not
measured."""

AFTER_A_LOSS = 0.9
"""How much of it the others may use when one host is gone."""

WORKER_BYTES = 64_000_000
"""What a worker takes beside the arena without its calls, rounded up."""

CALL_SECONDS = 180
"""How long a call lasts, if nobody says otherwise."""

FLEETS = (10_000, 100_000, 1_000_000)

CPU, MEMORY, SLOTS, DESCRIPTORS, NETWORK = "CPU", "memory", "slots", "descriptors", "network"

MASK_BYTES, TLS_BYTES = 4, 22
"""RFC 6455 section 5.2: a client masks. RFC 8446 section 5.2: header 5, type 1, tag 16 of each record."""

SEGMENT_BYTES, HEADERS_BYTES = 1448, 90
"""Ethernet of 1,500 bytes less IPv4 (20), TCP (20) and its timestamps (12); these and preamble, header, checksum and
gap of Ethernet (38) go with each segment."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a kind of call costs one worker. `admission_ns` is the whole of its handshake, beginning and end."""

    kind: str
    messages_a_second: int
    message_bytes: int
    """Of audio in each."""
    message_ns: int
    admission_ns: int
    call_bytes: int
    """Of its worker's own memory, the slot aside."""


@dataclass(frozen=True, slots=True)
class Host:
    """What there is. `workers` is one a core; None: no limit, or (of the network) not known."""

    cores: float
    workers: int
    memory_bytes: int
    """That can be had for the arena and the workers."""
    slot_bytes: int
    most_slots: int
    """What `memory.streams` may be at most."""
    most_descriptors: int | None
    """Calls that one worker's descriptors are enough for: slots are one pool, so one worker may get them all."""
    link_bits: int | None
    """A second, one way."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many calls on several hosts. `busy` is the share of their cores; `after` that of the others without one."""

    calls: int
    hosts: int
    calls_a_host: int
    busy: float
    after: float
    admitted_again_seconds: float
    """Until the others have admitted those that the lost one had, if all of them come at once."""
    traffic_bits: int


def wire_bytes(payload_bytes: int) -> int:
    """Return what a message of audio is on the wire: WebSocket, a TLS record of its own, TCP, IPv4, Ethernet."""
    header_bytes = 2 + MASK_BYTES + (0 if payload_bytes < 126 else 2 if payload_bytes < 1 << 16 else 8)
    record_bytes = payload_bytes + header_bytes + TLS_BYTES
    return record_bytes + math.ceil(record_bytes / SEGMENT_BYTES) * HEADERS_BYTES


def call_bits(cost: Cost) -> int:
    """Return the bits a second that a call sends. What goes back is acknowledgements, and less."""
    return 8 * cost.messages_a_second * wire_bytes(cost.message_bytes)


def core_ns(cost: Cost, call_seconds: float) -> float:
    """Return the CPU time that a call takes a second, its admission spread over its length."""
    return cost.messages_a_second * cost.message_ns + cost.admission_ns / call_seconds


def calls_a_core(cost: Cost, call_seconds: float, share: float = HEADROOM) -> int:
    """Return how many calls keep `share` of a core busy."""
    return int(share * NS_PER_S / core_ns(cost, call_seconds))


def limits(cost: Cost, host: Host, call_seconds: float, share: float = HEADROOM) -> dict[str, int | None]:
    """Return how many calls each limit of a host allows, None where it has none.

    `share` is taken of what runs out gradually. Slots and descriptors do not: the last is as good as the first.
    """
    room_bytes = share * host.memory_bytes - host.workers * WORKER_BYTES
    return {
        CPU: int(host.cores * share * NS_PER_S / core_ns(cost, call_seconds)),
        MEMORY: max(0, int(room_bytes // (host.slot_bytes + cost.call_bytes))),
        SLOTS: host.most_slots,
        DESCRIPTORS: host.most_descriptors,
        NETWORK: None if host.link_bits is None else int(host.link_bits * share // call_bits(cost)),
    }


def first_limit(found: dict[str, int | None]) -> tuple[str, int]:
    """Return the limit that comes first and its calls; of equals the one that is named first."""
    known = {name: calls for name, calls in found.items() if calls is not None}
    name = min(known, key=lambda one: known[one])
    return name, known[name]


def fleet(cost: Cost, host: Host, call_seconds: float, calls: int) -> Fleet | None:
    """Return how many such hosts `calls` need: HEADROOM with all, AFTER_A_LOSS with one less; None if one takes none.

    Two at least: one alone has nobody to lose its calls to.
    """
    _, with_all = first_limit(limits(cost, host, call_seconds))
    _, with_one_less = first_limit(limits(cost, host, call_seconds, AFTER_A_LOSS))
    if not with_all:
        return None
    hosts = max(2, -(-calls // with_all), 1 + -(-calls // with_one_less))
    busy_cores = calls * core_ns(cost, call_seconds) / NS_PER_S
    after = busy_cores / ((hosts - 1) * host.cores)
    lost = -(-calls // hosts)
    # With what the others have left while they serve their own.
    idle_cores = (hosts - 1) * (host.cores - busy_cores / hosts)
    return Fleet(
        calls=calls,
        hosts=hosts,
        calls_a_host=lost,
        busy=busy_cores / (hosts * host.cores),
        after=after,
        admitted_again_seconds=lost * cost.admission_ns / NS_PER_S / idle_cores,
        traffic_bits=calls * call_bits(cost),
    )
