"""`audiohook-record` as a process beside a real daemon: stopped, killed, refused by the disk, left behind."""

import json
import os
import random
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.daemon import PATIENCE_S, ROOT, Daemon, kill
from tests.support.peer import Peer, Samples, Talking, call, call_again, decoded, packets_of

StartDaemon = Callable[..., Daemon]


class Recorder:
    """One recorder process, whose log goes to a file beside the folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log_path = folder.parent / f"{folder.name}.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "bin" / "audiohook-record"), "--dir", str(folder), *options],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=log,
            )

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait_logged(self, text: str, count: int = 1) -> None:
        until(lambda: self.log.count(text) >= count, f"log: {count} x {text}", lambda: self.log)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def refused(self) -> str:
        """Return what it says instead of recording."""
        assert self.process.wait(PATIENCE_S) in (1, 2)
        return f"{self.process.returncode}: {self.log}"


def until(condition: Callable[[], Any], awaited: str, shown: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{awaited} did not come\n{shown()}"
        time.sleep(0.01)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="audiohook-record-") as made:
        yield Path(made) / "recordings"


def verdicts(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return the file and the verdict of every recording, by the call."""
    found = {}
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        found[content["call"]] = (path.with_suffix(".wav"), content)
    return found


def played(path: Path) -> Samples:
    """Return what a player hears."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def complete(folder: Path, calls: int) -> Callable[[], bool]:
    return lambda: sum(content["complete"] for _, content in verdicts(folder).values()) == calls


def check_whole(folder: Path, peer: Peer) -> dict[str, Any]:
    path, content = verdicts(folder)[peer.call_id]
    expected = decoded(peer.sent)
    assert np.array_equal(played(path), expected)
    assert (content["frames"], content["totals"]["length"]) == (len(expected), len(expected))
    assert (content["lost_frames"], content["unwritten_frames"], content["gaps"]) == (0, 0, [])
    assert (content["state"], content["end_reason"], content["close_code"]) == ("ENDED", "peer_closed", 1000)
    return content


def test_calls_that_are_there_and_calls_that_come(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = start_daemon()
    before = call(daemon.address)
    over = call(daemon.address)
    over.send_packets(packets_of(1)[:20])
    over.close()
    with Talking() as talking, Recorder(folder, "--hub", daemon.hub_path) as recorder:
        talking.add(before, 2)
        recorder.wait_logged("recording stream=", 2)
        after = [call(daemon.address, direction="outbound") for _ in range(3)]
        for number, peer in enumerate(after):
            talking.add(peer, number)
        silent = call(daemon.address)
        daemon.wait(lambda: all(len(peer.sent) > 40 for peer in [before, *after]), "0.8 s of each call")
        for peer in [before, *after]:
            talking.take(peer).close()
        silent.close()
        until(complete(folder, 6), "six verdicts", lambda: recorder.log)
        assert recorder.stop() == 0
        assert "ERROR" not in recorder.log
    for peer in [before, over, *after]:
        content = check_whole(folder, peer)
        assert content["participant"] == peer.participant_id
    silent_path, content = verdicts(folder)[silent.call_id]
    assert (len(played(silent_path)), content["frames"]) == (0, 0)
    assert len(list(folder.glob("*.wav"))) == 6
    assert len(list(folder.glob("*-outbound-*.wav"))) == 3
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.suffix in (".wav", ".json") or path.name == ".audiohook-record.lock"


def test_killed_at_any_instant_every_file_plays_and_the_next_recorder_goes_on(
    start_daemon: StartDaemon, folder: Path
) -> None:
    daemon = start_daemon()
    chance = random.Random(1)
    with Talking(0.005) as talking:  # four times as fast as speech: more writes to be killed in
        peers = [call(daemon.address) for _ in range(6)]
        for number, peer in enumerate(peers):
            talking.add(peer, number)
        for kill in range(6):
            with Recorder(folder, "--hub", daemon.hub_path) as recorder:
                recorder.wait_logged("attached to", kill + 1)
                time.sleep(chance.uniform(0, 0.7))
                recorder.stop(signal.SIGKILL)
            files = list(folder.glob("*.wav"))
            for path in files:
                heard = played(path)  # whatever was being written
                call_id = json.loads(path.with_suffix(".json").read_text())["call"]
                (peer,) = (peer for peer in peers if peer.call_id == call_id)
                assert np.array_equal(heard, decoded(list(peer.sent)[: len(heard) // 320 + 1])[: len(heard)])
        assert len(files) == len(peers)
        with Recorder(folder, "--hub", daemon.hub_path) as recorder:
            for peer in peers:
                talking.take(peer).close()
            until(complete(folder, len(peers)), "every verdict", lambda: recorder.log)
            assert recorder.stop() == 0
    for peer in peers:
        check_whole(folder, peer)
    assert "Traceback" not in recorder.log


def test_sigterm_leaves_files_complete_to_the_last_packet_and_the_next_goes_on(
    start_daemon: StartDaemon, folder: Path
) -> None:
    daemon = start_daemon()
    peer, quiet = call(daemon.address), call(daemon.address)
    with Recorder(folder, "--hub", daemon.hub_path) as recorder:
        recorder.wait_logged("recording stream=", 2)
        peer.send_packets(packets_of(1)[:77])
        quiet.send_packets(packets_of(2)[:3])  # less than fills a block
        streams = [daemon.hub.open(participant_id=one.participant_id) for one in (peer, quiet)]
        daemon.wait(lambda: [one.totals.packets for one in streams] == [77, 3], "every packet")
        assert recorder.stop(signal.SIGINT) == 0
    for one in (peer, quiet):
        path, content = verdicts(folder)[one.call_id]
        assert np.array_equal(played(path), decoded(one.sent))
        assert (content["complete"], content["state"], content["end_reason"]) == (False, "LIVE", None)
    peer.send_packets(packets_of(1)[77:99])
    quiet.close()
    with Recorder(folder, "--hub", daemon.hub_path) as recorder:
        recorder.wait_logged("going on with stream=", 2)
        peer.send_packets(packets_of(1)[99:111])
        peer.close()
        until(complete(folder, 2), "two verdicts", lambda: recorder.log)
        assert recorder.stop() == 0
    for one in (peer, quiet):
        check_whole(folder, one)
    with Recorder(folder, "--hub", daemon.hub_path) as recorder:
        recorder.wait_logged("attached to", 3)
        assert recorder.stop() == 0
    assert recorder.log.count("recording stream=") == 2, "what is complete is not recorded again"


def test_sigterm_while_it_looks_for_the_next_daemon(start_daemon: StartDaemon, folder: Path) -> None:
    """A thread that NumPy started took the signal then, and the process was gone with its files as they were."""
    daemon = start_daemon()
    peer = call(daemon.address)
    with (
        Recorder(folder, "--hub", daemon.hub_path) as recorder,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent,
    ):
        recorder.wait_logged("recording stream=")
        peer.send_packets(packets_of(1)[:7])
        (stream,) = daemon.hub.streams()
        daemon.wait(lambda: stream.totals.packets == 7, "every packet")
        os.rename(daemon.hub_path, f"{daemon.hub_path}.aside")
        silent.bind(daemon.hub_path)
        silent.listen()
        silent.settimeout(PATIENCE_S)
        client, _ = silent.accept()
        with client:
            recorder.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)  # for a process that is still there, and looks
            assert recorder.process.poll() is None
        silent.close()
        assert recorder.process.wait(PATIENCE_S) == 0
    peer.close()
    path, _ = verdicts(folder)[peer.call_id]
    assert np.array_equal(played(path), decoded(peer.sent))


def test_a_call_that_comes_back_has_a_file_for_each_of_its_streams(start_daemon: StartDaemon, folder: Path) -> None:
    """The first is open until then, also for a recorder that is stopped and started while nobody is there."""
    daemon = start_daemon()
    peer = call(daemon.address)
    head = daemon.hub.open(call_id=peer.call_id)
    with Recorder(folder, "--hub", daemon.hub_path) as recorder:
        recorder.wait_logged("recording stream=")
        peer.send_packets(packets_of(1)[:30])
        peer.close(1000, "Hold")
        daemon.wait(lambda: head.parked, "a PARKED stream")
        assert recorder.stop() == 0
    path, content = verdicts(folder)[peer.call_id]
    assert np.array_equal(played(path), decoded(peer.sent))
    assert (content["complete"], content["state"], content["ended"]) == (False, "PARKED", None)
    assert (content["end_reason"], content["continues"], content["continued_by"]) == ("peer_closed", None, None)
    with Recorder(folder, "--hub", daemon.hub_path) as recorder:
        recorder.wait_logged("going on with stream=")
        again = call_again(daemon.address, peer)
        again.send_packets(packets_of(2)[:30])
        again.close()
        recorder.wait_logged("recorded stream=", 2)
        assert recorder.stop() == 0
    found = {content["stream"]: content for path in folder.glob("*.json") if (content := json.loads(path.read_text()))}
    first, second = found[head.stream_id], next(one for one in found.values() if one["stream"] != head.stream_id)
    assert (first["continues"], first["continued_by"]) == (None, second["stream"])
    assert (second["continues"], second["continued_by"]) == (first["stream"], None)
    assert [(one["complete"], one["state"], bool(one["ended"])) for one in (first, second)] == [
        (True, "ENDED", True)
    ] * 2
    held = second["totals"]["gaps"]["held"]
    assert (first["frames"], second["first_frame"], second["frames"]) == (9600, 9600, held + 9600)
    gap = {"first_frame": 9600, "frames": held, "cause": "held", "measured": True}
    assert (first["gaps"], second["gaps"]) == ([], [gap])
    (path,) = folder.glob(f"*{second['stream']}.wav")
    assert np.array_equal(played(path), np.concatenate([np.zeros(held, np.int16), decoded(again.sent)]))


def test_only_what_matches(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = start_daemon()
    options = ("--match", "direction=INBOUND", "--match", "session=a-session", "--pattern", "{date}/{direction}.wav")
    with Recorder(folder, "--hub", daemon.hub_path, *options) as recorder:
        peers = [call(daemon.address, direction=direction) for direction in ("inbound", "outbound", "inbound")]
        for peer in peers:
            peer.send_packets(packets_of(1)[:10])
            peer.close()
        recorder.wait_logged("recorded stream=", 2)
        assert recorder.stop() == 0
    (day,) = folder.glob("2*")
    assert sorted(path.name for path in day.glob("*.wav")) == ["inbound-2.wav", "inbound.wav"]


def test_a_disk_that_refuses_costs_audio_and_nothing_else(start_daemon: StartDaemon, folder: Path) -> None:
    """Refused by the kernel: no file of the recorder may grow past a size, for a while."""
    daemon = start_daemon()
    with Recorder(folder, "--hub", daemon.hub_path) as recorder, call(daemon.address) as peer:
        recorder.wait_logged("recording stream=")
        peer.send_packets(packets_of(1)[:100])
        until(lambda: verdicts(folder) and len(played(verdicts(folder)[peer.call_id][0])) == 32_000, "two seconds")
        _, hard = resource.prlimit(recorder.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(recorder.process.pid, resource.RLIMIT_FSIZE, (70_000, hard))
        peer.send_packets(packets_of(1)[100:150])
        recorder.wait_logged("File too large; until that ends audio is missing from recordings")
        path, _ = verdicts(folder)[peer.call_id]
        assert np.array_equal(played(path), decoded(peer.sent)[: len(played(path))])
        stream = daemon.hub.open(call_id=peer.call_id)
        daemon.wait(lambda: stream.totals.packets == 150, "the daemon takes every packet")
        # Both blocks of that second have been refused once this one, which is refused too, is through.
        resource.prlimit(recorder.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        peer.send_packets(packets_of(1)[150:225])
        peer.close()
        until(complete(folder, 1), "the verdict", lambda: recorder.log)
        assert recorder.stop() == 0
    path, content = verdicts(folder)[peer.call_id]
    heard, expected = played(path), decoded(peer.sent)
    unwritten = content["unwritten_frames"]
    assert 8000 <= unwritten <= 16_000
    assert len(heard) == len(expected)
    assert np.array_equal(heard[:32_000], expected[:32_000])
    assert np.array_equal(heard[48_000:], expected[48_000:])
    assert (content["end_reason"], content["lost_frames"]) == ("peer_closed", 0)
    assert daemon.counter("streams_ended") == 1


def test_one_that_stood_still_says_what_it_lost(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = start_daemon("memory.ring_seconds=5")
    with Recorder(folder, "--hub", daemon.hub_path) as recorder, call(daemon.address) as peer:
        recorder.wait_logged("recording stream=")
        peer.send_packets(packets_of(1)[:50])
        until(lambda: verdicts(folder) and len(played(verdicts(folder)[peer.call_id][0])) == 16_000, "a second")
        kill(recorder.process.pid, signal.SIGSTOP)
        for _ in range(3):
            peer.send_packets(packets_of(1))
        stream = daemon.hub.open(call_id=peer.call_id)
        daemon.wait(lambda: stream.totals.packets == 800, "16 s of audio, though a reader stands still")
        recorder.process.send_signal(signal.SIGCONT)
        peer.close()
        until(complete(folder, 1), "the verdict", lambda: recorder.log)
        assert recorder.stop() == 0
    path, content = verdicts(folder)[peer.call_id]
    heard, expected, lost = played(path), decoded(peer.sent), content["lost_frames"]
    assert 5 * 16_000 < lost < 15 * 16_000
    assert len(heard) == len(expected)
    assert np.array_equal(heard[:16_000], expected[:16_000])
    assert not heard[16_000 : 16_000 + lost].any()
    assert np.array_equal(heard[16_000 + lost :], expected[16_000 + lost :])


def test_a_daemon_that_is_killed_and_its_successor(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = start_daemon()
    hub = daemon.hub_path
    with Recorder(folder, "--hub", hub) as recorder:
        recorder.wait_logged("attached to")
        with call(daemon.address) as peer:
            peer.send_packets(packets_of(1)[:60])
            stream = daemon.hub.open(call_id=peer.call_id)
            daemon.wait(lambda: stream.totals.packets == 60, "every packet")
            for pid in daemon.processes():
                os.kill(pid, signal.SIGKILL)
            daemon.wait_exit()
        successor = start_daemon(f"hub.path={hub}")
        recorder.wait_logged("attached to", 2)
        with call(successor.address) as second:
            second.send_packets(packets_of(2)[:60])
            second.close()
        recorder.wait_logged("has given a sign of life for 5 s")
        recorder.wait_logged("interrupted stream=")
        until(complete(folder, 1), "the verdict of the second call", lambda: recorder.log)
        assert recorder.stop() == 0
    check_whole(folder, second)
    path, content = verdicts(folder)[peer.call_id]
    assert np.array_equal(played(path), decoded(peer.sent)), "what had been published was not lost"
    assert (content["complete"], content["end_reason"]) == (False, None)


def test_what_cannot_be_done_is_said_in_words(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = start_daemon()
    no_folder = folder.parent / "file"
    no_folder.write_text("")
    hub = ("--hub", daemon.hub_path)
    with Recorder(folder, *hub) as first:
        first.wait_logged("attached to")
        for options, words in (
            (("--dir", str(folder), *hub), "another audiohook-record writes there"),
            (("--dir", str(no_folder / "below"), *hub), "cannot write there: Not a directory"),
            (("--dir", "/proc/nowhere", *hub), "cannot write there"),
            (("--pattern", "{ani}.wav", *hub), "the pattern has {ani}"),
            (("--match", "direction", *hub), "it takes KEY=VALUE"),
            (("--match", "colour=red", *hub), "there is no such key; there are stream, call, "),
            (("--hub", str(folder / "nowhere.sock")), "is audiohookd running?"),
        ):
            with Recorder(folder.parent / f"other {len(words)} {words[:9]}".replace("/", ""), *options) as other:
                text = other.refused()
                assert words in text
                assert text.startswith("1: audiohook-record: " if "running" in words else "2: audiohook-record: ")
                assert "Traceback" not in text
        assert first.stop() == 0
