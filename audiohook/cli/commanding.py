"""The commands of `audiohookctl` that change something: `pause STREAM`, `hold CALL`, `scale N` and so on.

Knows how they are written and how their answers are told in words; what they do is the daemon's. Each is one request on
hub.sock (`control/protocol.py`), allowed by role.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from audiohook.cli.reload_command import add_reload
from audiohook.control.attachment import find_hub
from audiohook.control.commander import Commander
from audiohook.control.requests import MOST_SECONDS_BACK, MOST_WORKERS

ALL_DONE, FAILED = 0, 1

STREAM_COMMANDS = {
    "pause": "ask the platform to pause a stream",
    "resume": "ask the platform to resume a stream",
    "disconnect": "end a stream, as a decision of ours",
    "mask": "write silence instead of audio from now on (payment cards)",
    "unmask": "write audio again",
    "event": "send an event entity (JSON: type and data) back to the platform",
}
CALL_COMMANDS = {
    "hold": "the call is on hold: its time passes as silence",
    "unhold": "the call is no longer on hold",
    "end": "the call is over",
}

SCALE = "scale"

_DONE = {
    "pause": "pause asked for",
    "resume": "resume asked for",
    "disconnect": "disconnected",
    "mask": "masked from frame {value} on",
    "unmask": "no longer masked",
    "event": "event sent",
    "hold": "on hold",
    "unhold": "no longer on hold",
    "end": "ended",
}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add a subparser for each command; `options.run` is then `run_command`."""
    for name, text in (STREAM_COMMANDS | CALL_COMMANDS).items():
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name in STREAM_COMMANDS:
            made.add_argument("stream", metavar="STREAM", help="a stream's id, or a start of it that no other has")
        else:
            made.add_argument("call", metavar="CALL", help="a call's id, as the platform gave it")
        if name == "mask":
            text = "also zero what has been written of the last SECONDS"
            made.add_argument("--last", metavar="SECONDS", type=_seconds, default=0.0, help=text)
        if name == "event":
            made.add_argument("--file", metavar="FILE", help="where the entity is (default: standard input)")
        _add_run(made, name)
    made = commands.add_parser(SCALE, help="have N workers", description="Have N worker processes.")
    made.add_argument("workers", metavar="N", type=_workers, help="those that are too many leave with their last call")
    _add_run(made, SCALE)
    add_reload(commands)


def _add_run(made: argparse.ArgumentParser, name: str) -> None:
    made.add_argument("--json", action="store_true", help="the hub's answer as one JSON object")
    made.set_defaults(run=run_command, do=name)


def _workers(text: str) -> int:
    workers = int(text)
    if not 1 <= workers <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MOST_WORKERS}")
    return workers


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= MOST_SECONDS_BACK:  # NaN neither
        raise argparse.ArgumentTypeError(f"must be from 0 to {MOST_SECONDS_BACK}")
    return seconds


def run_command(options: argparse.Namespace) -> int:
    """Carry out one command; print what became of it. Returns the exit status. Raises HubUnavailable."""
    try:
        fields = _fields(options)
    except (OSError, ValueError) as error:
        print(f"audiohookctl: {error}", file=sys.stderr)
        return FAILED
    with Commander(find_hub(options.hub)) as commander:
        answer = commander.ask(options.do, **fields)
    if options.json:
        print(json.dumps(answer, indent=2))
    else:
        _tell(options.do, answer)
    return ALL_DONE if answer.get("ok") else FAILED


def _fields(options: argparse.Namespace) -> dict[str, Any]:
    """Return the request's fields. Raises OSError and ValueError for an entity that cannot be read."""
    if options.do in CALL_COMMANDS:
        return {"call": options.call}
    if options.do == SCALE:
        return {"workers": options.workers}
    if options.do == "mask":
        return {"stream": options.stream, "seconds_back": options.last}
    if options.do != "event":
        return {"stream": options.stream}
    text = Path(options.file).read_text("utf-8") if options.file else sys.stdin.read()
    try:
        # Not json.loads, which takes NaN for JSON; the hub does not.
        return {"stream": options.stream, "entity": msgspec.json.decode(text)}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the entity is not JSON: {error}") from error


def _tell(do: str, answer: dict[str, Any]) -> None:
    """Print a line for each stream, or the refusal where there was none: what was done on stdout, else on stderr."""
    results = answer.get("results", [])
    if "workers" in answer:
        print(f"{answer['workers']} workers: {answer['text']}")
    elif not results:
        print(f"audiohookctl: {answer.get('error', 'the hub gave no reason')}", file=sys.stderr)
    for result in results:
        if result["status"] == "ok":
            note = f" ({result['text']})" if result["text"] else ""
            print(f"{result['stream']}: {_DONE[do].format(value=result['value'])}{note}")
        else:
            words = result["status"].replace("_", " ")
            print(f"audiohookctl: stream {result['stream']}: {words}: {result['text']}", file=sys.stderr)
