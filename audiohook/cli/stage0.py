"""Stage 0: what execve goes into, so that code which cannot take over does not cost the service its supervisor.

Runs as source text that the *old* image kept in memory (`python -P -c`), with the standard library only: whatever has
become of the package on the disk, this still runs. First in a process of its own, as the trial, of which it tells why
the new code cannot even be imported (`trial.py` does the rest). Then in the supervisor's process: it imports the new
image into its own interpreter and lets it take over. As long as that has not said `taken_over()`, any exception, and
more than `patience_seconds`, leads back: the descriptors are put where they were (the half-started image may have
closed some) and execve starts the old code from the snapshot of its files. If that fails too, this process stays as a
caretaker: the workers serve on, it reaps them, passes signals on, and tries the disk again at SIGHUP.

Signals are blocked all the time; only SIGALRM is open, for the patience. What no exception tells of is beyond this: a
new image that is killed, or ends itself with os._exit, before it has taken over, takes the supervisor with it. The
workers then keep their calls as orphans. Contract: docs/architecture.md, "Reload".
"""

import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

TRIAL, TAKE_OVER = "trial", "audiohookd"
"""The first argument: what this is run for. The rest are the daemon's, behind the handover's number in TAKE_OVER."""

CARETAKER_EXIT_CODE = 1
TRIAL_EXIT_CODE = 1


def main() -> NoReturn:
    if sys.argv[1] == TRIAL:
        try_out()
    take_over()


def try_out() -> NoReturn:
    """Be the trial process of a reload: whatever keeps the new code from speaking for itself is told for it."""
    fds = dict(pair.split("=") for pair in os.environ["AUDIOHOOK_FDS"].split(","))
    del sys.argv[1]
    try:
        from audiohook.cli.trial import main as trial

        code = trial()
    except BaseException as error:
        os.write(int(fds["report"]), f"E{fault_of(error)}\n".encode())
        code = TRIAL_EXIT_CODE
    sys.exit(code)


def take_over() -> NoReturn:
    handover_fd = int(sys.argv[2])
    with open(f"/proc/self/fd/{handover_fd}") as file:
        handover = json.load(file)
    spares = {fd: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in handover["keep"]}

    def taken_over() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        while spares:
            os.close(spares.popitem()[1])

    try:
        code = start(handover, handover_fd, taken_over)
    except BaseException as error:
        if not spares:
            raise
        signal.setitimer(signal.ITIMER_REAL, 0)
        for fd, spare in spares.items():
            os.dup2(spare, fd, inheritable=True)
        fail(handover, fault_of(error))
    sys.exit(code)


def start(handover: dict[str, Any], handover_fd: int, taken_over: Callable[[], None]) -> int:
    """Import the image and be it; return its exit code."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, handover["patience_seconds"])
    if handover["image"]:
        sys.path.insert(0, handover["image"])
    sys.argv = ["audiohookd", *handover["arguments"]]
    from audiohook.cli.resuming import resume

    return resume(handover_fd, taken_over)


def _too_late(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError("it has not taken over in time")


def fault_of(error: BaseException) -> str:
    """Return what went wrong in one line, with the innermost place in our own code."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "audiohook/" in name:
            place = f" ({name[name.rindex('audiohook/') :]}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return " ".join(f"{type(error).__name__}: {error}{place}".split())


def fail(handover: dict[str, Any], fault: str) -> NoReturn:
    """Start the old code; or, if it is that which has failed, stay as a caretaker."""
    say(f"the code could not take over: {fault}")
    if handover["back"]:
        execute({**handover, "image": handover["back"], "back": "", "fault": fault})
    caretake(handover)


def execute(handover: dict[str, Any]) -> NoReturn:
    """Begin again with another image."""
    fd = os.memfd_create("audiohook:handover", 0)
    os.write(fd, json.dumps(handover).encode())
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    argv = command_line(handover["stage0_fd"], TAKE_OVER, str(fd), *handover["arguments"])
    os.execv(argv[0], argv)


def command_line(stage0_fd: int, *arguments: str) -> tuple[str, ...]:
    """Return how this text is run. -P: the working directory is no place to import from."""
    return (sys.executable, "-P", "-c", f"exec(open('/proc/self/fd/{stage0_fd}').read())", *arguments)


def caretake(handover: dict[str, Any]) -> NoReturn:
    """Hold what the workers hang on until the last of them has ended."""
    say("no code can be started: the workers serve on without a supervisor; HUP tries again, TERM drains, QUIT hurries")
    wanted = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
    children = {child["pid"] for child in handover["lot"]["children"] if child["pidfd"] is None}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    while children:
        children -= reap()
        number = signal.sigwait(wanted) if children else signal.SIGCHLD
        if number == signal.SIGHUP:
            execute({**handover, "image": "", "back": "", "fault": ""})
        if number != signal.SIGCHLD:
            for pid in children - reap():
                os.kill(pid, signal.SIGTERM if number == signal.SIGINT else number)
    say("the last worker has ended")
    sys.exit(CARETAKER_EXIT_CODE)


def reap() -> set[int]:
    dead: set[int] = set()
    try:
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            dead.add(pid)
    except ChildProcessError:
        pass
    return dead


def say(text: str) -> None:
    print(f"audiohookd: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
