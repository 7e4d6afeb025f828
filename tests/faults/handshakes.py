"""A daemon that speaks TLS, and a peer that makes handshakes with it without a pause, and what it was shown.

Certificates are made anew by `openssl` each time: two pairs of different kinds, of one authority.
"""

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.newcomers import LONGEST_WAIT_S
from tests.faults.outcome import Outcome
from tests.faults.scene import daemon_for
from tests.support.certificates import Authority, Pair, trusting
from tests.support.daemon import PATIENCE_S, Daemon


@dataclass(frozen=True)
class Secured:
    """A daemon that is ready; `place` has the files that it reads, the first of `pairs` to begin with."""

    daemon: Daemon
    authority: Authority
    pairs: tuple[Pair, Pair]
    place: Pair


@contextmanager
def secured(calls: int, *settings: str) -> Iterator[Secured]:
    """Start a daemon that has room for so many calls over TLS; no process and no file is left behind."""
    with tempfile.TemporaryDirectory(prefix="audiohook-tls-") as name:
        folder = Path(name)
        authority = Authority(folder / "authority")
        pairs = authority.pair(), authority.pair(kind="rsa")
        place = Pair(folder / "the.pem", folder / "the.key")
        pairs[0].copy_to(place)
        tls = *place.settings, f"tls.probe_ca_file={authority.certificate}"
        with daemon_for(calls, *tls, *settings) as daemon:
            yield Secured(daemon.wait_ready(), authority, pairs, place)


@dataclass(frozen=True)
class Handshake:
    """One that succeeded. `shown`: the certificate, DER."""

    began_s: float
    took_s: float
    shown: bytes | None


class Knocking:
    """Makes handshakes without a pause, in a thread, from entering the `with` block to its end."""

    def __init__(self, scene: Secured) -> None:
        self._address = scene.daemon.address
        self._context = trusting(scene.authority)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.done: list[Handshake] = []
        self.failed: list[OSError] = []

    def __enter__(self) -> "Knocking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def since(self, began_s: float) -> list[Handshake]:
        """Return those that began at that time or later."""
        return [one for one in self.done if one.began_s >= began_s]

    def judge(self, outcome: Outcome) -> None:
        """Find: none failed, and none took longer than half a second."""
        told = (
            f"{len(self.failed)} of {len(self.done) + len(self.failed)} handshakes failed: {set(map(str, self.failed))}"
        )
        outcome.count(self.done and not self.failed, told)
        slowest_s = max((one.took_s for one in self.done), default=0.0)
        outcome.timed(slowest_s <= LONGEST_WAIT_S, f"the longest handshake took {slowest_s * 1e3:.0f} ms")

    def _run(self) -> None:
        while not self._stopped.is_set():
            began_s = time.monotonic()
            try:
                plain = socket.create_connection(self._address, PATIENCE_S)
                with self._context.wrap_socket(plain, server_hostname="localhost") as agreed:
                    shown = agreed.getpeercert(binary_form=True)
                self.done.append(Handshake(began_s, time.monotonic() - began_s, shown))
            except OSError as error:
                self.failed.append(error)
