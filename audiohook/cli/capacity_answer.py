"""The answer of `audiohookctl capacity` as plain values: what `--json` prints, and `--costs` reads again.

Knows the sums and no machine.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from audiohook.cli.capacity_sums import (
    AFTER_A_LOSS,
    CALL_SECONDS,
    FLEETS,
    HEADROOM,
    Cost,
    Host,
    call_bits,
    calls_a_core,
    first_limit,
    fleet,
    limits,
)
from audiohook.errors import AudiohookError


class _Earlier(msgspec.Struct):
    """What is read of an earlier answer; the rest follows from it."""

    costs: tuple[Cost, ...]
    host: Host


def read_costs(path: Path) -> tuple[tuple[Cost, ...], Host]:
    """Return costs and host of an earlier answer. Raises AudiohookError."""
    try:
        earlier = msgspec.json.decode(path.read_bytes(), type=_Earlier)
    except (OSError, msgspec.DecodeError) as error:
        raise AudiohookError(f"{path}: {error}; wanted what `audiohookctl capacity --json` prints") from None
    if any(cost.message_ns <= 0 or cost.messages_a_second <= 0 for cost in earlier.costs):
        raise AudiohookError(f"{path}: a message that costs nothing")
    return earlier.costs, earlier.host


def changed_host(host: Host, options: argparse.Namespace) -> Host:
    """Return the host with what the command line says of it. Raises AudiohookError."""
    for name in ("cores", "memory_gb", "link_gbit", "call_seconds"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise AudiohookError(f"--{name.replace('_', '-')} {value:g}: wanted more than 0")
    values = asdict(host)
    if options.cores is not None:
        values |= {"cores": options.cores, "workers": max(1, round(options.cores))}
    if options.memory_gb is not None:
        values["memory_bytes"] = round(options.memory_gb * 1e9)
    if options.link_gbit is not None:
        values["link_bits"] = round(options.link_gbit * 1e9)
    return Host(**values)


def answer(
    costs: Sequence[Cost], host: Host, call_seconds: float | None, measured: dict[str, Any] | None
) -> dict[str, Any]:
    """Return everything that is told. `measured` is None where the costs were read."""
    length = call_seconds or CALL_SECONDS
    return {
        "costs": [asdict(cost) for cost in costs],
        "host": asdict(host),
        "headroom": HEADROOM,
        "after_a_loss": AFTER_A_LOSS,
        "call_seconds": length,
        "measured": measured,
        "calls": [_calls(cost, host, length) for cost in costs],
    }


def _calls(cost: Cost, host: Host, call_seconds: float) -> dict[str, Any]:
    found = limits(cost, host, call_seconds)
    name, calls = first_limit(found)
    fleets = [fleet(cost, host, call_seconds, wanted) for wanted in FLEETS]
    return {
        "kind": cost.kind,
        "calls_a_core": calls_a_core(cost, call_seconds),
        "calls": calls,
        "first_limit": name,
        "limits": found,
        "bits_a_call": call_bits(cost),
        "fleets": [asdict(one) for one in fleets if one is not None],
    }
