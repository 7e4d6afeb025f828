"""The programs in C of the bench, built by gcc when they are wanted, into var/bench/. No gcc: `Missing`."""

import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.daemon import ROOT

HERE = Path(__file__).parent
BUILT = ROOT / "var" / "bench"
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


class Missing(Exception):
    """Something that a server of the bench needs is not on this machine. The text says what."""


@functools.cache
def program(name: str) -> Path:
    """Return the path of a program, named by what it was made of, so that a change makes another one."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise Missing("gcc is not installed")
    made_of = b"".join(path.read_bytes() for path in (HERE / f"{name}.c", *sorted(HERE.glob("*.h"))))
    built = BUILT / f"{name}-{hashlib.sha256(made_of).hexdigest()[:12]}"
    if not built.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        fresh = built.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, "-o", fresh, HERE / f"{name}.c", "-ldl"], check=True)
        fresh.rename(built)
    return built
