"""The trial process of a reload: reads the disk as a new image would, and says whether it could take over.

Run from stage 0 (`stage0.py`), by the supervisor that runs, with the daemon's arguments, the state that it would hand
over and the read-only memory. Imports all code that the daemon and the desk consist of, loads the configuration, takes
the handover apart, compares the memory. Changes nothing. Says `R` on its report pipe and exits with 0, or says why not
(`net/seat.py`).
"""

import importlib
import os
import pkgutil
import sys

from audiohook.errors import AudiohookError
from audiohook.net.hygiene import inherited_fds
from audiohook.net.seat import report_failure, report_ready

FAILED = 1

PARTS = ("wire", "session", "auth", "codec", "call", "memory", "config", "net", "control", "worker", "supervisor")
"""What a daemon runs. `cli.resuming` imports what it needs of cli/."""


def main() -> int:
    """Return the exit code. Raises what stage 0 has words for."""
    fds = inherited_fds(os.environ)
    try:
        _try_out(fds)
    except AudiohookError as error:
        report_failure(fds["report"], str(error))
        return FAILED
    report_ready(fds["report"])
    return 0


def _try_out(fds: dict[str, int]) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import_everything()
    from audiohook.cli.audiohookd import parser, read_config
    from audiohook.cli.fitting import check_fit
    from audiohook.cli.resuming import read_handover
    from audiohook.cli.service import check_start

    handover = read_handover(fds["handover"])
    _, config = read_config(parser().parse_args(sys.argv[1:]))
    check_start(config)
    check_fit(config, handover, fds["arena"])


def import_everything() -> None:
    for part in PARTS:
        module = importlib.import_module(f"audiohook.{part}")
        for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"audiohook.{part}."):
            importlib.import_module(found.name)
