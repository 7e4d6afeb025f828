"""Starts the daemon as systemd does: with descriptors from 3 on, and LISTEN_* that say what they are.

    AUDIOHOOK_PASSING=SOCKET python -m tests.support.passing [the daemon's arguments]

The descriptors and their names come over a Unix socket from whoever plays systemd (`tests/support/service_manager.py`).
"""

import fcntl
import os
import socket
import sys


def main() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(os.environ.pop("AUDIOHOOK_PASSING"))
        names, fds, _, _ = socket.recv_fds(line, 65_536, 250)
    # Out of the way first: what comes at 5 may be wanted at 4.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 1000) for fd in fds]
    for fd in fds:
        os.close(fd)
    for at, fd in enumerate(high):
        os.dup2(fd, 3 + at, inheritable=True)
    if high:
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names.decode().strip())
    os.execv(sys.executable, [sys.executable, "-P", "-m", "audiohook.cli.audiohookd", *sys.argv[1:]])


if __name__ == "__main__":
    main()
