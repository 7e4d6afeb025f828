"""How a running daemon hands itself over: what its trial process gets, and execve into stage 0.

Knows what the daemon owns (`belongings.py`), not when it reloads (`supervisor/generations.py`).
"""

import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import msgspec

from audiohook.cli.belongings import Belongings
from audiohook.cli.fitting import layout_values
from audiohook.cli.stage0 import TRIAL, command_line, execute
from audiohook.config import Config
from audiohook.errors import BootError
from audiohook.supervisor.handover import VERSION, Handover, Lot, encode
from audiohook.supervisor.hooks import TrialCommand
from audiohook.units import NS_PER_S


class Successor:
    """The next image of this process, whatever it will be."""

    def __init__(
        self, config: Callable[[], Config], arguments: list[str], belongings: Belongings, before: Handover | None
    ) -> None:
        """`config()` is the one that is in force then; `before` is what this image was handed itself."""
        self._arguments = arguments
        self._belongings = belongings
        self._config = config
        self._latest_before = -1 if before is None else before.lot.state.reload.latest
        self._config_before = None if before is None else before.config
        self._trial_fd = -1

    def trial(self, lot: Lot) -> TrialCommand:
        self._trial_fd = os.memfd_create("audiohook:trial", os.MFD_CLOEXEC)
        os.write(self._trial_fd, encode(self._handover(lot, "")))
        stage0_fd = self._belongings.image.stage0_fd
        fds = {"handover": self._trial_fd, "arena": self._belongings.files.read_only, "stage0": stage0_fd}
        # Workers of a generation that another image has started do not look at our settings: whatever has changed, new
        # ones are needed. So after a way back, and after one that failed.
        if lot.state.plan.generation > self._latest_before:
            fds["snapshot"] = self._belongings.image.snapshot_fd
        return TrialCommand(command_line(stage0_fd, TRIAL, *self._arguments), fds)

    def trial_started(self) -> None:
        os.close(self._trial_fd)

    def cross(self, lot: Lot, fault: str) -> NoReturn:
        handover = self._handover(lot, fault)
        sys.stdout.flush()
        sys.stderr.flush()
        for fd in handover.keep:
            os.set_inheritable(fd, True)
        try:
            execute(json.loads(encode(handover)))
        finally:  # it has failed
            for fd in handover.keep:
                os.set_inheritable(fd, False)

    def _handover(self, lot: Lot, fault: str) -> Handover:
        own = self._belongings
        image = own.former if fault else own.image
        config = self._config_before if fault else msgspec.to_builtins(self._config())
        if image is None or config is None:
            raise BootError("there is no other code to go back to")
        listeners = [(text, listener.fileno()) for text, listener in own.every_listener]
        memory = own.files.descriptors()
        sockets = [own.hub.fileno(), *(fd for _, fd in listeners)]
        return Handover(
            version=VERSION,
            image=image.path if fault else "",
            back="" if fault else image.path,
            fault=fault,
            stage0_fd=image.stage0_fd,
            former=image.kept,
            arguments=self._arguments,
            config=config,
            patience_seconds=lot.state.plan.boot_ns / NS_PER_S,
            memory=memory,
            layout=layout_values(),
            listeners=listeners,
            hub_fd=own.hub.fileno(),
            hub_path=own.hub_path,
            hub_inode=own.hub_inode,
            lot=lot,
            keep=[*memory.values(), *sockets, *lot.fds, *image.fds],
        )
