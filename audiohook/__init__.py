"""audiohook: live telephone audio in shared memory. The API of readers and commanders; nothing else here is public.

    with audiohook.attach() as hub:
        for stream, block in hub.blocks(frames=512):
            ...  # block.samples: int16, (frames, channels), a read-only view of the shared memory

Needs NumPy only. Names are resolved on first use, because the daemon imports this package too and must set
OPENBLAS_NUM_THREADS before NumPy's import starts a thread (tests/process/test_hygiene_fork.py).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiohook.control.async_hub import AsyncHub, AsyncStream, attach_async
    from audiohook.control.commander import Commander
    from audiohook.control.hub import Hub, attach
    from audiohook.errors import (
        AmbiguousStream,
        GapFound,
        HubUnavailable,
        NoSuchStream,
        Overrun,
        ReaderError,
        WriterGone,
    )
    from audiohook.memory.block import Block
    from audiohook.memory.stream import Stream
    from audiohook.memory.timeline import Gap, Totals

_HOMES = {
    "attach_async": "audiohook.control.async_hub",
    "AsyncHub": "audiohook.control.async_hub",
    "AsyncStream": "audiohook.control.async_hub",
    "Commander": "audiohook.control.commander",
    "attach": "audiohook.control.hub",
    "Hub": "audiohook.control.hub",
    "Stream": "audiohook.memory.stream",
    "Block": "audiohook.memory.block",
    "Gap": "audiohook.memory.timeline",
    "Totals": "audiohook.memory.timeline",
    "ReaderError": "audiohook.errors",
    "HubUnavailable": "audiohook.errors",
    "NoSuchStream": "audiohook.errors",
    "AmbiguousStream": "audiohook.errors",
    "Overrun": "audiohook.errors",
    "GapFound": "audiohook.errors",
    "WriterGone": "audiohook.errors",
}

__all__ = [
    "AmbiguousStream",
    "AsyncHub",
    "AsyncStream",
    "Block",
    "Commander",
    "Gap",
    "GapFound",
    "Hub",
    "HubUnavailable",
    "NoSuchStream",
    "Overrun",
    "ReaderError",
    "Stream",
    "Totals",
    "WriterGone",
    "attach",
    "attach_async",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
