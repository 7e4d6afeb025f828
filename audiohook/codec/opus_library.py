"""Finds libopus and opens it, once a process, through `opuslib`.

libopus is the system's where the dynamic linker knows one, else the one inside the wheel `opuslib-next-bundled`;
opuslib takes either in the same way, so there is one code path behind `libopus()`. That wheel's package is located and
never imported: it would bring a second binding of the same library.

Knows nothing of packets, decoders or rings. Raises `BootError`, which names both remedies, and nothing else.
"""

import ctypes
import ctypes.util
import functools
import importlib
import importlib.util
import warnings
from pathlib import Path

from audiohook.errors import BootError

REMEDY = "install the system's library (Debian: libopus0) or the wheel opuslib-next-bundled"


def opus_library_path() -> str:
    """Return what opens libopus: the system's soname, or the absolute path of the library inside the wheel."""
    system = ctypes.util.find_library("opus")
    if system is not None:
        return system
    bundled = _bundled_library()
    if bundled is None:
        raise BootError(f"libopus not found: {REMEDY}")
    return str(bundled)


def _bundled_library() -> Path | None:
    spec = importlib.util.find_spec("opuslib_next")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        library = Path(folder) / "_native" / "libopus.so"
        if library.is_file():
            return library
    return None


@functools.cache
def libopus() -> ctypes.CDLL:
    """Return the open library, the same object at every call.

    Take functions out of it by item (`libopus()["opus_decode"]`): that makes a function object of one's own, whose
    `argtypes` disturb neither opuslib's wrappers nor anybody else's.
    """
    path = opus_library_path()
    real = ctypes.util.find_library
    # opuslib asks `find_library` while it is imported and offers no other way to say where the library is.
    ctypes.util.find_library = lambda name: path if name == "opus" else real(name)
    try:
        # It compares with `is not 0`: a SyntaxWarning whenever its source is compiled, and tests make warnings errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            library = importlib.import_module("opuslib.api").libopus
    except ModuleNotFoundError as error:
        raise BootError(f"the Python package {error.name} is missing: pip install 'audiohook[server]'") from error
    except OSError as error:
        raise BootError(f"libopus ({path}) cannot be opened: {error}; {REMEDY}") from error
    finally:
        ctypes.util.find_library = real
    if not isinstance(library, ctypes.CDLL):
        raise BootError("opuslib has no open libopus; its version is not one that this program knows")
    return library
