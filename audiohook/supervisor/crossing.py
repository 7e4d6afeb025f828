"""The arbiter's part of a reload: the trial process, what is handed over, and how it is taken on. Knows no policy.

Signals are blocked before anything is written down, and unblocked by the next image when its handlers stand: in the
150 ms between, a HUP would end the process. What is in the inbox by then would be lost with it, so it is sent again,
to wait in the kernel.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from audiohook.net.hygiene import exec_child
from audiohook.net.signals import SignalInbox
from audiohook.supervisor.children import Children
from audiohook.supervisor.handover import Lot
from audiohook.supervisor.hooks import Reloading
from audiohook.supervisor.orders import (
    ChildExited,
    CrossFailed,
    DeskExited,
    Input,
    Resumed,
    TrialFailed,
)
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.state import DESK, TRIAL, State
from audiohook.supervisor.switchboard import Switchboard

UNKNOWN_EXIT_CODE = 1
"""The status of a child that somebody else has reaped."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """With what an image begins that is not the first: the lot of the one before, and how that is to be judged."""

    lot: Lot
    plan: Plan
    fault: str
    taken_over: Callable[[], None]
    """To be called when this process' handlers stand, with signals blocked: there is no way back by itself then."""


class Crossing:
    """One arbiter's way into other images, if there is a `reloading` at all."""

    def __init__(
        self,
        reloading: Reloading | None,
        children: Children,
        switchboard: Switchboard,
        inbox: SignalInbox,
        lifeline: tuple[int, int],
    ) -> None:
        self._reloading = reloading
        self._children = children
        self._switchboard = switchboard
        self._inbox = inbox
        self._lifeline = lifeline

    def start_trial(self, state: State) -> Input | None:
        reloading = self._reloading
        if reloading is None:
            return TrialFailed("this supervisor cannot re-execute itself", started=False)
        try:
            command = reloading.trial(self._lot(state))
        except OSError as error:
            return TrialFailed(f"the trial process cannot be started: {error}", started=False)
        try:
            fault = self._children.start_silent(
                TRIAL, lambda report_fd: exec_child(command.argv, {**command.fds, "report": report_fd})
            )
        finally:
            reloading.trial_started()
        return None if fault is None else TrialFailed(f"the trial process cannot be started: {fault}", started=False)

    def cross(self, state: State, fault: str) -> Input:
        """Re-execute this process. Returns only if that failed."""
        if self._reloading is None:
            return CrossFailed("this supervisor cannot re-execute itself")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            for number in self._inbox.drain():
                os.kill(os.getpid(), number)
            self._reloading.cross(self._lot(state), fault)
        except Exception as error:
            return CrossFailed(f"the supervisor cannot re-execute itself: {error}")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def take_on(self, resumption: Resumption) -> list[Input]:
        """Take on processes and commands, then open signals. Returns what there is to tell the policy."""
        lot = resumption.lot
        strangers = self._children.take_on(lot.children)
        self._switchboard.take_on(lot.waiting, lot.last_ticket)
        resumption.taken_over()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        news: list[Input] = [Resumed(resumption.plan, resumption.fault)]
        for child in strangers:
            self._children.reaped(child)
            gone = DeskExited(UNKNOWN_EXIT_CODE) if child.place == DESK else None
            news.append(gone or ChildExited(child.place, child.pid, UNKNOWN_EXIT_CODE))
        return news

    def _lot(self, state: State) -> Lot:
        kept = [child for child in self._children.kept() if child.place != TRIAL]
        return Lot(state, kept, self._switchboard.table, self._switchboard.last_ticket, self._lifeline)
