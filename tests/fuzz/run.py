"""`make fuzz`: every target, or those named, for the time given in all; a table, and status 1 if anything was found.

Targets run in processes of their own, as many at once as there are processors, and share the time evenly; or each runs
until it has had so many inputs. A failure is made small, written to the corpus and printed with the seed: it stays
there, and fails, until it is repaired.
"""

import argparse
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.harness import Result, fuzz
from tests.fuzz.kept import keep, kept
from tests.fuzz.target import load_target, target_names


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzz what reads a peer's bytes.")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (default 60)")
    parser.add_argument("--inputs", type=int, help="for each target, however long that takes, instead of --seconds")
    parser.add_argument("--seed", type=int, help="the same seed makes the same inputs (default: a new one)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(target_names())} (default: all)")
    given = parser.parse_args(arguments)
    names = given.targets or target_names()
    unknown = sorted(set(names) - set(target_names()))
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    processes = min(len(names), len(os.sched_getaffinity(0)))
    bound = f"{given.inputs:,} inputs each" if given.inputs else f"{given.seconds:g} s in all"
    print(f"seed {seed}; {len(names)} targets, {processes} at a time, {bound}", flush=True)
    # Fresh processes: nothing of one target's memory is counted against another.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        share = given.seconds * processes / len(names)
        runs = [pool.submit(_run, name, seed, share, given.inputs) for name in names]
        print(_row(), flush=True)
        # Each as it ends: a run of a million inputs takes an hour, and may be ended before.
        for run in as_completed(runs):
            print(_row(run.result()), flush=True)
        results = [run.result() for run in runs]
    for result in results:
        if result.failure is not None:
            path = keep(result.name, result.failure.data)
            print(
                f"{result.name}: {result.failure.reason}\n    {path.relative_to(Path.cwd())}: {result.failure.data!r}"
            )
    return 1 if any(result.failure for result in results) else 0


def _run(name: str, seed: int, seconds: float, inputs: int | None) -> Result:
    def goes_on(inputs_so_far: int, seconds_so_far: float) -> bool:
        return inputs_so_far < inputs if inputs else seconds_so_far < seconds

    return fuzz(load_target(name), kept(name), seed, goes_on)


def _row(result: Result | None = None) -> str:
    """Return a line of the table, or its head."""
    if result is None:
        return f"{'target':<16} {'inputs':>10} {'a second':>9} {'slowest':>9}  found"
    return (
        f"{result.name:<16} {result.inputs:>10,} {result.inputs / result.seconds:>9,.0f} "
        f"{result.slowest_ms:>6.1f} ms  {'1' if result.failure else 'nothing'}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
