"""audiohookd whose workers obey in ways that tests need: `python -m tests.process.commanded [options of audiohookd]`.

Everything is the real daemon's but the handler at the end of each worker's command line. What it does with each verb is
in `Obedient`; `value` is mostly the worker's pid, which says who was asked.
"""

import json
import logging
import os
import signal
import sys

from audiohook.cli.audiohookd import main
from audiohook.control.commands import Command, Reply, Verb
from audiohook.net.loop import Loop
from audiohook.units import NS_PER_MS
from audiohook.worker import commands, process

log = logging.getLogger("tests")

LATER_NS = 50 * NS_PER_MS


class Obedient:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.port: commands.CommandPort | None = None

    def __call__(self, command: Command) -> Reply | None:
        return getattr(self, command.verb.name.lower())(command)

    def pause(self, command: Command) -> Reply:
        return command.done(os.getpid())

    def resume(self, command: Command) -> None:
        self.loop.call_at(self.loop.clock() + LATER_NS, lambda _: self.answer(command.done(os.getpid(), "later")))

    def disconnect(self, command: Command) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def mask(self, command: Command) -> Reply:
        return command.done(command.argument)

    def unmask(self, command: Command) -> None:
        """Never answer."""
        log.info("asked to unmask")

    def hold(self, command: Command) -> Reply:
        return command.done(os.getpid())

    def unhold(self, command: Command) -> Reply:
        return command.refused("not now")

    def end(self, command: Command) -> Reply:
        return command.not_available("never here")

    def takeover(self, command: Command) -> Reply:
        return command.done(os.getpid(), f"let go of slot {command.slot}")

    def event(self, command: Command) -> Reply | None:
        entity = json.loads(command.payload)
        if entity["type"] == "last words":
            self.answer(command.done(1, "said and done"))
            os.kill(os.getpid(), signal.SIGKILL)
        if entity["type"] == "takeover":
            self.ask_another(command, **entity["data"])
            return None
        return command.done(len(command.payload))

    def ask_another(self, command: Command, slot: int, epoch: int) -> None:
        def then(reply: Reply) -> None:
            self.answer(Reply(command.ticket, reply.status, reply.value, reply.text))

        assert self.port is not None
        self.port.ask(Verb.TAKEOVER, slot, epoch, then)

    def answer(self, reply: Reply) -> None:
        assert self.port is not None
        self.port.answer(reply)


def obedient_port(fd: int, loop: Loop, _handler: commands.Handler, answered: commands.Answered) -> commands.CommandPort:
    handler = Obedient(loop)
    handler.port = commands.CommandPort(fd, loop, handler, answered)
    return handler.port


if __name__ == "__main__":
    process.CommandPort = obedient_port  # type: ignore[assignment, misc]
    sys.exit(main())
