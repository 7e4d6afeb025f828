"""What a new connection costs one worker: client processes on one processor, the daemon on the other.

The figure is CPU time of the worker a connection, by the kernel's account (schedstat). How many there are in a second
is a second figure, and only of the worker's making if it was busy all the time: `saturated` says so.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import msgspec

from tests.bench import accept_clients as clients
from tests.bench.cores import on_core, two_cores
from tests.bench.readers_load import quiet_daemon
from tests.faults.scene import cpu_ns
from tests.support.certificates import Authority
from tests.support.daemon import ROOT, Daemon
from tests.support.peer import call

CLIENTS = 4
PORTIONS = 3
SPARE_STREAMS = 64
SATURATED = 0.9
"""A worker that ran for so much of the time was what the clients waited for."""


class Kind(msgspec.Struct, frozen=True):
    """What happens to each connection. `certificate`: the kind of key, "" for no TLS."""

    name: str
    act: str
    certificate: str = ""
    target_a_second: int = 0
    """Connections a second of a core; 0: none is aimed at."""


PLAIN_TARGET, TLS_TARGET = 2000, 400
KINDS = (
    Kind("stream, ended at once", clients.CLOSED, target_a_second=PLAIN_TARGET),
    Kind("stream that stays", clients.KEPT, target_a_second=PLAIN_TARGET),
    Kind("v2: upgrade, open, close", clients.OPENED),
    Kind("refused: 404", clients.NOT_FOUND),
    Kind("refused: 503", clients.REFUSED),
    Kind("TLS, EC: ended at once", clients.CLOSED, "ec", TLS_TARGET),
    Kind("TLS, EC: stays", clients.KEPT, "ec", TLS_TARGET),
    Kind("TLS, RSA: ended at once", clients.CLOSED, "rsa", TLS_TARGET),
    Kind("TLS, RSA: stays", clients.KEPT, "rsa", TLS_TARGET),
)


class Row(msgspec.Struct, frozen=True):
    """A kind's figures: medians over the portions in which its connections came."""

    name: str
    connections: int
    cpu_us: float
    """CPU time of the worker a connection."""
    a_second: float
    """Connections a second, by the clock on the wall."""
    busy: float
    """How much of that time the worker ran."""
    target_a_second: int = 0

    @property
    def a_core_second(self) -> float:
        """How many there would be in a second of a core that does nothing else."""
        return 1e6 / self.cpu_us

    @property
    def saturated(self) -> bool:
        return self.busy >= SATURATED


def measure(kind: Kind, connections: int, portions: int = PORTIONS, processes: int = CLIENTS) -> Row:
    """Let so many connections come, in portions, from so many client processes."""
    each = max(1, connections // (portions * processes))
    count = each * portions * processes
    with ExitStack() as stack:
        daemon = stack.enter_context(_daemon(kind, count))
        (worker,) = daemon.workers().values()
        stack.enter_context(on_core(two_cores()[0]))
        crowd = [stack.enter_context(_client(kind, daemon)) for _ in range(processes)]
        _come(crowd, 1)  # what the first ones bring with them, imports and tables, is nobody's own
        came = daemon.counter("accepted")
        parts = [_portion(worker, crowd, each) for _ in range(portions)]
        assert daemon.counter("accepted") - came == count
    of_all = each * processes
    return Row(
        kind.name,
        count,
        median(cpu / 1e3 / of_all for cpu, _ in parts),
        median(of_all * 1e9 / wall for _, wall in parts),
        median(cpu / wall for cpu, wall in parts),
        kind.target_a_second,
    )


@contextmanager
def _daemon(kind: Kind, connections: int) -> Iterator[Daemon]:
    """Run a daemon of one worker that has room for all of them, or for one, which is there then."""
    with ExitStack() as stack:
        settings = ["memory.ring_seconds=1"]
        if kind.certificate:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            settings += Authority(folder / "authority").pair(kind=kind.certificate).settings
            settings.append("tls.probe_seconds=0")  # the supervisor's own look at them would be one more connection
        if kind.act == clients.REFUSED:
            settings.append("admission.streams_per_worker=1")
        has_streams = kind.act in (clients.CLOSED, clients.KEPT, clients.OPENED)
        streams = SPARE_STREAMS + (connections if has_streams else 0)
        daemon = stack.enter_context(quiet_daemon(streams, *settings))
        if kind.act == clients.REFUSED:
            stack.enter_context(call(daemon.address))
        yield daemon


@contextmanager
def _client(kind: Kind, daemon: Daemon) -> Iterator[subprocess.Popen[str]]:
    host, port = daemon.address
    how = clients.TLS if kind.certificate else clients.PLAIN
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.accept_clients", kind.act, host, str(port), how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _portion(worker: int, crowd: list[subprocess.Popen[str]], each: int) -> tuple[int, int]:
    """Let each client connect so often; return the worker's CPU time and the time on the wall, in ns."""
    cpu_before, before = cpu_ns(worker), time.monotonic_ns()
    _come(crowd, each)
    return cpu_ns(worker) - cpu_before, time.monotonic_ns() - before


def _come(crowd: list[subprocess.Popen[str]], each: int) -> None:
    for client in crowd:
        assert client.stdin is not None
        client.stdin.write(f"{each}\n")
        client.stdin.flush()
    for client in crowd:
        assert client.stdout is not None
        said = client.stdout.readline()
        assert said == f"{each}\n", "a client did not get the answers that it came for"
