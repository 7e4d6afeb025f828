"""callgrind, seen from both sides: a program that asks it to count, and whoever runs that program and reads the counts.

A program says what is to be counted with the client requests of callgrind.h, which are a sequence of instructions that
mean nothing anywhere else: `Requests` makes them, without a compiler. Only what is between `on` and `off` is counted,
so the interpreter's start, which is a thousand times as much, is neither in the figures nor simulated at length.

Instructions and not times: they are the same on a busy machine. The kernel's are not among them.
"""

import ctypes
import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from audiohook.load.debian_packages import download, unpack

ROOT = Path(__file__).parents[2]
VAR = ROOT / "var" / "valgrind"
Counts = Mapping[str, Counter[str]]
"""By the name given to `Requests.dump`: instructions by object (a library's file name)."""

# rax: address of the request; rdx: its answer where nobody listens. Then the magic of valgrind.h for amd64.
_CODE = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_TOOL = ord("C") << 24 | ord("T") << 16
_ZERO, _TOGGLE, _DUMP_AT, _START = (_TOOL + number for number in (1, 2, 3, 4))


class Requests:
    """What a program says to the callgrind that runs it. Does nothing elsewhere."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._page.write(_CODE)
        self._words = (ctypes.c_uint64 * 6)()
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        # PyDLL's kind of call: the GIL stays where it is, whose release would be counted.
        self._call = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(address)
        self._toggles = (ctypes.c_uint64 * 6)(_TOGGLE)
        self._toggles_at = ctypes.addressof(self._toggles)

    def start(self) -> None:
        """Simulate from here on; nothing is counted yet."""
        self._ask(_START)
        self.toggle()

    def toggle(self) -> None:
        """Begin, or stop, to count."""
        self._call(self._toggles_at)

    def zero(self) -> None:
        self._ask(_ZERO)

    def dump(self, name: str) -> None:
        """Write down what was counted since `zero`."""
        text = ctypes.create_string_buffer(name.encode())
        self._ask(_DUMP_AT, ctypes.addressof(text))

    def _ask(self, request: int, argument: int = 0) -> None:
        self._words[0], self._words[1] = request, argument
        self._call(ctypes.addressof(self._words))


def installed() -> str | None:
    """Return the path of this system's valgrind, None if it has none."""
    return shutil.which("valgrind")


def obtain() -> tuple[str, dict[str, str]]:
    """Return valgrind and its environment: this system's, or Debian's unpacked once below `var/`.

    Raises PackagesError, a line, where it cannot be had.
    """
    there = installed()
    if there:
        return there, {}
    if not VAR.exists():
        VAR.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="valgrind.", dir=VAR.parent) as work:
            try:
                # A folder that has its name is complete, whoever else does the same meanwhile.
                unpack(download(["valgrind"], Path(work)), Path(work)).rename(VAR)
            except OSError:
                if not VAR.exists():
                    raise
    return str(VAR / "usr/bin/valgrind"), {"VALGRIND_LIB": str(VAR / "usr/libexec/valgrind")}


def count(module: str, *arguments: str) -> Counts:
    """Run a module below callgrind and return what it has dumped. Raises PackagesError, or RuntimeError with its words.

    With hashes that are the same every time, since what a dictionary costs depends on them.
    """
    program, environment = obtain()
    with tempfile.TemporaryDirectory(prefix="audiohook-callgrind-") as folder:
        command = [program, "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out.%p"]
        fixed = {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, sys.executable, "-m", module, *arguments],
            env={**os.environ, **environment, **fixed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{module} below {program} ended with {done.returncode}:\n{done.stderr}")
        return dict(filter(None, (dumped(path.read_text()) for path in sorted(Path(folder).iterdir()))))


def between(counts: Counts, kind: str, sizes: tuple[int, int]) -> Counter[str]:
    """Return what the larger run of a kind took more than the smaller: whatever a run has once cancels out."""
    small, large = sizes
    more = Counter(counts[f"{kind} {large}"])
    more.subtract(counts[f"{kind} {small}"])
    return more


def each_of(more: Counter[str], sizes: tuple[int, int]) -> dict[str, int]:
    """Return that for one of what was counted, by library, most first."""
    small, large = sizes
    return {name: round(total / (large - small)) for name, total in more.most_common() if total > 0}


def most_of(objects: dict[str, int]) -> str:
    """Return the first of them as a line."""
    return ", ".join(f"{name.partition('.')[0]} {total:,}" for name, total in list(objects.items())[:4])


_NAME = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
_OBJECT = re.compile(r"ob=\((\d+)\)(?: (.*))?$")


def dumped(text: str) -> tuple[str, Counter[str]] | None:
    """Return name and counts of one dump, None of one that nobody asked for.

    Format: https://valgrind.org/docs/manual/cl-format.html. A line that begins with a number or a sign is a cost,
    unless the one before it was `calls=`: then it is that of what was called, which has a line of its own.
    """
    named = _NAME.search(text)
    if named is None:
        return None
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    here, called = "", False
    for line in text.splitlines():
        found = _OBJECT.match(line.removeprefix("c"))
        if found:
            number, path = found[1], found[2]
            if path is not None:
                names[number] = Path(path).name
            here = here if line.startswith("c") else names[number]
        elif line.startswith("calls="):
            called = True
        elif line[:1] in "+-*0123456789" and " " in line:
            if not called:
                counts[here] += int(line.split()[1])
            called = False
    return named[1], counts
