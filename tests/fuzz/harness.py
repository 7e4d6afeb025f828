"""Runs one target on mutated inputs until the time is over or something is found, and makes what is found small.

An input fails if `check` raises anything, if it takes longer than STUCK_SECONDS of this process's own time (an endless
loop is broken off there) or SLOW_SECONDS, or if it holds more than PEAK_BYTES at once. The last is measured for one
input in PEAK_EVERY, since measuring costs. Besides, the process as a whole must not grow by GROWTH_BYTES.
"""

import gc
import random
import resource
import signal
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.mutation import Mutator
from tests.fuzz.target import Target

STUCK_SECONDS = 5.0
SLOW_SECONDS = 0.5
PEAK_BYTES = 8 << 20
PEAK_EVERY = 512
GROWTH_BYTES = 48 << 20
WARM_INPUTS = 4096
"""Growth is counted from here on: caches and the allocator's arenas are full by then."""

SHRINK_TRIES = 2000

_ROOT = Path(__file__).parents[2]


class Stuck(BaseException):
    """Not an Exception, so that no `except Exception` of the code under test keeps it."""


@dataclass(frozen=True)
class Failure:
    """`kind` is what two failures of one defect have in common: an exception's type and place, or a limit's name."""

    data: bytes
    kind: str
    reason: str


@dataclass(frozen=True)
class Result:
    """`failure` is None if all `inputs` passed. `slowest_ms` is of this process's own time."""

    name: str
    inputs: int
    seconds: float
    slowest_ms: float
    failure: Failure | None = None


def fuzz(target: Target, corpus: Sequence[bytes], seed: int, goes_on: Callable[[int, float], bool]) -> Result:
    """Check the corpus, the seeds, and mutated inputs while `goes_on(inputs so far, seconds so far)`."""
    seeds = [*target.seeds(), *([data] for data in corpus)]
    mutator = Mutator(target, seeds, random.Random(f"{seed}/{target.name}"))
    started = time.monotonic()
    inputs, slowest, warm_bytes = 0, 0.0, 0
    with _breaking_off():
        for data in _inputs(target, corpus, mutator):
            failure, took = _examine(target, data, measured=inputs % PEAK_EVERY == 0)
            inputs += 1
            slowest = max(slowest, took)
            if inputs == WARM_INPUTS:
                warm_bytes = _most_bytes()
            elif warm_bytes and _most_bytes() - warm_bytes > GROWTH_BYTES:
                failure = Failure(data, "growth", f"the process grew by more than {GROWTH_BYTES >> 20} MiB")
            if failure is not None:
                failure = _shrunk(target, failure)
            if failure is not None or not goes_on(inputs, time.monotonic() - started):
                break
    return Result(target.name, inputs, time.monotonic() - started, slowest * 1000, failure)


def examine(target: Target, data: bytes) -> Failure | None:
    """Check one input in every respect; return what is wrong."""
    with _breaking_off():
        return _examine(target, data, measured=True)[0]


def _inputs(target: Target, corpus: Sequence[bytes], mutator: Mutator) -> Iterator[bytes]:
    yield b""
    yield from corpus
    for seed in target.seeds():
        yield target.assemble(seed)
    while True:
        yield mutator.next()


def _examine(target: Target, data: bytes, *, measured: bool) -> tuple[Failure | None, float]:
    """Return what is wrong with an input, and the seconds that it took; these are not judged where it is measured."""
    if measured:
        gc.collect()
        tracemalloc.start()
    signal.setitimer(signal.ITIMER_VIRTUAL, STUCK_SECONDS)
    started = time.process_time()
    kind = reason = ""
    try:
        target.check(data)
    except Stuck:
        kind, reason = "stuck", f"no end after {STUCK_SECONDS} s"
    except Exception as error:
        kind = f"{type(error).__name__} in {_place(error)}"
        reason = f"{kind}: {error}"
        # The traceback holds the frames that hold the objects: what is kept of them would be counted as growth.
        error.__traceback__ = None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        took = time.process_time() - started
        peak_bytes = 0
        if measured:
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            took = 0.0
    if not kind and took > SLOW_SECONDS:
        kind, reason = "slow", f"it took {took:.1f} s"
    if not kind and peak_bytes > PEAK_BYTES:
        kind, reason = "large", f"{peak_bytes >> 20} MiB were held"
    return (Failure(data, kind, reason) if kind else None), took


def _place(error: Exception) -> str:
    """Return the innermost place in this repository, as "file:line"."""
    here = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(_ROOT))]
    return f"{Path(here[-1].filename).relative_to(_ROOT)}:{here[-1].lineno}" if here else "-"


def _shrunk(target: Target, failure: Failure) -> Failure:
    """Return a smaller input that fails in the same way: blocks are cut out, large ones first."""
    if failure.kind in ("stuck", "slow", "growth"):
        return failure
    tries = 0
    size = len(failure.data) // 2
    while size:
        at = 0
        while at < len(failure.data):
            if tries == SHRINK_TRIES:
                return failure
            tries += 1
            found, _ = _examine(target, failure.data[:at] + failure.data[at + size :], measured=failure.kind == "large")
            if found is not None and found.kind == failure.kind:
                failure = found
            else:
                at += size
        size //= 2
    return failure


@contextmanager
def _breaking_off() -> Iterator[None]:
    """Let the timer that `_examine` sets raise `Stuck`. It counts this process's own time: other load is no fault."""

    def stuck(_number: int, _frame: FrameType | None) -> None:
        raise Stuck

    before = signal.signal(signal.SIGVTALRM, stuck)
    try:
        yield
    finally:
        signal.signal(signal.SIGVTALRM, before)


def _most_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
