"""`kill -9` of a worker under 50 calls, at random instants, many times: only its own calls end, and nothing is lost.

AUDIOHOOK_KILLS=1000 for a long run, of a second or less a kill on two idle cores. The seed of a run is printed;
AUDIOHOOK_SEED repeats its choices.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

import audiohook
from audiohook.memory import layout
from tests.support.daemon import Daemon, descriptors, kill, link
from tests.support.peer import PACKET_FRAMES, Peer, Samples, Talking, call, decoded
from tests.support.reader import Reader

CALLS = 50
SLOTS = 64
WORKERS = 6
KILLS = int(os.environ.get("AUDIOHOOK_KILLS", "10"))
DEATHS_OF_A_ROW = 5
"""More of them would take their time: a worker that keeps dying is restarted after a wait that doubles each time."""
KILLS_A_RUN = WORKERS * DEATHS_OF_A_ROW
"""More of them need another daemon."""
LONGEST_CALL_PACKETS = 1000
"""20 s: well inside a ring of RING_SECONDS, so that every call can be read whole after its end, also where a kill and
all that is compared after it takes ten times as long as it should."""

RING_SECONDS = 60

StartDaemon = Callable[..., Daemon]


@dataclass(eq=False)
class Placed:
    """A call of this test: who it is on the wire and in memory."""

    peer: Peer
    stream: audiohook.Stream
    row: int


class Knocking:
    """Connects all the time, one connection after another in each of several threads, and notes who got no answer."""

    def __init__(self, address: tuple[str, int], threads: int = 3) -> None:
        self._address = address
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.answers: Counter[str] = Counter()
        self.unanswered: list[tuple[int, str]] = []
        """The knocker's port, and what happened instead of an answer."""

    def __enter__(self) -> "Knocking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            with Peer(self._address, headers=()) as peer:
                try:
                    answer = peer.upgrade()
                except OSError as error:
                    self.unanswered.append((peer.port, str(error)))
                    continue
            if answer.status:
                self.answers[str(answer.status)] += 1
            else:
                self.unanswered.append((peer.port, "ended"))


def accepted_ports(pid: int) -> set[int]:
    """Return the peers' ports of every connection that a process holds: what it has taken out of the queue."""
    inodes = {link(pid, fd)[len("socket:[") : -1] for fd in descriptors(pid) if link(pid, fd).startswith("socket:[")}
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes:
            ports.add(int(fields[2].rpartition(":")[2], 16))
    return ports


class Scene:
    """50 talking calls on a daemon, of which some lose their worker now and then."""

    def __init__(self, daemon: Daemon, talking: Talking, reader: Reader) -> None:
        self.daemon = daemon
        self.talking = talking
        self.reader = reader
        self.descriptors = len(descriptors(daemon.pid))
        self.deaths: Counter[int] = Counter()
        self.placed: list[Placed] = []
        self.ended_well: dict[str, int] = {}
        self.aborted: dict[str, int] = {}
        """By stream id: a checksum of what was read of it."""
        self.compared: set[str] = set()
        self._number = 0

    def fill(self) -> None:
        while len(self.placed) < CALLS:
            peer = call(self.daemon.address)
            stream = self.daemon.hub.open(participant_id=peer.participant_id)
            self.placed.append(Placed(peer, stream, stream.card()["row"]))
            self.talking.add(peer, self._number)
            self._number += 1

    def check_aborted(self, row: int, last_commit: dict[str, int]) -> None:
        """The killed worker's calls: readable to the last commit, a prefix of what was sent, marked, added up."""
        daemon, victims = self.daemon, [placed for placed in self.placed if placed.row == row]
        daemon.wait(lambda: all(placed.stream.over for placed in victims), "the mark on the killed worker's streams")
        for placed in victims:
            self.placed.remove(placed)
            self.talking.take(placed.peer).socket.close()
            stream = placed.stream
            assert (stream.state, stream.end_reason, stream.gone) == ("ABORTED", "worker_died", False)
            read = whole(stream)
            expected = decoded(placed.peer.sent)
            assert len(read) % PACKET_FRAMES == 0
            # A packet that was being sent when the connection broke may have arrived and not be in `sent`.
            assert len(read) <= len(expected) + PACKET_FRAMES
            assert np.array_equal(read[: len(expected)], expected[: len(read)])
            if last_commit:
                assert len(read) == last_commit[stream.stream_id]
            # Killed between the two stores, a worker has counted the packet that it did not publish.
            check_totals(stream, len(read), len(read) // PACKET_FRAMES, ahead=1)
            self.aborted[stream.stream_id] = crc32(read.tobytes())
        # Before their slots are taken by the next calls: 14 are free, and many more are aborted.
        self.check_reader()

    def end_old_calls(self, longest_packets: int) -> None:
        """End the calls that have lasted so long, and check every sample of them."""
        for placed in [one for one in self.placed if len(one.peer.sent) >= longest_packets]:
            self.placed.remove(placed)
            peer, stream = self.talking.take(placed.peer), placed.stream
            assert peer not in self.talking.broken, self.talking.broken[peer]
            assert peer.close() == 1000
            assert (stream.state, stream.end_reason) == ("ENDED", "peer_closed")
            read = whole(stream)
            assert np.array_equal(read, decoded(peer.sent))
            check_totals(stream, len(read), len(peer.sent))
            self.ended_well[stream.stream_id] = crc32(read.tobytes())
        self.check_reader()

    def check_reader(self) -> None:
        """Who reads along all the time was told of every end, and has had the same samples."""
        checksums = {**self.aborted, **self.ended_well}
        self.reader.wait_for("read", len(checksums))
        for stream_id, event in {event["stream"]: event for event in self.reader.seen("read")}.items():
            if stream_id not in self.compared:
                self.compared.add(stream_id)
                assert crc32(self.reader.samples(stream_id).tobytes()) == checksums[stream_id]
                assert (event["jumps"], event["lost"]) == (0, 0)
                assert event["state"] == ("ABORTED" if stream_id in self.aborted else "ENDED")

    def check_owners(self) -> None:
        """Every slot that is locked is locked once, by the worker that its live card names."""
        pool = self.daemon.hub.arena
        locked = self.daemon.locked_slots()
        assert len(locked) == len(set(locked))
        # While it starts a child it has that child's ends too.
        self.daemon.wait(lambda: len(descriptors(self.daemon.pid)) <= self.descriptors, "the supervisor's descriptors")
        owned = {slot for slot, state in enumerate(pool.states().tolist()) if state in layout.OWNED_STATES}
        assert {placed.stream.slot for placed in self.placed} <= set(locked) & owned


def whole(stream: audiohook.Stream) -> Samples:
    """Return all of a stream that is over."""
    pieces = [block.samples[:, 0].copy() for block in stream.blocks(start="oldest")]
    return np.concatenate([np.zeros(0, np.int16), *pieces])


def check_totals(stream: audiohook.Stream, frames: int, packets: int, ahead: int = 0) -> None:
    totals = stream.totals
    assert totals.decoded + totals.concealed + sum(totals.gaps.values()) == totals.length == frames
    assert (totals.concealed, sum(totals.gaps.values())) == (0, 0)
    assert packets <= totals.packets <= packets + ahead


def kill_one(scene: Scene, knocking: Knocking, choice: random.Random, stopped_first: bool) -> None:
    """Kill the worker of a random row at a random instant.

    Half of the victims are stopped first, at that instant, so that it can be seen what they held: to them that is no
    difference, and then nobody else may lose a connection.
    """
    daemon = scene.daemon
    rows = {placed.row for placed in scene.placed}
    row = choice.choice(sorted(row for row in rows if scene.deaths[row] < DEATHS_OF_A_ROW) or sorted(rows))
    scene.deaths[row] += 1
    pid = daemon.workers()[row]
    until = scene.placed[0].peer
    count = len(until.sent) + choice.randrange(12)
    daemon.wait(lambda: len(until.sent) >= count or until in scene.talking.broken, "a random instant")
    time.sleep(choice.random() / 50)  # not a wait for anything: the instant within a packet's time
    last_commit: dict[str, int] = {}
    unanswered_before = len(knocking.unanswered)
    held: set[int] | None = None
    if stopped_first:
        kill(pid, signal.SIGSTOP)
        held = accepted_ports(pid)
        victims = [placed for placed in scene.placed if placed.row == row]
        last_commit = {placed.stream.stream_id: placed.stream.totals.length for placed in victims}
    deaths = len(daemon.logged("was killed by signal 9"))
    kill(pid, signal.SIGKILL)
    daemon.wait_logged("was killed by signal 9", deaths + 1)
    scene.check_aborted(row, last_commit)
    if held is not None:
        # Whoever was still in the queue was served by others, or by the successor.
        lost = [(port, how) for port, how in knocking.unanswered[unanswered_before:] if port not in held]
        assert not lost


@pytest.mark.parametrize("run", range(-(-KILLS // KILLS_A_RUN)))
def test_killed_workers_cost_their_own_calls_only(start_daemon: StartDaemon, run: int) -> None:
    seed = int(os.environ.get("AUDIOHOOK_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"AUDIOHOOK_SEED={seed}")
    choice = random.Random(seed)
    daemon = start_daemon(f"server.workers={WORKERS}", f"memory.streams={SLOTS}", f"memory.ring_seconds={RING_SECONDS}")
    before = daemon.descriptors_of_all()
    with (
        Talking() as talking,
        Knocking(daemon.address) as knocking,
        Reader("streams", daemon.hub_path, 16_000) as reader,
    ):
        reader.wait_for("attached")
        scene = Scene(daemon, talking, reader)
        for number in range(min(KILLS - run * KILLS_A_RUN, KILLS_A_RUN)):
            scene.fill()
            scene.check_owners()
            kill_one(scene, knocking, choice, stopped_first=number % 2 == 0)
            scene.end_old_calls(LONGEST_CALL_PACKETS)
        scene.fill()
        daemon.wait(lambda: all(len(placed.peer.sent) > 10 for placed in scene.placed), "ten packets of every call")
        daemon.wait(lambda: len(daemon.workers()) == WORKERS, "the last successor")
        scene.end_old_calls(0)
        assert not scene.placed
        assert set(knocking.answers) == {"401"}
    assert scene.aborted
    assert len(scene.ended_well) >= CALLS
    check_nothing_left(daemon, before)
    check_one_end_each(daemon, scene)


def check_nothing_left(daemon: Daemon, before: Counter[str]) -> None:
    daemon.wait(lambda: daemon.live() == 0, "the end of every connection")
    assert daemon.row("live") == [0] * len(daemon.row("live"))
    assert daemon.locked_slots() == []
    assert not set(daemon.slot_states()) - {"FREE", "ENDED", "ABORTED"}
    daemon.wait(lambda: daemon.descriptors_of_all() == before, f"descriptors as before, {before}")
    # Every slot can be had again, and none twice.
    peers = [call(daemon.address) for _ in range(SLOTS)]
    slots = [daemon.hub.open(participant_id=peer.participant_id).slot for peer in peers]
    assert sorted(slots) == list(range(SLOTS))
    assert sorted(daemon.locked_slots()) == list(range(SLOTS))
    with Peer(daemon.address) as surplus:
        answer = surplus.upgrade()
        assert (answer.status, answer.get("retry-after")) == (503, "5")
    assert daemon.counter("no_slot") == 1
    for peer in peers:
        peer.close()
    daemon.wait(lambda: daemon.live() == 0, "the end of every connection")
    daemon.wait(lambda: daemon.descriptors_of_all() == before, f"descriptors as before, {before}")


def check_one_end_each(daemon: Daemon, scene: Scene) -> None:
    started, ended = daemon.stream_lines("started"), daemon.stream_lines("ended")
    assert len(set(started)) == len(started)
    assert sorted(started) == sorted([*ended, *scene.aborted])
    assert set(scene.ended_well) <= set(ended)
    aborted = [event["stream"] for event in daemon.events() if event["event"] == "stream_aborted"]
    assert sorted(aborted) == sorted(scene.aborted)
    assert sorted(daemon.stream_events("stream_started")) == sorted(started)
    assert sorted(daemon.stream_events("stream_ended")) == sorted(ended)
    assert daemon.counter("streams_opened") == daemon.counter("streams_ended") == len(started)
    assert daemon.counter("worker_died") == len(scene.aborted)


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_that_nobody_has_taken_yet_wait_for_the_successor(start_daemon: StartDaemon, workers: int) -> None:
    daemon = start_daemon(f"server.workers={workers}", "memory.streams=32")
    doomed = daemon.workers()
    for pid in doomed.values():
        kill(pid, signal.SIGSTOP)
    waiting = [Peer(daemon.address) for _ in range(20)]
    for peer in waiting:
        peer.send(peer.request)
    for pid in doomed.values():
        assert not accepted_ports(pid) & {peer.port for peer in waiting}
        kill(pid, signal.SIGKILL)
    for peer in waiting:
        assert peer.read_answer().accepted
        peer.close()
    daemon.wait(lambda: len(daemon.workers()) == workers, "the successors")
    assert not set(daemon.workers().values()) & set(doomed.values())


def test_a_stopped_worker_swallows_nobody(start_daemon: StartDaemon) -> None:
    """Nor does one that had just been told of a connection: it is stopped while the next ones arrive."""
    daemon = start_daemon("server.workers=2", "memory.streams=32")
    for turn in range(8):
        row = turn % 2
        stopped = daemon.workers()[row]
        kill(stopped, signal.SIGSTOP)
        peers = [call(daemon.address) for _ in range(3)]
        assert {daemon.hub.open(participant_id=peer.participant_id).card()["row"] for peer in peers} == {1 - row}
        kill(stopped, signal.SIGCONT)
        for peer in peers:
            assert peer.close() == 1000
        daemon.wait(lambda: daemon.live() == 0, "the end of every connection")
