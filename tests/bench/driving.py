"""Places calls on a server and lets the driver in C speak for them; what it saw, as a value.

The handshakes are made here, with the peers that the tests have; then the driver gets the sockets, the frames made
ahead, and the words to look at.
"""

import json
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.wire.client import masked_frame
from tests.bench.cores import on_core, two_cores
from tests.bench.media import Media
from tests.bench.programs import program
from tests.bench.servers import Running
from tests.support.genesys import Genesys
from tests.support.peer import Peer

MASK = b"\x9a\x3c\x51\xe7"
SAMPLED = 20
PATIENCE_S, PATIENCE_WINDOWS = 3.0, 3
"""How long the last packets may take: a server that a core is too little for is behind by several windows."""

LATE_P99_NS = NS_PER_MS
LATE_MAX_NS = 10 * NS_PER_MS
"""A driver that was later than this has measured itself."""


BREAKS = (OSError, AssertionError, subprocess.SubprocessError)
"""What a server raises here that refuses calls, or dies of them: a result like others, and no end of the bench."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a run is, in seconds: what comes before the window counts for nothing but that all is published."""

    window_s: float
    warm_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Placed:
    """A call that stands, and what it is named by in the server's memory."""

    socket: socket.socket
    name: uuid.UUID


@dataclass(frozen=True, slots=True)
class Driven:
    """What the driver saw. `cpu_ns` are the server's processes, in their order, within the window."""

    sent: int
    published: int
    window_packets: int
    window_ns: int
    cpu_ns: tuple[int, ...]
    latency_ns: dict[str, int]
    lateness_ns: dict[str, int]
    ended: str

    @property
    def lost(self) -> list[str]:
        """Return what the server did wrong."""
        missing = f"published {self.published:,} of {self.sent:,} packets"
        return [*([self.ended] if self.ended else []), *([missing] if self.published != self.sent else [])]

    @property
    def late(self) -> list[str]:
        """Return what the driver did wrong."""
        late = self.lateness_ns
        if late.get("p99", 0) <= LATE_P99_NS and late.get("max", 0) <= LATE_MAX_NS:
            return []
        return [f"the driver was late: p99 {late['p99'] / 1e6:.1f} ms, at most {late['max'] / 1e6:.1f} ms"]


@contextmanager
def placed(server: Running, media: Media, calls: int) -> Iterator[list[Placed]]:
    """Place calls, one after another."""
    with ExitStack() as stack:
        yield [_place(stack, server.address, media) for _ in range(calls)]


def _place(stack: ExitStack, address: tuple[str, int], media: Media) -> Placed:
    if media.is_opus:
        peer = stack.enter_context(Peer(address))
        answer = peer.upgrade()
        assert answer.accepted, answer
        return Placed(peer.socket, uuid.UUID(peer.participant_id))
    session = stack.enter_context(Genesys(address)).opened()
    assert session.client.wants_audio, session.client.faults
    return Placed(session.socket, uuid.UUID(session.caller.session_id))


def drive(server: Running, media: Media, calls: Sequence[Placed], timing: Timing, sampled: int = SAMPLED) -> Driven:
    """Speak for the calls; return what came of it when all is published, or was not in time."""
    pids = server.processes()
    stats = [(pid, path) for pid in pids for path in sorted(Path(f"/proc/{pid}/task").glob("*/schedstat"))]
    words = server.words([call.name for call in calls])
    every = max(1, len(calls) // sampled)
    patience_s = PATIENCE_S + PATIENCE_WINDOWS * timing.window_s
    spec: list[object] = [media.packet_ms * NS_PER_MS]
    spec += [round(seconds * NS_PER_S) for seconds in (timing.warm_s, timing.window_s, patience_s)]
    spec += [words.fd, words.file_bytes, words.step, len(stats), *(path for _, path in stats), len(calls)]
    for number, (call, at) in enumerate(zip(calls, words.at, strict=True)):
        spec += [call.socket.fileno(), at, int(number % every == 0)]
        call.socket.setblocking(False)
    frames_made = tuple(masked_frame(packet, MASK) for packet in media.packets())
    with packets_file(frames_made) as frames, on_core(two_cores()[0]):
        done = subprocess.run(
            [program("load"), frames],
            input=" ".join(map(str, spec)).encode(),
            stdout=subprocess.PIPE,
            pass_fds=[words.fd, *(call.socket.fileno() for call in calls)],
            check=True,
        )
    return _driven(json.loads(done.stdout), [pids.index(pid) for pid, _ in stats], len(pids))


def _driven(said: dict[str, Any], process_of: list[int], processes: int) -> Driven:
    window = said["window"]
    cpu_ns = [0] * processes
    for process, thread_ns in zip(process_of, window["cpu_ns"], strict=True):
        cpu_ns[process] += thread_ns
    return Driven(
        sent=said["sent"],
        published=said["published"],
        window_packets=window["packets"],
        window_ns=window["wall_ns"],
        cpu_ns=tuple(cpu_ns),
        latency_ns=said["latency_ns"],
        lateness_ns=said["lateness_ns"],
        ended=said["ended"],
    )


def broke(error: BaseException) -> str:
    """Return what to say of one of BREAKS. The tests' daemon adds its whole log: the first line is enough."""
    return f"it broke: {str(error).partition(chr(10))[0] or type(error).__name__}"


@contextmanager
def packets_file(packets: tuple[bytes, ...]) -> Iterator[Path]:
    """Write packets as the programs in C read them."""
    with tempfile.NamedTemporaryFile(prefix="audiohook-bench-") as file:
        file.write(_joined(packets))
        file.flush()
        yield Path(file.name)


@cache
def _joined(packets: tuple[bytes, ...]) -> bytes:
    return b"".join(len(packet).to_bytes(4, "little") + packet for packet in packets)
