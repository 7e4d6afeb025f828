"""`audiohookctl capacity`: what calls cost on this machine, how many it takes, and what runs out first.

Measures on a daemon of its own (`capacity_measuring.py`), or takes what was measured elsewhere (`--costs`); the rest is
arithmetic (`capacity_sums.py`). Knows how the question is put and answered. docs/scaling.md has the whole of it.

Exit status: 0 told; 1 not measured, or measured by a client that was late; 130 interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiohook.units import NS_PER_S

DONE, FAILED, INTERRUPTED = 0, 1, 130

SECONDS = 20.0
LOWEST_PRIORITY = 19
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 600.0


def add_capacity(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subparser; `options.run` is then `run_capacity`."""
    text = "what calls cost here, how many there may be, and what runs out first"
    made = commands.add_parser("capacity", help=text, description=f"{text[0].upper()}{text[1:]}.")
    made.add_argument("--config", metavar="FILE", help="the daemon's configuration (default: as audiohookd finds it)")
    made.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="as audiohookd has it")

    def option(name: str, kind: Callable[[str], object], metavar: str, text: str, default: object = None) -> None:
        made.add_argument(name, type=kind, metavar=metavar, default=default, help=text)

    option("--seconds", float, "S", f"how long to measure in all; default {SECONDS:g}", SECONDS)
    option("--calls", int, "N", "calls to measure with; default: as many as one worker takes, up to 400")
    option("--audio", Path, "DIR", "WAV files to play; default: a sound that is something like speech")
    option("--costs", Path, "FILE", "measure nothing: the costs of an earlier run with --json")
    option("--call-seconds", float, "S", "how long a call lasts; default 180")
    option("--cores", float, "N", "the cores of a host; default: this one's, or those of FILE")
    option("--memory-gb", float, "GB", "the memory that a host has free; default likewise")
    option("--link-gbit", float, "G", "the speed of a host's network; default likewise")
    made.add_argument("--json", action="store_true", help="one JSON object")
    made.set_defaults(run=run_capacity)


def run_capacity(options: argparse.Namespace) -> int:
    """Measure or read, compute, print."""
    from audiohook.errors import AudiohookError

    try:
        told = tell(options)
    except AudiohookError as error:
        print(f"audiohookctl capacity: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    # Here, because nobody else at the command line needs it.
    from audiohook.cli.capacity_page import render

    print(json.dumps(told, indent=2) if options.json else render(told))
    measured = told["measured"]
    return FAILED if measured is not None and measured["client_late"] else DONE


def tell(options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that is told, as plain values. Raises AudiohookError."""
    from audiohook.cli.capacity_answer import answer, changed_host, read_costs

    if options.costs is None:
        costs, host, measured = _measure(options)
    else:
        costs, host = read_costs(options.costs)
        measured = None
    return answer(costs, changed_host(host, options), options.call_seconds, measured)


def _measure(options: argparse.Namespace) -> tuple[Any, Any, dict[str, Any]]:
    from audiohook.cli.capacity_machine import neighbour, this_host
    from audiohook.cli.capacity_measuring import Wish, measure
    from audiohook.config import default_path, load
    from audiohook.errors import AudiohookError

    if not SHORTEST_SECONDS <= options.seconds <= LONGEST_SECONDS:
        wanted = f"{SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g}"
        raise AudiohookError(f"--seconds {options.seconds:g}: wanted {wanted}")
    if options.calls is not None and options.calls < 1:
        raise AudiohookError(f"--calls {options.calls}: wanted 1 at least")
    config = load(options.config or default_path(), options.set)
    host = this_host(config)  # before there is anything of ours in its memory
    beside = neighbour(options.hub)
    began_ns = time.monotonic_ns()
    nice = LOWEST_PRIORITY if beside else 0
    found = measure(Wish(options.calls, options.seconds, options.audio, nice))
    elapsed_ns = time.monotonic_ns() - began_ns
    measured: dict[str, Any] = {
        "calls": {one.cost.kind: one.calls for one in found},
        "busy": {one.cost.kind: round(one.busy, 3) for one in found},
        "seconds": round(elapsed_ns / NS_PER_S, 1),
        "client_late": any(one.client_late for one in found),
        "beside": None,
    }
    if beside is not None:
        cores = round(beside.cores_used(elapsed_ns), 2)
        measured["beside"] = {"hub": beside.hub, "live": beside.live, "cores_used": cores}
    return tuple(one.cost for one in found), host, measured
