"""`make run`: a daemon, eight calls of real speech in both dialects, and the proof that what went in came out.

Starts audiohookd on loopback with its defaults (less memory, its hub under var/), places calls with the load client,
which reads every sample back out of the shared memory and compares it, writes what another reader hears as WAV files,
and shows a table meanwhile. Nothing here knows more than a user's own program could: it talks to the daemon's socket
and attaches to its hub. Exit status 0 only if every sample of every call was verified.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import audiohook
from audiohook.cli.demo_table import Screen, render_table
from audiohook.cli.own_daemon import STOP_WITHIN_SECONDS, announced, end
from audiohook.errors import AudiohookError
from audiohook.load.runner import Progress, RunOptions, run
from audiohook.load.table import table_of

CALLS = 8
UNTIL_TOLD_SECONDS = 86_400.0
PORT = 8443
VAR = Path("var")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make run", description="Places eight calls and verifies every sample.")
    parser.add_argument("--seconds", type=float, help="end by itself after so long (default: until Ctrl-C)")
    options = parser.parse_args(arguments)
    recordings = VAR / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    log_path = VAR / "run" / "audiohookd.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w+") as log:
        daemon = _start_daemon(log)
        recorder: subprocess.Popen[bytes] | None = None
        try:
            url, hub_path = announced(daemon, log_path)
            print(
                f"audiohookd runs at {url}, its log is {log_path}; placing {CALLS} calls of real speech, half of "
                "them in each dialect",
                flush=True,
            )
            command = [sys.executable, "-m", "audiohook.cli.demo_recorder", hub_path, str(recordings)]
            recorder = subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0)
            return _place_calls(url, hub_path, options.seconds, recorder, recordings)
        except AudiohookError as error:
            print(f"make run: {error}", file=sys.stderr)
            return 1
        finally:
            for process in filter(None, (recorder, daemon)):
                end(process)


def _start_daemon(log: IO[str]) -> subprocess.Popen[bytes]:
    # In process groups of their own: Ctrl-C is for the calls, which end properly before the daemon does.
    settings = {"hub.path": f'"{VAR / "run" / "hub.sock"}"', "memory.streams": "32", "server.drain_seconds": "5"}
    if not _port_free(PORT):
        print(f"port {PORT} is taken: audiohookd will choose another")
        settings["server.listen"] = '["127.0.0.1:0"]'
    command = [sys.executable, "-m", "audiohook.cli.audiohookd", "--config", os.devnull]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return subprocess.Popen(command, stderr=log, process_group=0)


def _port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _place_calls(
    url: str, hub_path: str, seconds: float | None, recorder: subprocess.Popen[bytes], recordings: Path
) -> int:
    screen = Screen(sys.stdout)
    with audiohook.attach(hub_path) as hub:

        def show(progress: Progress) -> None:
            screen.show(render_table(hub, progress.elapsed_seconds, progress.verified))

        # The first call begins a moment after the run does, and the last has to end before it.
        length = UNTIL_TOLD_SECONDS if seconds is None else seconds
        options = RunOptions(url=url, calls=CALLS, seconds=length, dialect="mixed", verify=True, hub=hub_path, var=VAR)
        result = run(options, show)
        screen.finish()
    print(table_of(result))
    files = _recorded(recorder)
    print(f"\n{files} recordings in {recordings}/ (play one: aplay {recordings}/*.wav)")
    verified = result.every_sample_verified and files == CALLS and (result.interrupted or result.all_completed)
    if verified:
        print("every sample of every call was read back out of the shared memory, once, and equal to what was sent")
    else:
        print("NOT EVERY SAMPLE WAS VERIFIED: see the table above", file=sys.stderr)
    print("next: README.md has a reader of ten lines; conf/audiohookd.toml has every setting; make test runs the tests")
    return 0 if verified else 1


def _recorded(recorder: subprocess.Popen[bytes]) -> int:
    """Tell the recorder that no more streams will come; return how many files it has written."""
    recorder.send_signal(signal.SIGTERM)
    output, _ = recorder.communicate(timeout=STOP_WITHIN_SECONDS)
    return int(output or b"0")


if __name__ == "__main__":
    sys.exit(main())
