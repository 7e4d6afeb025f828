"""The inputs that are kept: what once failed, one file each, in `tests/fuzz/corpus/TARGET/`, named by its content.

They are checked first in every run, and mutated like seeds. Kept small: a defect, a file. Written only by a failure.
"""

from hashlib import sha256
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def kept(name: str, folder: Path = CORPUS) -> list[bytes]:
    """Return the inputs kept for a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((folder / name).glob("*.bin"))]


def keep(name: str, data: bytes, folder: Path = CORPUS) -> Path:
    """Write an input down and return where."""
    path = folder / name / f"{sha256(data).hexdigest()[:16]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
