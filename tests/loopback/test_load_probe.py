"""`audiohook-load probe`: content with a daemon that is right, and in words what is wrong with one that is not."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from load_acceptor import Acceptor
from misbehaving import STEREO, Misbehaving, Said, well

from audiohook.errors import NOT_FOUND
from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    keys = f'[[key]]\norganization = "{ORGANIZATION}"\napi_key = "{API_KEY}"\nsecret = "{SECRET}"\n'
    for name, text in {"keys": keys, "secret": SECRET, "wrong": "d3Jvbmc="}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def open_daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running.wait_ready()


@pytest.fixture(scope="module")
def locked_daemon(secrets: Path) -> Iterator[Daemon]:
    with Daemon(f'auth.keys_file="{secrets / "keys"}"') as running:
        yield running.wait_ready()


def probe(url: str, *more: str) -> tuple[int, list[list[str]]]:
    """Return the exit status and, of each line, the verdict and the text."""
    command = [sys.executable, "-m", "audiohook.cli.load", "probe", url, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.stderr == ""
    return done.returncode, [line.split(maxsplit=1) for line in done.stdout.splitlines()]


def wrongs(lines: list[list[str]]) -> list[str]:
    return [text for verdict, text in lines if verdict == "wrong"]


def test_the_daemon_answers_a_probe_and_makes_no_call_of_it(open_daemon: Daemon) -> None:
    status, lines = probe(open_daemon.url)
    assert (status, wrongs(lines)) == (0, [])
    said = "\n".join(text for _, text in lines)
    for part in ("connected to", "the upgrade was accepted", "opened after", "PCMU, external and internal", "closed"):
        assert part in said
    assert open_daemon.stream_lines("started") == []


def test_a_right_key_is_let_in_and_wrong_ones_are_kept_out(locked_daemon: Daemon, secrets: Path) -> None:
    keys = ["--api-key", API_KEY, "--organization", ORGANIZATION, "--secret-file", str(secrets / "secret")]
    status, lines = probe(locked_daemon.url, *keys)
    assert (status, wrongs(lines)) == (0, [])
    assert [text for _, text in lines[-3:]] == [
        "a wrong key is refused with 401",
        "a forged signature is refused with 401",
        "no signature is refused with 401",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"--api-key": "bm90IHRoZSBrZXk="},
        {"--organization": "11111111-0972-4844-938e-9060eef73d05"},
        {"--secret-file": "wrong"},
        {"--secret-file": ""},
    ],
)
def test_credentials_that_do_not_fit_are_told(locked_daemon: Daemon, secrets: Path, changed: dict[str, str]) -> None:
    chosen = {"--api-key": API_KEY, "--organization": ORGANIZATION, "--secret-file": "secret", **changed}
    file = chosen.pop("--secret-file")
    keys = [part for option in chosen.items() for part in option]
    status, lines = probe(locked_daemon.url, *keys, *(["--secret-file", str(secrets / file)] if file else []))
    assert status == 1
    (said,) = wrongs(lines)
    assert "401: not authorized: API key, organization or client secret differ" in said


def test_a_server_that_lets_everybody_in_is_told(open_daemon: Daemon) -> None:
    status, lines = probe(open_daemon.url, "--api-key", API_KEY)
    assert status == 1
    assert wrongs(lines) == ["a wrong key is let in: anybody can place calls here"]


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused for certain, and nobody else can take it
        status, lines = probe(f"ws://127.0.0.1:{taken.getsockname()[1]}/")
    assert status == 1
    assert "refuses connections: nothing listens there" in wrongs(lines)[0]


def test_no_such_name() -> None:
    status, lines = probe("ws://no-such-host.invalid/")
    assert status == 1
    assert "cannot be found" in wrongs(lines)[0]


def test_no_tls_where_tls_should_be(open_daemon: Daemon) -> None:
    status, lines = probe(open_daemon.url.replace("ws://", "wss://"))
    assert status == 1
    assert "does not speak TLS" in wrongs(lines)[0]


def test_a_refusal_is_told_by_its_status() -> None:
    with Acceptor(refuse=lambda request: NOT_FOUND) as acceptor:
        status, lines = probe(acceptor.url)
    assert status == 1
    assert wrongs(lines) == ["the upgrade was answered with 404: there is no AudioHook at this path"]


def test_what_is_no_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example.com ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        status, lines = probe(f"ws://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert status == 1
    assert wrongs(lines) == ["what came is not HTTP"]


def opened(said: Said, **changed: object) -> Said:
    return [{**well(said)[0], **changed}] if said[-1]["type"] == "open" else well(said)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda said: [], "open was not answered with opened within 5 s: Genesys gives up, and tries again"),
        (lambda said: opened(said, seq=2), "opened comes twice, or is not message 1: nothing may be said before it"),
        (
            lambda said: opened(said, parameters={"media": [{**STEREO, "channels": ["internal", "external"]}]}),
            "media in opened are not, word for word, one of the offers",
        ),
        (lambda said: opened(said, id="00000000-0000-0000-0000-000000000001"), "id is not the session's"),
        (lambda said: opened(said, parameters={"media": [STEREO], "codec": "PCMU"}), "a message is not one of"),
        (
            lambda said: [{"type": "disconnect", "seq": 1, "parameters": {"reason": "error", "info": "no room"}}],
            "open was answered with disconnect error: 'no room'",
        ),
        (
            lambda said: [{**fields, "clientseq": 1} for fields in well(said)],
            "clientseq of closed is not the number of the close that it answers",
        ),
    ],
)
def test_what_a_server_says_wrongly_is_told(answer: "object", told: str) -> None:
    with Misbehaving(answer) as acceptor:  # type: ignore[arg-type]
        status, lines = probe(acceptor.url)
    assert status == 1
    assert any(text.startswith(told) for text in wrongs(lines)), lines


def test_a_certificate_that_nobody_trusts_is_told(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(key), "-out", str(certificate))
    command = ["openssl", "req", "-x509", "-newkey", "ec", *curve, "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                try:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(65536)
                        secured.sendall(b"HTTP/1.1 503 full\r\ncontent-length: 0\r\n\r\n")
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"wss://127.0.0.1:{server.getsockname()[1]}/"
        untrusted = probe(url)
        trusted = probe(url, "--ca-file", str(certificate))
        thread.join()
    assert untrusted[0] == 1
    assert "is not trusted: self-signed certificate; Genesys wants one of a public authority" in wrongs(untrusted[1])[0]
    assert trusted[0] == 1
    assert "TLSv1.3, certificate trusted" in trusted[1][0][1]
    assert "503: the server takes no calls now" in wrongs(trusted[1])[0]
