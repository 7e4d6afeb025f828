"""The stacks of every thread on standard error when a signal asks for them: what a process that hangs is doing.

The handler is C, in faulthandler: one of Python's would never run while Python is stuck, which is when it is wanted. It
writes files, lines and functions, never values. Set before the first fork it is there in every forked child from its
birth (`net/hygiene.py` resets Python's handlers and leaves this one, tests/process/test_hygiene_signals.py); without it
the signal would kill. A process that is stopped (SIGSTOP, a debugger) writes nothing until it goes on.
"""

import faulthandler
import signal

STACKS_SIGNAL = signal.SIGUSR2


def dump_stacks_when_asked() -> None:
    """Answer STACKS_SIGNAL from now on, in this process and in those that are forked from it."""
    # chain=False: the signal's own action, which comes next in the chain, is the process' end.
    faulthandler.register(STACKS_SIGNAL, all_threads=True, chain=False)
