"""The running daemon behind TLS: calls to the last sample, who is let in, broken pairs, and its own handshake.

Slow handshakes and exchanges under live calls are the rows `slow-tls` and `certificates` of
tests/faults/test_faults_short.py.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.certificates import Authority, Pair, trusting
from tests.support.daemon import ROOT, Daemon
from tests.support.peer import Peer, packets_of

DEADLINE_SECONDS = 60
HANDSHAKE_SECONDS = 1.0


@pytest.fixture
def start(place: Pair, authority: Authority) -> Iterator[Callable[..., Daemon]]:
    running: list[Daemon] = []

    def started(*settings: str) -> Daemon:
        usual = [*place.settings, f"tls.probe_ca_file={authority.certificate}", "memory.streams=64"]
        running.append(Daemon(*usual, *settings).__enter__())
        return running[-1].wait_ready()

    yield started
    for daemon in running:
        daemon.__exit__(None, None, None)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    samples = np.random.default_rng(8).integers(-9000, 9000, 8000).astype("<i2")
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return folder


def load(daemon: Daemon, audio: Path, authority: Authority, *options: str) -> tuple[int, Any]:
    """Run `audiohook-load run`, verified; return its exit status and its figures."""
    url = f"wss://localhost:{daemon.address[1]}/"
    usual = ["--audio", str(audio), "--json", "--verify", "--hub", daemon.hub_path]
    command = [sys.executable, "-m", "audiohook.cli.load", "run", url, "--ca-file", str(authority.certificate), *usual]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS, env=os.environ
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


class Secured(Peer):
    """A peer that speaks TLS; `shown` is the certificate that it saw."""

    def __init__(self, daemon: Daemon, context: ssl.SSLContext, first: bytes = b"") -> None:
        super().__init__(daemon.address)
        self.socket.sendall(first)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.shown = self.socket.getpeercert(binary_form=True)


def shown(daemon: Daemon, authority: Authority) -> bytes:
    with Secured(daemon, trusting(authority)) as peer:
        assert peer.shown
        return peer.shown


# Calls


@pytest.mark.parametrize(
    "options",
    [
        ("--dialect", "mixed", "--seconds", "1.5", "--fault", "byte-at-a-time"),
        ("--dialect", "mixed", "--seconds", "5", "--v2-message-ms", "2500"),
    ],
    ids=["one byte a record", "large records"],
)
def test_calls_of_both_dialects_are_read_back_to_the_last_sample(
    start: Callable[..., Daemon], audio: Path, authority: Authority, options: tuple[str, ...]
) -> None:
    daemon = start()
    status, figures = load(daemon, audio, authority, "--calls", "6", *options)
    assert status == 0, figures
    assert figures["verification"]["perfect"] == 6
    assert daemon.counter("tls_handshakes") >= 6
    assert daemon.stop() == 0


def test_a_proxy_says_who_calls_before_tls(start: Callable[..., Daemon], authority: Authority) -> None:
    daemon = start('server.trusted_proxies=["127.0.0.1"]', "server.proxy_protocol=true")
    header = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 127, 0, 0, 1, 0x30, 0x39, 0x20, 0xFB])
    with Secured(daemon, trusting(authority), header) as peer:
        assert peer.upgrade().accepted
        peer.send_packets(packets_of(1)[:3])
        daemon.wait(lambda: daemon.counter("packets") == 3, "three packets")
        assert [stream.source_address for stream in daemon.hub.streams()] == ["192.0.2.7:12345"]
        assert peer.close() == 1000
    daemon.wait_logged("TLS handshake with .* is well")


def test_client_certificates_can_be_demanded(
    start: Callable[..., Daemon], authority: Authority, pairs: list[Pair]
) -> None:
    daemon = start(f"tls.client_ca_file={authority.certificate}", "tls.require_client_certificate=true")
    context = trusting(authority)
    context.load_cert_chain(pairs[1].certificate, pairs[1].key)
    with Secured(daemon, context) as peer:
        assert peer.upgrade().accepted
        assert peer.close() == 1000
    # In TLS 1.3 the server says so after the client is through.
    with Secured(daemon, trusting(authority)) as peer, pytest.raises((ssl.SSLError, ConnectionError)):
        peer.upgrade()
    daemon.wait_logged("TLS handshake failed: peer did not return a certificate")


# Certificates


def test_a_broken_pair_is_told_once_and_the_old_one_is_served_also_by_new_workers(
    start: Callable[..., Daemon], place: Pair, pairs: list[Pair], authority: Authority
) -> None:
    daemon = start("server.workers=1")
    Pair(pairs[1].certificate, pairs[0].key).copy_to(place)
    daemon.wait_logged("ERROR certificate and key cannot be used, the old ones stay in force: .* is not the key")
    assert shown(daemon, authority) == pairs[0].der
    (worker,) = daemon.workers().values()
    os.kill(worker, signal.SIGKILL)
    daemon.wait_logged("worker accepts", 2)
    assert shown(daemon, authority) == pairs[0].der
    status = json.loads(audiohookctl(daemon, "status", "--json"))
    assert "is not the key" in status["tls"]["error"]
    assert "the files cannot be used, the old ones stay in force" in audiohookctl(daemon, "status")
    pairs[1].copy_to(place)
    daemon.wait(lambda: shown(daemon, authority) == pairs[1].der, "the new pair")
    daemon.wait_logged("certificate and key were read again")
    assert json.loads(audiohookctl(daemon, "status", "--json"))["tls"]["error"] is None
    assert len(daemon.logged("cannot be used")) == 1
    assert [event["event"] for event in daemon.events()].count("tls_reload_failed") == 1
    assert daemon.counter("tls_reload_failed") == 1


def audiohookctl(daemon: Daemon, *arguments: str) -> str:
    command = [sys.executable, "-m", "audiohook.cli.audiohookctl", "--hub", daemon.hub_path, *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
    ).stdout


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_a_pair_that_cannot_be_used_refuses_the_start(place: Pair, more: list[str]) -> None:
    place.key.chmod(0o644)
    settings = [part for setting in place.settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "audiohook.cli.audiohookd", "--config", os.devnull, *settings, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert done.returncode == 2
    remedy = f"tls.key_file others than its owner have access (mode 0644); run: chmod 600 {place.key}"
    assert done.stderr == f"audiohookd: {place.key}: {remedy}\n"


# The daemon's own handshake


def later(days: float) -> str:
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86_400))


def events(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    return [event for event in daemon.events() if event["event"] == kind]


def test_a_certificate_that_expires_soon_and_is_not_trusted_is_told_in_words(
    start: Callable[..., Daemon], place: Pair, pairs: list[Pair], authority: Authority, tmp_path: Path
) -> None:
    authority.pair(until_time=later(9.5)).copy_to(place)
    strange = Authority(tmp_path / "strange")
    daemon = start(f"tls.probe_ca_file={strange.certificate}", "tls.probe_seconds=0.2")
    daemon.wait_logged("WARNING TLS: the certificate of localhost expires in 9 days, on ")
    words = "its authority is not trusted here, or certificates between the two are missing in the file"
    daemon.wait_logged(f"ERROR TLS handshake with 127.0.0.1:.*: the certificate is not trusted: {words}")
    failed = supervisor_counter(daemon, "tls_probe_failed")
    daemon.wait(lambda: supervisor_counter(daemon, "tls_probe_failed") > failed + 3, "more handshakes")
    before = daemon.descriptors_of_all()
    daemon.wait(lambda: supervisor_counter(daemon, "tls_probe_failed") > failed + 8, "more handshakes")
    assert sum(daemon.descriptors_of_all().values()) <= sum(before.values()) + 3, "one handshake's at most"
    assert len(events(daemon, "tls_probe_failed")) == len(daemon.logged("certificate is not trusted")) == 1
    (soon,) = events(daemon, "tls_expires_soon")
    assert soon["days_left"] == 9
    page = audiohookctl(daemon, "status")
    assert "TLS      the certificate of localhost expires in 9 days, on " in page
    assert f"FAILED, the certificate is not trusted: {words}" in page
    assert json.loads(audiohookctl(daemon, "status", "--json"))["tls"]["days_left"] == 9
    assert daemon.stop() == 0


def supervisor_counter(daemon: Daemon, name: str) -> int:
    rows = json.loads(audiohookctl(daemon, "status", "--json"))["rows"]
    return int(rows[-1]["counters"][name])


def test_a_url_behind_which_nobody_speaks_tls_is_told_in_words(authority: Authority) -> None:
    """TLS ends at a proxy: here nobody listens there, then somebody who speaks something else, then TLS for a name."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url, trusted = f"wss://localhost:{port}/", f"tls.probe_ca_file={authority.certificate}"
    with Daemon(f"tls.probe_url={url}", trusted, "tls.probe_seconds=0.1") as daemon:
        daemon.wait_ready()
        daemon.wait_logged(f"ERROR TLS handshake with localhost:{port}: the connection failed: Connection refused")
        with Daemon(f'server.listen=["127.0.0.1:{port}"]') as plain:
            plain.wait_ready()
            daemon.wait_logged(f"ERROR TLS handshake with localhost:{port}: the handshake failed: wrong version number")
            assert plain.stop() == 0
        pair = authority.pair()
        with Daemon(f'server.listen=["127.0.0.1:{port}"]', *pair.settings, trusted) as secured:
            secured.wait_ready()
            daemon.wait_logged(f"INFO TLS handshake with localhost:{port} is well: TLSv1.3")
            assert "TLS      the certificate of localhost expires in" in audiohookctl(daemon, "status")
        assert daemon.stop() == 0
