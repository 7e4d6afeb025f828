"""A network of one's own, of which everything can be dropped for a while: a namespace, and a filter on its loopback.

What is started within the `with` block lives in that namespace; sockets in the file system are where they were. The
filter drops silently what arrives, in both directions, as a dead line does. Needs privilege, and `ip` and `tc` of
iproute2; without them `Unavailable` is raised, in words.
"""

import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
DROP_ALL = "1,6 0 0 2"
"""Classic BPF, one instruction: return TC_ACT_SHOT."""

_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """No namespace of one's own can be had here, and why."""


class OwnNetwork:
    """From entering the `with` block to its end this thread, and what it starts, is in a namespace of its own."""

    def __init__(self) -> None:
        self._home = -1

    def __enter__(self) -> "OwnNetwork":
        missing = [name for name in ("ip", "tc") if shutil.which(name) is None]
        if missing:
            raise Unavailable(f"{' and '.join(missing)} of iproute2 cannot be found")
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if _libc.unshare(CLONE_NEWNET):
            os.close(self._home)
            raise Unavailable(f"no network namespace can be made: {os.strerror(ctypes.get_errno())}")
        try:
            _do("ip", "link", "set", "lo", "up")
            # Tried before anything depends on it: this is where a kernel without the filter says so.
            self.drop()
            self.release()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        failed = _libc.setns(self._home, CLONE_NEWNET)
        os.close(self._home)
        assert not failed, os.strerror(ctypes.get_errno())

    def drop(self) -> None:
        """Let nothing through from now on."""
        _do("tc", "qdisc", "add", "dev", "lo", "ingress")
        _do("tc", "filter", "add", "dev", "lo", "ingress", "protocol", "all", "bpf", "da", "bytecode", DROP_ALL)

    def release(self) -> None:
        """Let everything through again."""
        _do("tc", "qdisc", "del", "dev", "lo", "ingress")


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")
