"""nginx and HAProxy as Debian has them: found, or downloaded and unpacked once under `var/proxies/`, and run.

Nothing is installed: what the binary needs and this system has not is unpacked beside it. They run with the samples of
`conf/` as they stand there but for addresses, file names and the server's name, which `Sample` replaces, each of which
must be there. On leaving the `with` block they are gone.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from audiohook.load.debian_packages import PackagesError, download, unpack
from tests.support.daemon import LOOK_S, PATIENCE_S, ROOT

VAR = ROOT / "var" / "proxies"
LIBRARIES = "usr/lib/x86_64-linux-gnu"

NGINX = """
daemon off;
user {user};
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {sample};
}}
"""
"""What a system's own nginx.conf has around the sample, no more than it needs to start in a folder."""

HAPROXY = """
global
    log stderr format raw local0
"""


class Binary:
    """A program and the environment that it runs in."""

    def __init__(self, path: Path, libraries: Path | None = None) -> None:
        self.path = path
        self.environment = dict(os.environ) | ({"LD_LIBRARY_PATH": str(libraries)} if libraries else {})


def obtain(name: str) -> Binary:
    """Return the program of Debian's package `name`, this system's own or an unpacked one. Raises PackagesError."""
    installed = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if installed:
        return Binary(Path(installed))
    home = VAR / name
    if not home.exists():
        VAR.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=VAR) as work:
            unpacked = _with_libraries(name, Path(work))
            # A folder that has its name is complete, whoever else does the same meanwhile.
            try:
                unpacked.rename(home)
            except OSError:
                if not home.exists():
                    raise
    return Binary(home / "usr/sbin" / name, home / LIBRARIES)


def _with_libraries(name: str, work: Path) -> Path:
    """Unpack a package and the libraries below it that this system has not."""
    wanted, seen, archives = {name}, set[str](), list[Path]()
    while wanted:
        folder = work / str(len(seen))
        folder.mkdir()
        new = download(sorted(wanted), folder)
        archives += new
        seen |= wanted
        wanted = {library for archive in new for library in _libraries(archive)} - seen
        wanted = {library for library in wanted if not _is_installed(library)}
    return unpack(archives, work)


def _libraries(archive: Path) -> list[str]:
    fields = subprocess.run(["dpkg-deb", "--field", archive, "Depends"], capture_output=True, text=True, check=True)
    return re.findall(r"(?:^|, )(lib[a-z0-9.+-]+)", fields.stdout)


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "installed"


class Sample:
    """A file of conf/ with other addresses and file names in it."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "conf" / name).read_text(encoding="utf-8")

    def filled(self, replaced: Mapping[str, str]) -> str:
        """Return the sample with each key replaced; each must stand in it, outside its comments."""
        head, body = self._head_and_body()
        for there, here in replaced.items():
            assert there in body, f"the sample does not say {there!r}"
            body = body.replace(there, here)
        return head + body

    def settings(self) -> list[str]:
        """Return what its first comment wants of the daemon, as values for `--set`; not what is only hinted at (…)."""
        settings, section = [], ""
        for line in self._head_and_body()[0].splitlines():
            entry = line.removeprefix("#").strip()
            if entry.startswith("["):
                section = entry.strip("[]")
            elif section and " = " in entry and not entry.endswith("..."):
                key, _, value = entry.partition(" = ")
                settings.append(f"{section}.{key}={value}")
        return settings

    def _head_and_body(self) -> tuple[str, str]:
        lines = self.text.splitlines(keepends=True)
        end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
        return "".join(lines[:end]), "".join(lines[end:])


class Proxy:
    """A running proxy that listens on 127.0.0.1:`port`."""

    def __init__(self, folder: Path, port: int, command: list[str], binary: Binary) -> None:
        self.port = port
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=binary.environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> "Proxy":
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self._process.poll() is None, self.log
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S).close()
                return self
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, self.log
                time.sleep(LOOK_S)

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # its own session: the workers too
        self._process.wait()
        print(self.log)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def nginx(folder: Path, port: int, sample: str) -> Proxy:
    """Return nginx with a filled sample. Raises PackagesError."""
    binary = obtain("nginx")
    (folder / "audiohook.conf").write_text(sample)
    user = pwd.getpwuid(os.getuid()).pw_name
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, sample=folder / "audiohook.conf", user=user))
    command = [str(binary.path), "-p", str(folder), "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]
    return Proxy(folder, port, command, binary)


def haproxy(folder: Path, port: int, sample: str) -> Proxy:
    """Return HAProxy with a filled sample. Raises PackagesError."""
    binary = obtain("haproxy")
    (folder / "haproxy.cfg").write_text(HAPROXY)
    (folder / "audiohook.cfg").write_text(sample)
    command = [str(binary.path), "-db", "-f", str(folder / "haproxy.cfg"), "-f", str(folder / "audiohook.cfg")]
    return Proxy(folder, port, command, binary)


__all__ = ["PackagesError", "Proxy", "Sample", "free_port", "haproxy", "nginx", "obtain"]
