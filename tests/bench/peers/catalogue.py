"""The servers by others that the bench can start. This module is all of `peers/` that its driver needs.

`PEERS` are entries: for each,

- `available()` is None, or why it cannot run here, which is a note in the table: it costs some milliseconds and
  installs nothing (`install.install()` does, and returns a line for each part that cannot be had);
- `kinds` has the kinds of tests/bench/media.py that it can be given, and `most_calls` how many calls;
- `command(port, ringfile, calls, kind)` is what starts it.

A started program is one process of that PID from the start on (`env` becomes what it starts). It needs PYTHONPATH (this
repository) and LIBOPUS in its environment: tests/bench/servers.py. A call's name is in its slot before its request, or
its `open`, is answered. Only `ARTICLE` has more than one thread that works: one a call, each there before the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.install import HERE, NODE_MODULES, PYTHON, why_no_node, why_no_python

OPUS = frozenset({"opus16k", "opus8k"})
EVERY_KIND = OPUS | {"pcmu"}
ANY_NUMBER = 1_000_000


@dataclass(frozen=True, slots=True)
class PeerServer:
    """One server by others."""

    name: str
    about: str
    kinds: frozenset[str]
    available: Callable[[], str | None]
    """Says why it cannot run here; None if it can."""
    interpreter: tuple[str, ...]
    program: Path
    options: tuple[str, ...] = ()
    most_calls: int = ANY_NUMBER
    """More would need more memory than a machine of the bench has."""

    def command(self, port: int, ringfile: str | Path, calls: int, kind: str) -> list[str]:
        """Return what to start for `calls` calls of `kind`, whose slots are in `ringfile`."""
        if kind not in self.kinds:
            raise ValueError(f"{self.name} cannot take {kind}")
        given = (str(port), str(ringfile), str(calls), kind)
        return [*self.interpreter, str(self.program), *self.options, *given]


PICOWS = PeerServer(
    name="picows",
    about="Python: picows, uvloop, libopus",
    kinds=EVERY_KIND,
    available=why_no_python,
    interpreter=(str(PYTHON),),
    program=HERE / "py_picows.py",
)
WEBSOCKETS_ASYNCIO, WEBSOCKETS_UVLOOP = (
    PeerServer(
        name=f"websockets-{loop}",
        about=f"Python: websockets, {loop}, libopus",
        kinds=EVERY_KIND,
        available=why_no_python,
        interpreter=(str(PYTHON),),
        program=HERE / "py_websockets.py",
        options=(loop,),
    )
    for loop in ("asyncio", "uvloop")
)
ARTICLE = PeerServer(
    name="article",
    about="Node: ws, a worker thread a call, libopus",
    kinds=OPUS,  # the article knows no other audio
    available=why_no_node,
    interpreter=("env", f"NODE_PATH={NODE_MODULES}", "node"),
    program=HERE / "article.js",
    most_calls=400,  # at some 15 MB a call
)

PEERS = (PICOWS, WEBSOCKETS_ASYNCIO, WEBSOCKETS_UVLOOP, ARTICLE)
