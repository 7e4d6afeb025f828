"""`audiohookctl capacity` for real, in a short form: measured beside a daemon that runs, read again, and refused.

What comes of the costs is tests/unit/test_capacity_sums.py's. No cost is judged here: the machine has others to serve.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, Daemon, sessions

DEADLINE_S = 150
CALLS = 5


def capacity(*arguments: str | Path, hub: str = "/nowhere/hub.sock") -> tuple[int, str, str]:
    """Run it; return its exit status, what it printed, and what it complained of. Nothing of it may be left."""
    command = [sys.executable, "-P", "-m", "audiohook.cli.audiohookctl", "--hub", hub, "capacity"]
    process = subprocess.Popen(
        [*command, "--config", os.devnull, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, complaint = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.pid not in {session for _, session in sessions()}
    return process.returncode, output, complaint


def test_it_measures_beside_a_daemon_and_leaves_it_alone(start_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    running = start_daemon("server.workers=1")
    status, output, complaint = capacity("--seconds", "1", "--calls", str(CALLS), "--json", hub=running.hub_path)
    assert complaint == ""
    told = json.loads(output)
    measured = told["measured"]
    assert (status == 0) == (not measured["client_late"])
    assert measured["calls"] == {"opus": CALLS, "pcmu": 2 * CALLS}
    assert measured["beside"]["hub"] == running.hub_path
    assert measured["beside"]["live"] == 0
    assert running.counter("accepted") == 0

    opus, pcmu = told["costs"]
    assert (opus["messages_a_second"], pcmu["messages_a_second"]) == (50, 10)
    assert pcmu["message_bytes"] == 1600
    assert 10 < opus["message_bytes"] < 200
    for cost, calls in zip(told["costs"], told["calls"], strict=True):
        assert cost["message_ns"] > 1000
        assert cost["admission_ns"] > 10_000
        assert 0 < measured["busy"][cost["kind"]] <= 1
        assert 0 < calls["calls"] == min(one for one in calls["limits"].values() if one is not None)

    kept = tmp_path / "costs.json"
    kept.write_text(output)
    status, again, complaint = capacity("--costs", kept, "--json")
    assert (status, complaint) == (0, "")
    assert json.loads(again) == {**told, "measured": None}
    status, page, _ = capacity("--costs", kept, "--cores", "64", "--link-gbit", "0.001", "--memory-gb", "512")
    assert status == 0
    assert "a host of 64 cores, 512.0 GB free, network 0.001 Gbit/s; calls of 180 s" in page
    assert page.count("(network)") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seconds", "0"], "--seconds 0: wanted 1 to 600"),
        (["--calls", "0"], "--calls 0: wanted 1 at least"),
        (["--costs", "/nowhere/costs.json"], "/nowhere/costs.json: [Errno 2]"),
        (["--costs", "/dev/null"], "/dev/null: Input data was truncated; wanted what `audiohookctl capacity --json`"),
        (["--costs", "docs/capacity.json", "--cores", "0"], "--cores 0: wanted more than 0"),
        (["--set", "memory.streams=0"], "memory.streams = 0"),
        (["--seconds", "1", "--audio", "/nowhere"], "audiohook-load"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], said: str) -> None:
    status, output, complaint = capacity(*arguments)
    assert status == 1
    assert output == ""
    assert said in complaint
    assert complaint.startswith("audiohookctl capacity: ")
    assert "Traceback" not in complaint
