"""The README's examples run as they stand, against a real daemon and a real call."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import audiohook
from tests.support.daemon import Daemon
from tests.support.peer import Peer, Talking, call

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def calling(start_daemon: Callable[..., Daemon]) -> Iterator[tuple[Daemon, Peer]]:
    """A daemon, and a peer that goes on talking to it until it is taken away or the test is over."""
    daemon = start_daemon()
    with Talking() as talking:
        peer = call(daemon.address)
        talking.add(peer, 1)
        yield daemon, peer


def test_the_reader_of_ten_lines_prints_the_level_of_a_live_call(calling: tuple[Daemon, Peer]) -> None:
    daemon, peer = calling
    reader = subprocess.Popen(
        [sys.executable, "-u", "-c", EXAMPLES[0]],
        env={**os.environ, "AUDIOHOOK_HUB": daemon.hub_path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert reader.stdout is not None
        lines = [reader.stdout.readline() for _ in range(3)]
    finally:
        reader.kill()
        reader.communicate()
    for line in lines:
        assert re.fullmatch(rf"{peer.call_id} inbound +\d+\.\d s +-?\d+ dB\n", line), lines


def test_one_stream_is_followed_to_its_end(calling: tuple[Daemon, Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    daemon, peer = calling
    monkeypatch.setenv("AUDIOHOOK_HUB", daemon.hub_path)
    fed = []

    def feed(samples: object) -> None:
        fed.append(len(samples))  # type: ignore[arg-type]
        if len(fed) == 20:
            peer.send_close()

    exec(compile(EXAMPLES[1], "README.md", "exec"), {"audiohook": audiohook, "call_id": peer.call_id, "feed": feed})
    assert set(fed[:-1]) == {512}
