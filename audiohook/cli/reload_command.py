"""`audiohookctl reload`: begins a reload and waits for its outcome.

The hub answers at once with a number, by which it is then asked again and again: between two answers the supervisor is
re-executed and the desk replaced, so a connection that breaks means nothing.
"""

import argparse
import json
import sys
import time
from typing import Any

from audiohook.control.attachment import find_hub
from audiohook.control.commander import Commander
from audiohook.errors import HubUnavailable

RELOADED, FAILED = 0, 1

ASK_SECONDS = 0.2
SILENCE_SECONDS = 60.0
"""How long nobody may answer, one after the other: a supervisor and a desk are started meanwhile."""


def add_reload(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = commands.add_parser(
        "reload",
        help="load code and configuration anew, without losing a call",
        description="Load code and configuration anew. Waits until new workers take the new calls, or says why not: "
        "then nothing has changed.",
    )
    made.add_argument("--json", action="store_true", help="the hub's answer as one JSON object")
    made.set_defaults(run=run_reload)


def run_reload(options: argparse.Namespace) -> int:
    """Reload; print what became of it. Returns the exit status. Raises HubUnavailable if nobody heard of it."""
    with Commander(find_hub(options.hub)) as commander:
        answer = commander.ask("reload")
        if answer.get("ok"):
            answer = _outcome(commander, answer["attempt"])
    if options.json:
        print(json.dumps(answer, indent=2))
    elif answer.get("ok"):
        print(f"reloaded: {answer['text']}")
    else:
        print(f"audiohookctl: not reloaded: {answer.get('error', 'the hub gave no reason')}", file=sys.stderr)
    return RELOADED if answer.get("ok") else FAILED


def _outcome(commander: Commander, attempt: int) -> dict[str, Any]:
    heard = time.monotonic()
    while True:
        try:
            answer = commander.ask("outcome", attempt=attempt)
        except HubUnavailable:
            if time.monotonic() - heard > SILENCE_SECONDS:
                raise
        else:
            if answer.get("slug") not in _TRANSIENT:
                heard = time.monotonic()
                if answer.get("generation") != 0:
                    return answer
            elif time.monotonic() - heard > SILENCE_SECONDS:
                return answer
        time.sleep(ASK_SECONDS)


_TRANSIENT = ("no_answer", "too_many_clients", "too_many_commands")
"""The supervisor is between two images, or others ask as well: what the reload has come to is not known by that."""
