"""Calls that come and go all the time while something goes wrong: how long each waits for its answer, and if it comes.

Each connects, asks for the upgrade, and ends properly as soon as it has been accepted. Beside its wait stands how long
its own thread was ready to run meanwhile and had no processor: what a busy machine adds, and not the daemon. They live
in a process of their own (`python -m tests.faults.newcomers HOST PORT`): beside 5,000 strangers in one interpreter they
waited for its lock.
"""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.outcome import Outcome
from tests.support.daemon import ROOT
from tests.support.peer import Address, Peer

THREADS = 3
PAUSE_S = 0.03
LONGEST_WAIT_S = 0.5
STARVED_S = 0.25


@dataclass(frozen=True)
class Newcomer:
    """One connection. `answer` is an HTTP status, or what happened instead."""

    port: int
    began_s: float
    waited_s: float
    starved_s: float
    answer: str


class Newcomers:
    """They come from entering the `with` block to its end."""

    def __init__(self, address: Address) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.newcomers", address[0], str(address[1])],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._hearing = threading.Thread(target=self._hear)
        self.seen: list[Newcomer] = []

    def __enter__(self) -> "Newcomers":
        self._hearing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let nobody come any more; whoever has come is among `seen` then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._hearing.join()
        self._process.wait()
        self._process.stdout.close()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.seen.append(Newcomer(**json.loads(line)))

    def judge(self, outcome: Outcome, since_s: float, held: set[int] | None = None) -> None:
        """Find: everybody who came since then was answered within half a second.

        `held` are the ports of connections that a process held when it died: those are its own calls.
        """
        own = held or set()
        came = [one for one in self.seen if one.began_s + one.waited_s >= since_s and one.port not in own]
        outcome.refused.update(one.answer for one in came if one.answer != "101")
        unanswered = sum(not one.answer.isdigit() for one in came)
        outcome.count(not unanswered, f"{unanswered} of {len(came)} new connections got no answer")
        outcome.count(came != [], f"{len(came)} new connections came")
        slowest = max(came, key=lambda one: one.waited_s, default=Newcomer(0, 0, 0, 0, ""))
        told = f"the longest wait of a new connection was {slowest.waited_s * 1e3:.0f} ms"
        outcome.timed(slowest.waited_s <= LONGEST_WAIT_S, told)
        if slowest.waited_s > LONGEST_WAIT_S and slowest.starved_s > STARVED_S:
            outcome.void = f"a newcomer had no processor for {slowest.starved_s * 1e3:.0f} ms"

    @property
    def answers(self) -> Counter[str]:
        return Counter(one.answer for one in self.seen)


class _Coming:
    """The other side: threads, each of which calls again and again and tells of it on stdout."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stopped = threading.Event()
        self._telling = threading.Lock()

    def run(self) -> None:
        """Come until the end of stdin."""
        threads = [threading.Thread(target=self._come) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._stopped.set()
        for thread in threads:
            thread.join()

    def _come(self) -> None:
        while not self._stopped.wait(PAUSE_S):
            began_s, starved_ns = time.monotonic(), _starved_ns()
            peer: Peer | None = None
            try:
                peer = Peer(self._address)
                answer = str(peer.upgrade().status or "ended")
            except OSError as error:
                answer = error.strerror or type(error).__name__
            waited_s, starved_s = time.monotonic() - began_s, (_starved_ns() - starved_ns) / 1e9
            came = Newcomer(peer.port if peer else 0, began_s, waited_s, starved_s, answer)
            with self._telling:
                print(json.dumps(asdict(came)), flush=True)
            if peer is not None:
                _leave(peer, accepted=answer == "101")


def _leave(peer: Peer, *, accepted: bool) -> None:
    with peer:
        if accepted:
            try:
                peer.close()
            except (OSError, AssertionError):
                pass  # its worker died after the answer: a call of that worker's, and counted there


def _starved_ns() -> int:
    """Return how long this thread has stood in the run queue in its life."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1])


if __name__ == "__main__":
    _Coming((sys.argv[1], int(sys.argv[2]))).run()
