"""How `audiohookctl capacity` tells its answer: a table for eyes. Pure: plain values in, text out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

LABEL, COLUMN = 34, 22

TITLES = {"opus": "Opus 16 kHz, 20 ms", "pcmu": "PCMU stereo, 100 ms"}

Told = Mapping[str, Any]


def render(told: Told) -> str:
    """Return the answer as lines."""
    return "\n".join(line.rstrip() for line in (*_notes(told), *_costs(told), "", *_host(told), "", *_fleets(told)))


def _notes(told: Told) -> Iterator[str]:
    measured = told["measured"]
    if measured is None:
        return
    beside = measured["beside"]
    if beside is not None:
        yield (
            f"a daemon runs here, {beside['hub']}: {beside['live']} streams were live, {beside['cores_used']:.2f} "
            "cores used meanwhile; this was measured beside it, at the lowest priority"
        )
    if measured["client_late"]:
        yield "THE CLIENT WAS LATE: it had too little processor, and these costs are too low; fewer --calls, or later"
    each = ", ".join(
        f"{calls} of {kind} ({measured['busy'][kind]:.0%} busy)" for kind, calls in measured["calls"].items()
    )
    yield f"measured on one worker with calls, {each}; {measured['seconds']:g} s in all"
    yield ""


def _row(label: str, cells: Iterator[str]) -> str:
    return f"{label:<{LABEL}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells)


def _costs(told: Told) -> Iterator[str]:
    costs, calls = told["costs"], told["calls"]
    yield _row("", (TITLES.get(cost["kind"], cost["kind"]) for cost in costs))

    def row(label: str, cell: Callable[[Told], str]) -> str:
        return _row(label, map(cell, costs))

    yield row("audio in a message, bytes", lambda cost: f"{cost['message_bytes']:,}")
    yield row("CPU a message", lambda cost: f"{cost['message_ns'] / 1000:.1f} µs")
    yield row("CPU an admission and its end", lambda cost: f"{cost['admission_ns'] / 1e6:.2f} ms")
    yield row("memory a call, its slot aside", lambda cost: f"{cost['call_bytes'] / 1024:.0f} KiB")
    yield row("memory of its slot", lambda _: f"{told['host']['slot_bytes'] / 1024:,.0f} KiB")
    yield _row("network, framing and TLS included", (f"{one['bits_a_call'] / 1000:,.0f} kbit/s" for one in calls))
    yield _row(f"calls a core, {told['headroom']:.0%} busy", (f"{one['calls_a_core']:,}" for one in calls))


def _host(told: Told) -> Iterator[str]:
    host, calls = told["host"], told["calls"]
    link = "not known" if host["link_bits"] is None else f"{host['link_bits'] / 1e9:g} Gbit/s"
    yield (
        f"a host of {host['cores']:g} cores, {host['memory_bytes'] / 1e9:.1f} GB free, network {link}; "
        f"calls of {told['call_seconds']:g} s"
    )
    for name in calls[0]["limits"] if calls else ():
        cells = (one["limits"][name] for one in calls)
        yield _row(f"  by {name}", ("no limit known" if calls is None else f"{calls:,}" for calls in cells))
    yield _row("calls", (f"{one['calls']:,} ({one['first_limit']})" for one in calls))


def _fleets(told: Told) -> Iterator[str]:
    header = ("calls", "hosts", "calls a host", "busy", "one lost: busy", "admitted again", "network in all")
    for one in told["calls"]:
        yield f"{TITLES.get(one['kind'], one['kind'])}: hosts for so many calls, one of them to spare"
        yield "".join(f"{name:>16}" for name in header)
        for row in one["fleets"]:
            cells = (
                f"{row['calls']:,}",
                f"{row['hosts']:,}",
                f"{row['calls_a_host']:,}",
                f"{row['busy']:.0%}",
                f"{row['after']:.0%}",
                f"{row['admitted_again_seconds']:.1f} s",
                f"{row['traffic_bits'] / 1e9:.1f} Gbit/s",
            )
            yield "".join(f"{cell:>16}" for cell in cells)
        if not one["fleets"]:
            yield f"  none: such a host takes no call ({one['first_limit']})"
