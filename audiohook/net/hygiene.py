"""Fork and exec without the known traps. Knows nothing of rows, restarts or memory.

`fork_child` and `exec_child` are the primitives; who calls them is the arbiter's business (`supervisor/arbiter.py`).
The rules, from architecture.md section 2 rule 6; each trap is shown by a program in tests/process/test_hygiene*.py:

- one thread before a fork: a lock that another thread holds stays locked in the child for ever;
- stdio is flushed before: what is still buffered would be written twice;
- signals are blocked around the fork. Before it unblocks them the child lets go of the wake-up descriptor (else its
  SIGTERM is read by the parent), sets every handler back to default, ignores SIGINT, SIGHUP, SIGTTIN and SIGTTOU
  (Ctrl-C, a closing terminal and `pkill -HUP` reach the whole group and are the supervisor's to judge; the default of
  the last two is to stop) and SIGPIPE (as Python does), and closes what is not its own (`prepare`);
- a child never returns into its parent's stack: what it raises is reported, then `os._exit`;
- an exec'ed child gets the descriptors that it is named and no other, also none that we were started with.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence

from audiohook.errors import BootError
from audiohook.net.seat import report_failure

FDS_VARIABLE = "AUDIOHOOK_FDS"
"""`name=number,name=number`: the descriptors that an exec'ed child was given."""

_FIRST_FD = 3


def require_one_thread() -> None:
    """Raise BootError unless this process has exactly one thread."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise BootError(
            f"{threads} threads run where a process must be forked from one; "
            "set OPENBLAS_NUM_THREADS=1 before NumPy is imported and start no thread in the supervisor"
        )


def fork_child(run: Callable[[], int], *, prepare: Callable[[], None], report_fd: int) -> int:
    """Fork; the child calls `prepare` with signals blocked, then `run` with them open, and exits with what it returns.

    Returns the child's pid, in the parent only. A BootError out of `prepare` or `run` is told on `report_fd` and is the
    exit code; any other exception goes to stderr, its last line to `report_fd`, and the exit code is 1.
    Raises BootError when there is more than one thread, OSError when there is no room for a process.
    """
    require_one_thread()
    sys.stdout.flush()
    sys.stderr.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live_and_exit(run, prepare, report_fd, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _live_and_exit(
    run: Callable[[], int], prepare: Callable[[], None], report_fd: int, mask: set[int | signal.Signals]
) -> None:
    code = 1
    try:
        reset_signals()
        prepare()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = run()
    except BootError as error:
        report_failure(report_fd, str(error))
        code = error.exit_code
    except BaseException as error:
        traceback.print_exc()
        report_failure(report_fd, f"{type(error).__name__}: {error}")
    finally:
        # The inner `finally`: a stdout whose reader is gone must not let the child out of here either.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def reset_signals() -> None:
    """Give up what a forked child inherited: the wake-up descriptor and every Python handler."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def exec_child(argv: Sequence[str], fds: Mapping[str, int]) -> int:
    """Fork and exec `argv` (looked up in PATH) with exactly stdio and `fds`, which it finds with `inherited_fds`.

    `fds` must have `report`: a program that cannot be run is told there, with exit code `BootError.exit_code`.
    Returns the pid; raises as `fork_child`. What a forked child ignores stays ignored across the exec.
    """
    return fork_child(lambda: _exec(argv, fds), prepare=lambda: None, report_fd=fds["report"])


def _exec(argv: Sequence[str], fds: Mapping[str, int]) -> int:
    given = set(fds.values())
    for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        if fd < _FIRST_FD:
            continue
        try:
            os.set_inheritable(fd, fd in given)
        except OSError:
            continue  # the descriptor of the listing itself, closed by now
    environment = {**os.environ, FDS_VARIABLE: ",".join(f"{name}={fd}" for name, fd in fds.items())}
    try:
        os.execvpe(argv[0], list(argv), environment)
    except OSError as error:
        raise BootError(f"cannot run {argv[0]}: {error.strerror}") from error


def inherited_fds(environment: MutableMapping[str, str]) -> dict[str, int]:
    """Return the descriptors that `exec_child` gave us by name, close-on-exec again; the variable is removed.

    Raises BootError when there is none: the program was started by hand.
    """
    text = environment.pop(FDS_VARIABLE, "")
    if not text:
        raise BootError(f"{FDS_VARIABLE} is not set: this program is started by the supervisor, not by hand")
    fds: dict[str, int] = {}
    for pair in text.split(","):
        name, _, number = pair.partition("=")
        fds[name] = int(number)
        os.set_inheritable(fds[name], False)
    return fds
