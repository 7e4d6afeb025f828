"""`audiohook-load`: puts calls on a daemon, in real time, and says what became of them; or probes it.

Exit status of `run`: 0 if every call ran to its end and, with `--verify`, every sample was verified; 1 if not; 2 if the
run could not be made; 130 if it was interrupted. Of `probe`: 0 if nothing was wrong, 1 if something was.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Before NumPy is imported: OpenBLAS starts a thread a core, and a process with threads must not fork.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from audiohook.errors import AudiohookError
from audiohook.load.credentials import ANY_API_KEY, API_KEY_VARIABLE, Credentials, read_credentials
from audiohook.load.faults.planned import (
    KINDS,
    MASS_RECONNECT,
    MAX_FOUND_WITHIN_SECONDS,
    MAX_STALL_SECONDS,
    STALL,
    FaultWish,
)
from audiohook.load.plan import DIALECTS, MAX_CALLS, MAX_SECONDS
from audiohook.load.probe import run_probe
from audiohook.load.runner import Progress, RunOptions, run
from audiohook.load.scenarios import play
from audiohook.load.table import json_of, table_of
from audiohook.load.target import parse_url
from audiohook.units import NS_PER_MS

FAILED = 1
NOT_MADE = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.act(given)
    except AudiohookError as error:
        print(f"audiohook-load: {error}", file=sys.stderr)
        return NOT_MADE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _run(given: argparse.Namespace) -> int:
    return _play_scenarios(given) if given.scenario else _place_calls(given)


def _play_scenarios(given: argparse.Namespace) -> int:
    status = 0
    credentials = _credentials(given)
    target = parse_url(given.url, given.ca_file)
    for played in play(target, given.scenario, hub=given.hub, audio=given.audio, credentials=credentials):
        print(f"{'FAILED' if played.wrong else 'ok':<8}{played.name}: {played.about}", flush=True)
        for sentence in played.wrong:
            print(f"        {sentence}", flush=True)
        status = FAILED if played.wrong else status
    return status


def _place_calls(given: argparse.Namespace) -> int:
    options = RunOptions(
        url=given.url,
        calls=given.calls,
        seconds=given.seconds,
        audio=given.audio,
        verify=given.verify,
        hub=given.hub,
        connects_per_second=given.connects_per_second,
        seed=given.seed,
        dialect=given.dialect,
        v2_message_ms=given.v2_message_ms,
        credentials=_credentials(given),
        fault=_fault(given),
        ca_file=given.ca_file,
    )
    shown = sys.stderr.isatty()
    result = run(options, _show if shown else None)
    if shown:
        print(file=sys.stderr)
    print(json_of(result) if given.json else table_of(result))
    if result.interrupted:
        return INTERRUPTED
    return 0 if result.ok else FAILED


def _fault(given: argparse.Namespace) -> FaultWish | None:
    if given.fault is None:
        return None
    return FaultWish(
        kind=given.fault,
        share=given.fault_share,
        stall_seconds=given.stall_seconds,
        found_within_seconds=given.found_within_seconds,
    )


def _credentials(given: argparse.Namespace) -> Credentials:
    return read_credentials(
        api_key=given.api_key,
        secret_file=given.secret_file,
        organization=given.organization,
        shared_secret_file=given.shared_secret_file,
    )


def _probe(given: argparse.Namespace) -> int:
    credentials = _credentials(given)
    keys = credentials.api_key != ANY_API_KEY
    status = 0
    for step in run_probe(parse_url(given.url, given.ca_file), credentials, keys=keys):
        print(f"{step.verdict:<7}{step.text}", flush=True)
        status = FAILED if step.verdict == "wrong" else status
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audiohook-load", description="Places calls on audiohookd, in real time.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="place calls and report", description="Places calls, prints one table."))
    description = "Does what Genesys does when an administrator activates an integration; says in words what is wrong."
    _add_probe(commands.add_parser("probe", help="try whether Genesys would be content", description=description))
    return parser


def _add_probe(command: argparse.ArgumentParser) -> None:
    command.set_defaults(act=_probe)
    command.add_argument("url", metavar="URL", help="ws://host:port/path or wss://host/path")
    _add_credentials(command)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.set_defaults(act=_run)
    command.add_argument("url", metavar="URL", help="ws://host:port/path or wss://host/path")

    def option(name: str, kind: Callable[[str], object], metavar: str, default: object, text: str) -> None:
        command.add_argument(name, type=kind, metavar=metavar, default=default, help=text)

    def switch(name: str, text: str) -> None:
        command.add_argument(name, action="store_true", help=text)

    option("--calls", int, "N", 8, f"calls, one WebSocket each, up to {MAX_CALLS}; default 8")
    option("--seconds", float, "S", 10.0, f"length of each call, up to {MAX_SECONDS}; default 10")
    command.add_argument(
        "--dialect", choices=DIALECTS, default="context", help="what calls speak; mixed: both in turn; default context"
    )
    option("--v2-message-ms", int, "MS", 20, "audio in each message of audiohook2; default 20 (Genesys: 100 to 200)")
    _add_credentials(command)
    command.add_argument(
        "--scenario",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="instead of calls that only talk, play the scenario of a TOML file (docs/load.md); may be repeated",
    )
    _add_fault(command)
    option("--audio", Path, "DIR", None, "WAV files to play; default: speech, obtained once under var/")
    switch("--verify", "read every call back from the shared memory and compare it sample by sample")
    option("--hub", str, "PATH", None, "the daemon's hub.sock, for --verify; default: found as readers find it")
    option("--connects-per-second", float, "R", 500.0, "new calls a second; default 500")
    option("--seed", int, "K", 0, "another seed, other audio for each call; default 0")
    switch("--json", "print one JSON object instead of the table")


def _add_fault(command: argparse.ArgumentParser) -> None:
    def seconds(name: str, default: float, text: str) -> None:
        command.add_argument(name, type=float, metavar="S", default=default, help=text)

    command.add_argument("--fault", choices=KINDS, help="what goes wrong with a share of the calls (docs/load.md)")
    command.add_argument(
        "--fault-share",
        type=float,
        metavar="X",
        help=f"share of the calls, up to 1; default 0.5, of {MASS_RECONNECT} and {STALL} 1",
    )
    seconds("--stall-seconds", 2.0, f"length of a stall, up to {MAX_STALL_SECONDS}; default 2")
    found = (
        f"time for the daemon to end a half-open, garbage or slow peer, up to {MAX_FOUND_WITHIN_SECONDS}; default 60"
    )
    seconds("--found-within-seconds", 60.0, found)


def _add_credentials(command: argparse.ArgumentParser) -> None:
    def option(name: str, kind: Callable[[str], object], metavar: str, text: str) -> None:
        command.add_argument(name, type=kind, metavar=metavar, help=text)

    option("--api-key", str, "KEY", f"API key of audiohook2 calls; default: ${API_KEY_VARIABLE}, else one of our own")
    option("--secret-file", Path, "FILE", "file (mode 600) with the client secret, base64: requests are signed with it")
    option("--organization", str, "UUID", "organization that the API key belongs to")
    command.add_argument("--ca-file", metavar="FILE", help="trust this authority's certificate instead of the system's")
    option("--shared-secret-file", Path, "FILE", "file (mode 600) with the shared secret of context calls")


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
