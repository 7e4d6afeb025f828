"""Several workers, each held to the same part of a core, as one hold (`tests/faults/held.py`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.held import Hold, hold


class Holds:
    """`to`, `lift` and `end` are for all of them."""

    def __init__(self, *pids: int) -> None:
        self._holds: list[Hold] = []
        for pid in pids:
            self._holds.append(hold(pid))
        self.how = self._holds[0].how

    def to(self, share: float) -> None:
        for one in self._holds:
            one.to(share)

    def lift(self) -> None:
        for one in self._holds:
            one.lift()

    def end(self) -> None:
        for one in self._holds:
            one.end()


@contextmanager
def held(*pids: int) -> Iterator[Holds]:
    workers = Holds(*pids)
    try:
        yield workers
    finally:
        workers.lift()
        workers.end()
