"""`audiohookctl`: looks at a running daemon, commands its calls and scales it (`commanding.py`).

`status` reads the shared memory itself, so it works while the daemon hangs.

Exit status: 0 all done, 1 if no hub answers or a command was refused or failed.
"""

import argparse
import json
import sys
import time
from typing import Any

import psutil

import audiohook
from audiohook.cli.capacity import add_capacity
from audiohook.cli.commanding import add_commands
from audiohook.cli.doctor import add_doctor
from audiohook.cli.status_page import render_status
from audiohook.cli.status_tls import read_tls
from audiohook.control.hub import Hub
from audiohook.memory.board import count_slots, read_header, read_rows
from audiohook.units import NS_PER_S

NO_HUB = 1


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="audiohookctl", description="Looks at a running audiohookd and commands its calls."
    )
    made.add_argument("--hub", metavar="PATH", help="the hub.sock (default: AUDIOHOOK_HUB, else the usual places)")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="workers, streams, losses, memory")
    status.add_argument("--json", action="store_true", help="one JSON object")
    status.set_defaults(run=show_status)
    add_doctor(commands)
    add_capacity(commands)
    add_commands(commands)
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except audiohook.HubUnavailable as error:
        print(f"audiohookctl: {error}", file=sys.stderr)
        return NO_HUB
    return status


def show_status(options: argparse.Namespace) -> int:
    """Print the status. Raises HubUnavailable."""
    with audiohook.attach(options.hub) as hub:
        status = read_status(hub)
    print(json.dumps(status, indent=2) if options.json else render_status(status))
    return 0


def read_status(hub: Hub) -> dict[str, Any]:
    """Return everything that is shown, as plain values."""
    rows = read_rows(hub.arena)
    for row in rows:
        row["process"] = _process(row["pid"])
    return {
        "hub": hub.path,
        **read_header(hub.arena),
        "slots_by_state": count_slots(hub.arena),
        "rows": rows,
        "tls": read_tls(hub.arena),
        "generations": _generations(rows),
        "streams": [_stream(stream) for stream in hub.streams(ended=True)],
    }


def _generations(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the generations that have workers, newest first; the supervisor's is the one that takes new calls."""
    (current,) = (row["generation"] for row in rows if row["kind"] == "supervisor")
    workers = [row for row in rows if row["kind"] == "worker" and row["pid"]]
    return [
        {
            "generation": generation,
            "current": generation == current,
            "workers": len(those := [row for row in workers if row["generation"] == generation]),
            "calls": sum(row["live"] for row in those),
        }
        for generation in sorted({row["generation"] for row in workers}, reverse=True)
    ]


def _process(pid: int) -> dict[str, float] | None:
    """Return a process' memory and CPU; None where it is gone or not ours to ask. Pss, since RSS counts rings twice."""
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return {"pss_bytes": process.memory_full_info().pss, "cpu_seconds": round(times.user + times.system, 2)}
    except psutil.Error:
        return None


def _stream(stream: audiohook.Stream) -> dict[str, Any]:
    totals = stream.totals
    card, before, after = stream.card(), stream.continues, stream.continued_by
    return {
        "stream": stream.stream_id,
        "call": stream.call_id,
        "direction": stream.direction,
        "dialect": stream.dialect,
        "state": stream.state,
        "degraded": stream.degraded,
        "row": card["row"],
        "slot": stream.slot,
        "source": stream.source_address,
        "rate_hz": stream.sample_rate,
        "length_seconds": totals.length / stream.sample_rate,
        "decoded_frames": totals.decoded,
        "concealed_frames": totals.concealed,
        "gaps_frames": totals.gaps,
        "packets": totals.packets,
        "end_reason": stream.end_reason,
        "parked_seconds_left": _seconds_until(card["parked_until_ns"]) if stream.parked else None,
        "expected_seconds_left": _seconds_until(card["expected_until_ns"]) if stream.parked else None,
        "continues": None if before is None else before.stream_id,
        "continued_by": None if after is None else after.stream_id,
    }


def _seconds_until(due_ns: int) -> float | None:
    """Return how long it is until a time of CLOCK_MONOTONIC, None where none is set."""
    return round(max(0, due_ns - time.monotonic_ns()) / NS_PER_S, 1) if due_ns else None


if __name__ == "__main__":
    sys.exit(main())
