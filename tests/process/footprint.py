"""How much memory a process has, and has had at most, as the kernel counts it."""

from pathlib import Path

MEBIBYTE = 1 << 20


def _status_bytes(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def own_bytes(pid: int) -> int:
    """Return a process' own memory: neither shared nor a file's, though what it still shares with its parent counts."""
    return _status_bytes(pid, "RssAnon")


class Footprint:
    """A process from now on: what its own memory has grown by, and by how much it was larger in between.

    Shared memory is left out. The pages of a ring are counted when they are first touched, so a call that talks makes
    its worker larger by what it says, once around the ring.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): sets the peak back to what there is now
        self._own_bytes = own_bytes(pid)
        self._all_bytes = _status_bytes(pid, "VmRSS")
        self._shared_bytes = _status_bytes(pid, "RssShmem")

    @property
    def growth_bytes(self) -> int:
        return own_bytes(self._pid) - self._own_bytes

    @property
    def peak_growth_bytes(self) -> int:
        shared_bytes = _status_bytes(self._pid, "RssShmem") - self._shared_bytes
        return _status_bytes(self._pid, "VmHWM") - self._all_bytes - shared_bytes
