"""Signals as bytes on a descriptor, for a selectors loop: shared by the supervisor and the workers.

`signal.set_wakeup_fd` lets CPython's C handler write the number of each signal into a pipe; the Python handlers are
there only because without one the wake-up is not written, and do nothing. So no code of ours ever runs between two
bytecodes of other code, and a signal is just one more event of the loop.

A pipe and not a socketpair: a socketpair's buffer is full after some 300 one-byte messages, a pipe's after 65,536.
The pipe is this process's own: a forked child must let go of it before it unblocks signals (`net/hygiene.py`), else
the parent reads the child's signals (tests/process/test_hygiene_signals.py).
"""

import os
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class SignalInbox:
    """The signals of this process, in the order in which they came. Main thread only.

    inbox = SignalInbox()
    inbox.install([signal.SIGTERM, signal.SIGQUIT])
    selector.register(inbox, selectors.EVENT_READ)
    ...
    for number in inbox.drain(): ...
    inbox.restore()
    """

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[int, _Handler] = {}
        self._wakeup_before = -1

    def install(self, signals: Iterable[int]) -> None:
        """Take these signals over. The pipe is set before the first handler, so that none falls between."""
        self._wakeup_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in signals:
            self._before[number] = signal.signal(number, _nothing)

    def fileno(self) -> int:
        """Return the descriptor that is readable while signals wait; valid until `restore` or `abandon`."""
        return self._read_fd

    def drain(self) -> list[int]:
        """Return the numbers of the signals that came since the last call, oldest first; never waits."""
        numbers: list[int] = []
        while True:
            try:
                numbers += os.read(self._read_fd, 4096)
            except BlockingIOError:
                return numbers

    def restore(self) -> None:
        """Give the signals back to whoever had them before, and close the pipe."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self.abandon()

    def abandon(self) -> None:
        """Close this process's copies of the pipe and touch no handler: what a forked child does with its parent's."""
        os.close(self._read_fd)
        os.close(self._write_fd)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the C handler has written the number already."""
