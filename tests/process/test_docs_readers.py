"""Every example of docs/readers.md runs as it stands, in a process of its own, beside a daemon with calls."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE_S, ROOT, Daemon
from tests.support.doc_examples import Shell, examples
from tests.support.peer import Peer, Talking, call, call_again

TEXT = (ROOT / "docs" / "readers.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"\n## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", TEXT, re.DOTALL))


class Calls:
    """A daemon, an inbound and an outbound call that talk, and the example that runs beside them."""

    def __init__(self, daemon: Daemon, talking: Talking, folder: Path) -> None:
        self.daemon, self.talking, self._folder = daemon, talking, folder
        self.inbound = self.add("inbound")
        self.outbound = self.add("outbound")
        daemon.wait(lambda: min(len(peer.sent) for peer in (self.inbound, self.outbound)) > 60, "60 packets")
        self._process: subprocess.Popen[str] | None = None

    def add(self, direction: str) -> Peer:
        peer = call(self.daemon.address, direction=direction)
        self.talking.add(peer, 1)
        return peer

    def hang_up(self, peer: Peer) -> None:
        self.talking.take(peer).close()

    def start(self, heading: str) -> None:
        with (self._folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-u", "-c", EXAMPLES[heading], self.inbound.call_id],
                env={**os.environ, "AUDIOHOOK_HUB": self.daemon.hub_path},
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def out(self) -> str:
        return (self._folder / "out").read_text()

    def wait_out(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.out, re.MULTILINE)):
            assert time.monotonic() < deadline, f"{pattern} did not come\n{self.out}"
            assert self._process is not None
            assert self._process.poll() in (None, 0), self.out
            time.sleep(0.01)
        return found

    def wait_attached(self) -> None:
        """Wait until the example has the memory, and has had a while to look into it."""
        assert self._process is not None
        maps = Path(f"/proc/{self._process.pid}/maps")
        self.daemon.wait(lambda: "audiohook:arena" in maps.read_text(), "the memory's map")
        self.talk(10)

    def talk(self, packets: int) -> None:
        """Let the inbound call say so much more."""
        enough = len(self.inbound.sent) + packets
        self.daemon.wait(lambda: len(self.inbound.sent) >= enough, f"{packets} packets")

    def finish(self) -> str:
        """Return what it has printed, when it has ended by itself."""
        assert self._process is not None
        assert self._process.wait(PATIENCE_S) == 0, self.out
        return self.out

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def calls(start_daemon: Callable[..., Daemon], tmp_path: Path) -> Iterator[Calls]:
    daemon = start_daemon()
    with Talking() as talking:
        made = Calls(daemon, talking, tmp_path)
        yield made
        made.kill()


def which_streams(calls: Calls) -> None:
    lines = calls.finish().splitlines()
    assert lines[0] == "31 s of each stream can be read back"
    assert f"{calls.inbound.call_id} inbound 16000 ('mono',) LIVE" in lines
    assert len(lines) == 3


def as_it_begins(calls: Calls) -> None:
    calls.wait_out(f"^began: {calls.outbound.call_id} outbound$")
    later = calls.add("inbound")
    calls.wait_out(f"^began: {later.call_id} inbound$")


def one_stream(calls: Calls) -> None:
    calls.daemon.wait(calls.daemon.watched, "a reader that waits")
    calls.talk(30)
    calls.hang_up(calls.inbound)
    reason, frames, length = calls.finish().split()
    assert reason == "peer_closed"
    assert 0 < int(frames) < int(length)


def where_to_begin(calls: Calls) -> None:
    found = [re.fullmatch(r"(\w+) (\d+) (\d+) ms old", line) for line in calls.finish().splitlines()]
    starts = [(match[1], int(match[2])) for match in found if match]
    assert [start for start, _ in starts] == ["oldest", "live", "320"]
    assert (starts[0][1], starts[2][1]) == (0, 320)
    assert starts[1][1] > 60 * 320


def views(calls: Calls) -> None:
    view, copy = calls.finish().splitlines()
    assert re.fullmatch(r"a view: \d+ int16 \(1600, 1\)", view)
    assert copy == "a copy, true for ever: True True"


def falling_behind(calls: Calls) -> None:
    calls.daemon.wait(calls.daemon.watched, "a reader that waits")
    calls.hang_up(calls.inbound)
    assert calls.finish() == "read to the end\n"


def gaps(calls: Calls) -> None:
    calls.daemon.wait(calls.daemon.watched, "a reader that waits")
    calls.hang_up(calls.inbound)
    assert calls.finish() == "gaps: {} []\n"


def away_and_back(calls: Calls) -> None:
    calls.daemon.wait(calls.daemon.watched, "a reader that waits")
    first = calls.talking.take(calls.inbound)
    first.close(1000, "Hold")
    stream = calls.daemon.hub.open(call_id=first.call_id)
    calls.daemon.wait(lambda: stream.parked, "a PARKED stream")
    left_s = time.monotonic()
    calls.daemon.wait(lambda: time.monotonic() - left_s > 0.1, "the end of the hold")
    second = call_again(calls.daemon.address, first)
    calls.talking.add(second, 2)
    calls.daemon.wait(lambda: len(second.sent) > 30, "30 packets")
    calls.hang_up(second)
    *gaps, heard, one, two = calls.finish().splitlines()
    held = 0
    for line in gaps:
        found = re.fullmatch(r"(\d+) frames from (\d+) on: held, measured: True", line)
        assert found
        assert int(found[2]) == len(first.sent) * 320 + held
        held += int(found[1])
    assert held >= 800
    lengths = [len(first.sent) * 320, held + len(second.sent) * 320]
    assert heard == f"heard {sum(lengths)}"
    assert [one, two] == [f"{length} peer_closed" for length in lengths]


def last_second(calls: Calls) -> None:
    found = re.fullmatch(r"16000 frames, up to (\d+) True\n", calls.finish())
    assert found
    assert int(found[1]) >= 60 * 320


def all_streams(calls: Calls) -> None:
    calls.wait_attached()
    late = calls.add("inbound")
    calls.talk(30)
    calls.hang_up(calls.outbound)
    for peer in (late, calls.inbound):
        calls.hang_up(peer)
        seconds = len(peer.sent) * 0.02
        found = calls.wait_out(rf"^{peer.call_id} (\d+\.\d) s peer_closed$")
        assert abs(float(found[1]) - seconds) < 0.06
    assert len(calls.out.splitlines()) == 2


def for_models(calls: Calls) -> None:
    calls.daemon.wait(calls.daemon.watched, "a reader that waits")
    calls.hang_up(calls.inbound)
    first, last = calls.finish().splitlines()
    assert first == "float32 (512,) True"
    found = re.fullmatch(r"the last one: (\d+) frames from frame (\d+) of the stream on", last)
    assert found
    assert int(found[2]) + 2 * int(found[1]) == len(calls.inbound.sent) * 320


def events(calls: Calls) -> None:
    calls.wait_out("^service_ready  $")
    calls.hang_up(calls.inbound)
    calls.wait_out(f"^stream_ended {calls.inbound.call_id} peer_closed$")
    assert f"stream_started {calls.outbound.call_id}" in calls.out


def with_asyncio(calls: Calls) -> None:
    calls.daemon.wait(calls.daemon.watched, "a reader that waits")
    calls.hang_up(calls.inbound)
    *first_frames, reason = calls.finish().split()
    assert reason == "peer_closed"
    assert list(map(int, first_frames)) == list(range(0, len(calls.inbound.sent) * 320, 512))


def a_task_for_each(calls: Calls) -> None:
    calls.daemon.wait(lambda: len(calls.daemon.watched()) == 2, "two readers that wait")
    for peer in (calls.inbound, calls.outbound):
        calls.hang_up(peer)
        calls.wait_out(rf"^{peer.call_id} {len(peer.sent) * 320} frames peer_closed$")


def daemon_goes(calls: Calls) -> None:
    calls.wait_out(f"^{calls.inbound.call_id} 0$")
    for pid in calls.daemon.processes():
        os.kill(pid, signal.SIGKILL)
    out = calls.finish()
    assert re.search(r"^gone: no process of the daemon at .* has given a sign of life for 5 s$", out, re.MULTILINE)
    assert len(re.findall(r"^still readable: \S+ \d+$", out, re.MULTILINE)) == 2


EXPECTED: dict[str, Callable[[Calls], None]] = {
    "Which streams there are": which_streams,
    "Each stream as it begins": as_it_begins,
    "One stream": one_stream,
    "Where to begin": where_to_begin,
    "Views, copies and how long they are true": views,
    "Falling behind": falling_behind,
    "Gaps": gaps,
    "Calls that go away and come back": away_and_back,
    "The last second": last_second,
    "All streams in one loop": all_streams,
    "For models: resampled, as floats": for_models,
    "Lifecycle events": events,
    "asyncio": with_asyncio,
    "asyncio, a task for each stream": a_task_for_each,
    "When the daemon goes": daemon_goes,
}


def test_every_example_is_run() -> None:
    assert sorted(EXAMPLES) == sorted(EXPECTED)
    assert TEXT.count("```python") == len(EXAMPLES)


@pytest.mark.parametrize("heading", EXPECTED)
def test_an_example_does_what_the_page_says(heading: str, calls: Calls) -> None:
    calls.start(heading)
    EXPECTED[heading](calls)
    assert "Traceback" not in calls.out


def test_the_recorder_records_as_the_page_says(calls: Calls, tmp_path: Path) -> None:
    shown = examples(TEXT[TEXT.index("## Recording: ") :])
    assert len(shown) == 5
    (tmp_path / "shell").mkdir()
    with Shell(tmp_path / "shell") as shell:
        shell.use(calls.daemon)
        shell.play(shown)


def test_the_recorders_options_are_those_of_the_page() -> None:
    command = [sys.executable, str(ROOT / "bin" / "audiohook-record"), "--help"]
    shown = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True).stdout
    section = TEXT[TEXT.index("## Recording: ") :]
    options = set(re.findall(r"--[a-z]+", shown.decode())) - {"--help"}
    assert options == set(re.findall(r"^\| `(--[a-z]+)", section, re.MULTILINE))
