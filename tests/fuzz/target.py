"""What a fuzz target is: a module in `tests/fuzz/targets/` with two functions, and how the modules are found.

    seeds() -> iterable of sequences of bytes      valid inputs, each in the pieces that mutation moves about
    check(data: bytes) -> None                     runs the code on an input; raises on whatever must not be

An assertion in `check` is an invariant of the code; every other exception is a defect too. Two more names are optional:

    TOKENS: sequence of bytes                      what a mutation may put anywhere: delimiters, limits, magic words
    assemble(pieces) -> bytes                      makes the input of mutated pieces, where their bare sum would not
                                                   get past the front door (lengths, masks, checksums)

`check` is called with any bytes at all, not only with what `assemble` makes. It must depend on nothing but them:
where it needs chance (cuts, times) it takes `chance(data)`. It may take 0.5 s and hold 8 MiB (`harness.py`).
"""

import importlib
import pkgutil
import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.fuzz import targets

Pieces = Sequence[bytes]


@dataclass(frozen=True)
class Target:
    name: str
    seeds: Callable[[], Iterable[Pieces]]
    check: Callable[[bytes], None]
    tokens: Pieces = ()
    assemble: Callable[[Pieces], bytes] = field(default=b"".join)


def target_names() -> list[str]:
    """Return the name of every module in `tests/fuzz/targets/`, sorted."""
    return sorted(found.name for found in pkgutil.iter_modules(targets.__path__))


def load_target(name: str) -> Target:
    """Import a target. Whatever its import raises is not caught: a target that is not run is a defect."""
    module = importlib.import_module(f"{targets.__name__}.{name}")
    return Target(
        name, module.seeds, module.check, getattr(module, "TOKENS", ()), getattr(module, "assemble", b"".join)
    )


def chance(data: bytes) -> random.Random:
    """Return a source of chance that is the same whenever this input is checked."""
    return random.Random(zlib.crc32(data))


def random_cut(data: bytes, choice: random.Random) -> list[bytes]:
    """Return `data` as TCP may deliver it: in a few pieces, none empty; byte by byte the oftener the shorter it is."""
    size = len(data)
    if size < 2:
        return [data] if data else []
    if choice.random() * size < 4:
        return [data[at : at + 1] for at in range(size)]
    places = sorted({int(choice.random() * size) for _ in range(1 + int(choice.random() * 6))} - {0})
    return [data[start:end] for start, end in zip([0, *places], [*places, size], strict=True)]
