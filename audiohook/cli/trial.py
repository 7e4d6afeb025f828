"""The trial process of a reload: reads the disk as a new image would, and says whether it could take over.

Run from stage 0 (`stage0.py`), by the supervisor that runs, with the daemon's arguments, the state that it would hand
over and the read-only memory. Imports all code that the daemon and the desk consist of, loads the configuration, takes
the handover apart, compares the memory. Changes nothing. Says on its report pipe that all is well and exits with 0, or
says why not (`net/seat.py`).

Where the code is the one that runs and only such settings differ as can be changed while processes run
(`config/live.py`), it says which. Where nothing differs it does not, so that new workers come, whatever it is that has
changed then: a library, say, which is not compared.
"""

import importlib
import json
import os
import pkgutil
import sys
from typing import TYPE_CHECKING

import msgspec

from audiohook.errors import AudiohookError
from audiohook.net.hygiene import inherited_fds
from audiohook.net.seat import report_changes, report_failure, report_ready

if TYPE_CHECKING:
    from audiohook.config.live import Changes

FAILED = 1

PARTS = ("wire", "session", "auth", "codec", "call", "memory", "config", "net", "control", "worker", "supervisor")
"""What a daemon runs. `cli.resuming` imports what it needs of cli/."""


def main() -> int:
    """Return the exit code. Raises what stage 0 has words for."""
    fds = inherited_fds(os.environ)
    try:
        changes = _try_out(fds)
    except AudiohookError as error:
        report_failure(fds["report"], str(error))
        return FAILED
    if changes:
        report_changes(fds["report"], json.dumps(changes))
    else:
        report_ready(fds["report"])
    return 0


def _try_out(fds: dict[str, int]) -> "Changes":
    """Return what is to be changed if that is all there is to do."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import_everything()
    from audiohook.cli.audiohookd import parser, read_config
    from audiohook.cli.fitting import check_fit
    from audiohook.cli.image import is_on_disk
    from audiohook.cli.resuming import read_handover
    from audiohook.cli.service import check_start
    from audiohook.config import Config
    from audiohook.config.live import live_changes

    handover = read_handover(fds["handover"])
    _, config = read_config(parser().parse_args(sys.argv[1:]))
    check_start(config)
    check_fit(config, handover, fds["arena"])
    if "snapshot" not in fds or not is_on_disk(fds["snapshot"]):
        return {}
    return live_changes(msgspec.convert(handover.config, Config), config)


def import_everything() -> None:
    for part in PARTS:
        module = importlib.import_module(f"audiohook.{part}")
        for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"audiohook.{part}."):
            importlib.import_module(found.name)
