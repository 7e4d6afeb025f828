"""`audiohook-load`: puts calls on a daemon, in real time, and says what became of them.

Exit status: 0 if every call ran to its end and, with `--verify`, every sample was verified; 1 if not; 2 if the run
could not be made; 130 if it was interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Before NumPy is imported: OpenBLAS starts a thread a core, and a process with threads must not fork.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from audiohook.errors import AudiohookError
from audiohook.load.plan import MAX_CALLS, MAX_SECONDS
from audiohook.load.runner import Progress, RunOptions, run
from audiohook.load.table import json_of, table_of
from audiohook.units import NS_PER_MS

FAILED = 1
NOT_MADE = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = _parser().parse_args(arguments)
    options = RunOptions(
        url=given.url,
        calls=given.calls,
        seconds=given.seconds,
        audio=given.audio,
        verify=given.verify,
        hub=given.hub,
        connects_per_second=given.connects_per_second,
        seed=given.seed,
    )
    shown = sys.stderr.isatty()
    try:
        result = run(options, _show if shown else None)
    except AudiohookError as error:
        print(f"audiohook-load: {error}", file=sys.stderr)
        return NOT_MADE
    except KeyboardInterrupt:
        return INTERRUPTED
    if shown:
        print(file=sys.stderr)
    print(json_of(result) if given.json else table_of(result))
    if result.interrupted:
        return INTERRUPTED
    return 0 if result.ok else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audiohook-load", description="Places calls on audiohookd, in real time.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="place calls and report", description="Places calls, prints one table.")
    command.add_argument("url", metavar="URL", help="ws://host:port/path (wss is not spoken yet)")

    def option(name: str, kind: Callable[[str], object], metavar: str, default: object, text: str) -> None:
        command.add_argument(name, type=kind, metavar=metavar, default=default, help=text)

    def switch(name: str, text: str) -> None:
        command.add_argument(name, action="store_true", help=text)

    option("--calls", int, "N", 8, f"calls, one WebSocket each, up to {MAX_CALLS}; default 8")
    option("--seconds", float, "S", 10.0, f"length of each call, up to {MAX_SECONDS}; default 10")
    option("--audio", Path, "DIR", None, "WAV files to play; default: speech, obtained once under var/")
    switch("--verify", "read every call back from the shared memory and compare it sample by sample")
    option("--hub", str, "PATH", None, "the daemon's hub.sock, for --verify; default: found as readers find it")
    option("--connects-per-second", float, "R", 500.0, "new calls a second; default 500")
    option("--seed", int, "K", 0, "another seed, other audio for each call; default 0")
    switch("--json", "print one JSON object instead of the table")
    return parser


def _show(progress: Progress) -> None:
    print(
        f"\r{progress.elapsed_seconds:6.1f} s  open {progress.open_now}  done {progress.done}"
        f"  packets {progress.packets:,}  verified {progress.verified:,}"
        f"  late p99 {progress.lateness_p99_ns / NS_PER_MS:.2f} ms ",
        end="",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
