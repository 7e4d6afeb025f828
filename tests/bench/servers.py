"""The servers of the bench: how each is started, where it publishes, and what it says of itself.

A peer is a program `PROGRAM PORT RINGFILE CALLS KIND` (the C server, and those in peers/): one process that listens on
127.0.0.1:PORT, prints READY when it accepts, and ends on SIGTERM. RINGFILE has CALLS slots of zeros in memory: 64 bytes
of header, then a ring of 2 s of samples. Bytes 0 to 15 of the header are the participant's UUID (PCMU: the session's),
written when the call is taken; bytes 16 to 23 count the frames that are published, written after the samples. LIBOPUS
names the library that everybody decodes with. Ours is `audiohookd` with one worker and a ring of the same seconds; all
its processes are counted and stay on the servers' core.
"""

import io
import os
import socket
import subprocess
import sys
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial

from audiohook.codec.opus_library import opus_library_path
from audiohook.memory import layout
from audiohook.memory.cards import read_card
from tests.bench.cores import on_core
from tests.bench.media import RING_SECONDS, Media
from tests.bench.peers.catalogue import EVERY_KIND, PEERS, PICOWS, PeerServer
from tests.bench.programs import Missing, program
from tests.support.daemon import PATIENCE_S, ROOT, Daemon

MEMORY = "/dev/shm"
READY = b"READY\n"
COUNT_BYTES = 16
"""Where in a slot's header the count is."""

Command = Callable[[int, str, int, str], list[str]]
"""What starts a peer at a port, with a RINGFILE, for so many calls of a kind; raises `Missing`."""


@dataclass(frozen=True, slots=True)
class Words:
    """Where what a server publishes can be seen growing: a file, a word for each call, and what a packet adds to it."""

    fd: int
    file_bytes: int
    at: list[int]
    step: int


class Running(ABC):
    """A server that accepts."""

    address: tuple[str, int]

    @abstractmethod
    def processes(self) -> list[int]:
        """Return the pid of every process that works for it; the one that takes in the audio comes first."""

    @abstractmethod
    def words(self, names: list[uuid.UUID]) -> Words:
        """Return the words of calls, by what they are named by in the slots."""

    def wrong(self, packets: int) -> list[str]:
        """Return what it says itself that went wrong with so many packets."""
        return []


class Ours(Running):
    """`audiohookd`."""

    def __init__(self, daemon: Daemon, media: Media) -> None:
        self._daemon = daemon
        self._media = media
        self.address = daemon.address

    def processes(self) -> list[int]:
        workers = list(self._daemon.workers().values())
        return [*workers, *(pid for pid in self._daemon.processes() if pid not in workers)]

    def words(self, names: list[uuid.UUID]) -> Words:
        arena = self._daemon.hub.arena
        name = "participant_id" if self._media.is_opus else "session_id"
        cards = {read_card(arena, slot)[name]: slot for slot in range(arena.geometry.slots)}
        words = [layout.cursor_word(arena.geometry, cards[str(each)], "commit") for each in names]
        step = self._media.packet_frames * self._media.channels * 2
        return Words(arena.fd, arena.geometry.arena_bytes, [word * layout.WORD_BYTES for word in words], step)

    def wrong(self, packets: int) -> list[str]:
        """Gaps move what is published as audio does, so decoded frames are counted apart."""
        decoded, wanted = self._daemon.counter("decoded_frames"), packets * self._media.packet_frames
        return [] if decoded == wanted else [f"decoded {decoded:,} frames of {wanted:,}"]


class Peer(Running):
    """A process by the rules above."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, slots: int, calls: int, media: Media) -> None:
        self.address = ("127.0.0.1", port)
        self._process = process
        self._slots = slots
        self._calls = calls
        self._media = media

    def processes(self) -> list[int]:
        return [self._process.pid]

    def words(self, names: list[uuid.UUID]) -> Words:
        starts = range(0, self._calls * self._media.slot_bytes, self._media.slot_bytes)
        found = {os.pread(self._slots, 16, start): start for start in starts}
        at = [found[each.bytes] + COUNT_BYTES for each in names]
        return Words(self._slots, self._calls * self._media.slot_bytes, at, self._media.packet_frames)


@dataclass(frozen=True, slots=True)
class Server:
    """What can be started. `start` runs it for so many calls, on a core, and raises `Missing`."""

    name: str
    about: str
    start: Callable[[Media, int, int], AbstractContextManager[Running]]
    kinds: frozenset[str] = EVERY_KIND
    most_calls: int = sys.maxsize

    def takes(self, media: Media, calls: int) -> bool:
        """Return whether it is made for such calls, and so many."""
        return media.kind in self.kinds and calls <= self.most_calls


@contextmanager
def _ours(media: Media, calls: int, core: int, workers: int = 1) -> Iterator[Running]:
    settings = (f"server.workers={workers}", f"memory.streams={calls}", f"memory.ring_seconds={RING_SECONDS}")
    ending = ("server.drain_seconds=0", "context.reconnect_seconds=0")
    rate = f"context.sample_rate={media.rate_hz}"
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))  # its log, printed at the end for pytest to show
        with on_core(core):
            daemon = stack.enter_context(Daemon(*settings, *ending, rate))
        daemon.wait_ready()
        with redirect_stdout(sys.__stdout__):
            yield Ours(daemon, media)
        # Killed children are nobody's in the kernel's account, and would count as neighbours.
        daemon.stop()


@contextmanager
def _peer(command: Command, media: Media, calls: int, core: int) -> Iterator[Running]:
    with tempfile.TemporaryFile(dir=MEMORY, buffering=0) as slots, tempfile.TemporaryFile() as errors:
        os.posix_fallocate(slots.fileno(), 0, calls * media.slot_bytes)
        port = _free_port()
        path = f"/proc/{os.getpid()}/fd/{slots.fileno()}"
        environment = {**os.environ, "LIBOPUS": opus_library_path(), "PYTHONPATH": str(ROOT)}
        with on_core(core):
            process = subprocess.Popen(
                command(port, path, calls, media.kind),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        try:
            assert process.stdout is not None
            if process.stdout.readline() != READY:
                process.wait(PATIENCE_S)
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines() or [f"ended, {process.returncode}"]
                raise Missing(said[-1])
            yield Peer(process, port, slots.fileno(), calls, media)
        finally:
            process.terminate()
            process.communicate()


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def _by_others(peer: PeerServer) -> Server:
    def command(port: int, path: str, calls: int, kind: str) -> list[str]:
        why = peer.available()
        if why is not None:
            raise Missing(why)
        return peer.command(port, path, calls, kind)

    return Server(peer.name, peer.about, partial(_peer, command), peer.kinds, peer.most_calls)


def _limit(port: int, path: str, calls: int, kind: str) -> list[str]:
    return [str(program("limit")), str(port), path, str(calls), kind]


OURS = Server("ours", "audiohookd, one worker", _ours)
LIMIT = Server("limit", "C: epoll, recv, unmask, libopus", partial(_peer, _limit))
USUAL = (OURS, LIMIT, _by_others(PICOWS))
ALL = (OURS, LIMIT, *map(_by_others, PEERS))

OURS_TWO = Server("ours-two", "audiohookd, two workers on the one processor", partial(_ours, workers=2))
"""To be asked for by name: what a packet costs with one worker and with two."""
