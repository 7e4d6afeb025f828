"""A daemon's next image: entered from stage 0, it takes on what the image before has handed over.

Forward it reads the configuration anew; back in the old code it goes on with the configuration that it had, since the
file on the disk may be just what was wrong.
"""

import os
from collections.abc import Callable

import msgspec

from audiohook.cli.audiohookd import parser, read_config
from audiohook.cli.belongings import take_on_belongings
from audiohook.cli.fitting import check_fit
from audiohook.cli.service import check_start, run_service
from audiohook.config import Config
from audiohook.net.journal import begin_logging
from audiohook.supervisor.handover import Handover, decode


def resume(handover_fd: int, taken_over: Callable[[], None]) -> int:
    """Be the daemon until it is told to stop; return the exit code. Raises whatever keeps it from taking over."""
    handover = read_handover(handover_fd)
    os.close(handover_fd)
    if handover.image:
        config = msgspec.convert(handover.config, Config)
    else:
        _, config = read_config(parser().parse_args(handover.arguments))
    begin_logging(config.log.level)
    check_start(config)
    if not handover.image:
        check_fit(config, handover, handover.memory["read_only"])
    belongings = take_on_belongings(handover, config)
    return run_service(config, handover.arguments, belongings, handover, taken_over)


def read_handover(fd: int) -> Handover:
    """Raises BootError for what this code does not understand."""
    return decode(os.pread(fd, os.fstat(fd).st_size, 0))
