"""Which processor is whose: servers on one, the load on another. What is started inherits it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def two_cores() -> tuple[int, int]:
    """Return the load's and the servers'. Where there is one processor they are the same: times are worth nothing."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let what is started within the block run there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
