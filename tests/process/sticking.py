"""audiohookd whose workers can be made to stick: `python -m tests.process.sticking [options of audiohookd]`.

Everything is the real daemon's, but a worker that is asked to mask a stream stays in the handler for as long as the
file `stuck` is in the daemon's folder.
"""

import sys
import time
from pathlib import Path

from audiohook.cli.audiohookd import main
from audiohook.control.commands import Command, Reply
from audiohook.net.loop import Loop
from audiohook.worker import commands, process


def stick_here(command: Command) -> Reply:
    while Path("stuck").exists():
        time.sleep(0.001)
    return command.done()


def sticking_port(fd: int, loop: Loop, _handler: commands.Handler, answered: commands.Answered) -> commands.CommandPort:
    return commands.CommandPort(fd, loop, stick_here, answered)


if __name__ == "__main__":
    process.CommandPort = sticking_port  # type: ignore[assignment, misc]
    sys.exit(main())
