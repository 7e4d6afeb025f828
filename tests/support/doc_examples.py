"""The examples of a page of docs/, run as they stand: its files, and its shell sessions in one real shell.

A page's fenced blocks are

    console   commands. Where lines begin with `$ ` these are the commands, `> ` goes on with one, and the rest is what
              it prints; else each line is a command, and what it prints is not looked at. `…` stands for anything in a
              line, and alone in a line for any lines. Every command succeeds, but for the last one of a block that has
              `fails` behind `console`; with `as group:NAME` there, who gives the commands is of this group and no more
    others    files, where the line above ends with a colon and has a name in backticks, the last one counts

Replaced is only what cannot be the same everywhere: the daemon's address, /etc/audiohook, and the speech that
`audiohook-load` fetches. `audiohookd … &` starts a daemon as tests do (`daemon.py`), whose log is /etc/audiohook/log;
after `audiohook-load run … &` the variables STREAM and CALL are those of its call.
"""

import grp
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiohook.load.speech_source import write_wav
from tests.support.daemon import LOOK_S, PATIENCE_S, ROOT, Daemon

LONGEST_S = 90.0
ADDRESS = "127.0.0.1:8443"
ETC = "/etc/audiohook"
ANYTHING = "…"
TOOLS = {
    "audiohookd": "audiohookd",
    "audiohookctl": "audiohookctl",
    "audiohook-load": "load",
    "audiohook-record": "record",
}
PROGRAM = """
import os, shutil, sys
import audiohook
from audiohook.cli.{module} import main
audiohook.attach
sys.argv[0] = "{name}"
if group := int(os.environ.get("EXAMPLE_GROUP", 0)):
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(65534, 65534, 65534)
sys.exit(main())
"""
"""What a command on the path runs. Rights are given up when all is imported, which others need not be able to read."""

LOOKS = ("audiohookctl status", "grep ", "ls ")
"""Commands that change nothing: they are given again until what they print is what the page says."""

_BLOCK = re.compile(r"([^\n]*)\n+```(\w+)([^\n]*)\n(.*?)```", re.DOTALL)
_NAMED = re.compile(r"`([^`]+)`[^`]*:\Z")
_DONE = "example-done"


class Command(NamedTuple):
    text: str
    prints: str | None
    """None: not looked at."""
    fails: bool = False
    group: str = ""
    """Whose rights they are given with; empty: one's own."""

    @property
    def background(self) -> bool:
        return self.text.endswith("&")


class File(NamedTuple):
    name: str
    text: str


Example = Command | File


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def examples(text: str) -> list[Example]:
    """Return the files and commands of a page, in order."""
    return list(_examples(text))


def _examples(text: str) -> Iterator[Example]:
    for above, language, more, content in _BLOCK.findall(text):
        named = _NAMED.search(above)
        if language == "console":
            group = re.search(r" as group:(\S+)", more)
            commands = [one._replace(group=group[1] if group else "") for one in _commands(content)]
            yield from commands[:-1]
            yield commands[-1]._replace(fails="fails" in more.split())
        elif named:
            yield File(named[1], content)


def _commands(content: str) -> list[Command]:
    lines = content.splitlines(keepends=True)
    if not content.startswith("$ "):
        return [Command(line.strip(), None) for line in lines]
    found: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Command(line[2:-1], ""))
        elif line.startswith("> "):
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line[2:-1]}")
        else:
            found[-1] = found[-1]._replace(prints=f"{found[-1].prints}{line}")
    return found


def stories(text: str) -> dict[str, list[Example]]:
    """Return the examples of a page, cut where a daemon is started, by the heading above the first of each."""
    found: dict[str, list[Example]] = {}
    told: list[Example] = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, rest = section.partition("\n")
        here = examples(rest)
        if not here:
            continue
        if not found or any(_starts_a_daemon(example) for example in here):
            told = found[heading] = []
        told += here
    return found


def _starts_a_daemon(example: Example) -> bool:
    return isinstance(example, Command) and example.background and example.text.startswith("audiohookd ")


def prints(expected: str, out: str) -> bool:
    """Return whether `out` is what a page says it is."""
    lines = []
    for line in expected.splitlines():
        parts = (re.escape(part) for part in line.split(ANYTHING))
        lines.append(r"(?:.*\n)*" if line == ANYTHING else f"{'.*'.join(parts)} *\n")
    return re.fullmatch("".join(lines), out) is not None


class Shell:
    """A shell in a folder, with the package's commands on its path. On leaving the `with` block all of it is gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.daemon: Daemon | None = None

    def __enter__(self) -> "Shell":
        (self._folder / "conf").symlink_to(ROOT / "conf")
        self._write_tools()
        paths = f"{self._folder / 'bin'}:{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            env={**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": ""},
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # its own session: what it has put into the background too
        self._process.communicate()
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def _write_tools(self) -> None:
        audio = self._folder / "audio"
        samples = np.random.default_rng(8).integers(-9000, 9000, 80_000).astype("<i2")
        write_wav(audio / "noise.wav", 8000, samples.tobytes())
        (self._folder / "bin").mkdir()
        for name, module in TOOLS.items():
            program = PROGRAM.format(module=module, name=name)
            more = f'[ "$1" != run ] || set -- "$@" --audio {shlex.quote(str(audio))}\n' if module == "load" else ""
            self._write_tool(name, f'{more}exec {shlex.quote(sys.executable)} -c {shlex.quote(program)} "$@"')
        self._write_tool("python", f'exec {shlex.quote(sys.executable)} "$@"')

    def _write_tool(self, name: str, text: str) -> None:
        path = self._folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    # ---------------------------------------------------------------------------------------- playing

    def play(self, told: list[Example]) -> None:
        """Do everything in order, and compare what comes of it with what the page says."""
        for example in told:
            if isinstance(example, File):
                path = self._folder / Path(self._here(example.name)).name
                path.write_text(self._here(example.text))
            elif _starts_a_daemon(example):
                self._start_daemon(example)
            elif example.background and example.text.startswith("audiohook-load "):
                self._start_calls(example)
            else:
                self.give(example)

    def give(self, command: Command) -> str:
        """Give one command and wait for its end; return what it printed, which is what the page says."""
        deadline = time.monotonic() + PATIENCE_S
        group = grp.getgrnam(command.group).gr_gid if command.group else 0
        while True:
            status, out = self.run(f"export EXAMPLE_GROUP={group}\n{command.text}")
            right = command.prints is None or prints(self._here(command.prints), out)
            if (right and command.fails == (status != 0)) or not command.text.startswith(LOOKS):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_S)
        shown = f"$ {command.text}\n{out}(status {status})"
        assert right, f"{shown}\n\nThe page says:\n{command.prints}"
        assert command.fails == (status != 0), shown
        return out

    def run(self, text: str) -> tuple[int, str]:
        """Run a command in the shell; return its status and what it printed, on both streams."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._here(text)}\nprintf '\\n{_DONE} %d\\n' $?\n".encode())
        self._process.stdin.flush()
        out = self._read(re.compile(rf"\n{_DONE} (\d+)\n\Z"), text)
        head, _, status = out.rpartition(f"\n{_DONE} ")
        return int(status), head

    def _read(self, end: re.Pattern[str], awaited: str) -> str:
        assert self._process.stdout is not None
        deadline, data = time.monotonic() + LONGEST_S, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not end.search(text := data.decode(errors="replace")):
                assert selector.select(max(deadline - time.monotonic(), 0)), f"no end of: {awaited}\n{text}"
                piece = os.read(self._process.stdout.fileno(), 65_536)
                assert piece, f"the shell ended: {awaited}\n{text}"
                data += piece
        return text

    def _here(self, text: str) -> str:
        address = "{}:{}".format(*self.daemon.address) if self.daemon else ADDRESS
        return text.replace(ADDRESS, address).replace(ETC, str(self._folder))

    def _start_daemon(self, command: Command) -> None:
        """Start the daemon of a page instead of the one before it."""
        self._stack.close()
        words = shlex.split(re.sub(r"( 2> \S+)? &$", "", self._here(command.text)))
        self.use(self._stack.enter_context(Daemon(arguments=tuple(words[1:]))).wait_ready())

    def use(self, daemon: Daemon) -> None:
        """Let this daemon be the one of the page."""
        self.daemon = daemon
        (self._folder / "log").unlink(missing_ok=True)
        (self._folder / "log").symlink_to(daemon.log_path)
        self.run(f"export AUDIOHOOK_HUB={daemon.hub_path}")

    def _start_calls(self, command: Command) -> None:
        """Place a call that goes on while the page does, and name it."""
        daemon = self.daemon
        assert daemon is not None
        before = {stream.stream_id for stream in daemon.hub.streams(ended=True)}
        self.run(command.text)

        def begun() -> list[tuple[str, str]]:
            new = [stream for stream in daemon.hub.streams() if stream.stream_id not in before]
            return [
                (stream.stream_id, stream.call_id)
                for stream in new
                if stream.totals.decoded or stream.state == "PAUSED"
            ]

        stream, call = daemon.wait(begun, f"a call of: {command.text}")[0]
        self.run(f"export STREAM={stream} CALL={call}")
