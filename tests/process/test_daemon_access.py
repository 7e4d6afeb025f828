"""Who may call, against the running daemon: addresses, proxies and keys; and that a refusal tells nothing and waits.

Every address is one of loopback's own, so that a peer can come from several.
"""

import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from audiohook.auth.proxy_protocol import SIGNATURE
from audiohook.auth.signing import Stamp, sign
from audiohook.session import context_client
from audiohook.session.audiohook2_client import upgrade_headers
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, upgrade_request
from tests.support.daemon import Daemon
from tests.support.genesys import KEY, PATIENCE_S, new_caller

Start = Callable[..., Daemon]
Headers = Sequence[tuple[str, str]]

HOST = "audiohook.example.com"
API_KEY, UNSIGNED_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh", "dW5zaWduZWQ="
ORGANIZATION, OTHER = "d7934305-0972-4844-938e-9060eef73d05", "11111111-2222-4333-8444-555555555555"
SECRET_TEXT, SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=", b"MySuperSecretKeyTellNo-1!2@3#4$5"
STRANGER, CALLER, PROXY = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def connect(daemon: Daemon, source: str) -> socket.socket:
    return socket.create_connection(daemon.address, timeout=PATIENCE_S, source_address=(source, 0))


def read_answer(connected: socket.socket) -> UpgradeAnswer:
    reader = UpgradeReader(KEY)
    while True:
        data = connected.recv(65_536)
        answer = reader.receive_data(data) if data else reader.receive_eof()
        if answer is not None:
            return answer


def status(daemon: Daemon, source: str, more: Headers = (), in_front: bytes = b"", target: str = "/") -> int:
    """Ask for an upgrade from address `source`; return the status of the answer."""
    headers = (*upgrade_headers(new_caller(), API_KEY), *more)
    with connect(daemon, source) as connected:
        connected.sendall(in_front + upgrade_request(target, HOST, headers, KEY))
        return read_answer(connected).status


def test_who_is_in_the_list_may_call_also_through_a_trusted_proxy(start_daemon: Start) -> None:
    daemon = start_daemon(f'server.allow=["{CALLER}"]', f'server.trusted_proxies=["{PROXY}"]')

    def through(*hops: str) -> Headers:
        return [("x-forwarded-for", hop) for hop in hops]

    assert status(daemon, CALLER) == 101
    assert status(daemon, STRANGER) == 403
    assert status(daemon, STRANGER, through(CALLER)) == 403, "a stranger's header counts for nothing"
    assert status(daemon, PROXY, through(CALLER)) == 101
    assert status(daemon, PROXY, through(CALLER, STRANGER)) == 403, "the rightmost that is no proxy"
    assert status(daemon, PROXY, through("garbage")) == 403
    daemon.wait(lambda: daemon.counter("forbidden_address") == 4, "four refusals")


def test_behind_a_proxy_the_caller_is_shown_without_a_port(start_daemon: Start) -> None:
    daemon = start_daemon(f'server.trusted_proxies=["{PROXY}"]')
    call, participant = str(uuid.uuid4()), str(uuid.uuid4())
    named = context_client.upgrade_headers(
        call_id=call, session_id="a-session", user_id="a-user", participant_id=participant, direction="inbound"
    )
    headers = (*named, ("x-forwarded-for", CALLER))
    with connect(daemon, PROXY) as connected:
        connected.sendall(upgrade_request("/", HOST, headers, KEY))
        assert read_answer(connected).status == 101
        assert daemon.hub.open(participant_id=participant).card()["source_address"] == f"{CALLER}:0"
        daemon.wait_logged(f"stream started .*from={CALLER}:0")


def test_a_trusted_proxy_says_first_for_whom_it_speaks(start_daemon: Start) -> None:
    daemon = start_daemon(
        f'server.allow=["{CALLER}"]', f'server.trusted_proxies=["{PROXY}"]', "server.proxy_protocol=true"
    )

    def header(source: str) -> bytes:
        addresses = socket.inet_aton(source) + socket.inet_aton(PROXY)
        return SIGNATURE + b"\x21\x11\x00\x0c" + addresses + (5060).to_bytes(2, "big") + (443).to_bytes(2, "big")

    assert status(daemon, PROXY, in_front=header(CALLER)) == 101
    assert status(daemon, PROXY, in_front=header(STRANGER)) == 403
    assert status(daemon, CALLER) == 101, "who is no proxy sends none"
    with pytest.raises(ConnectionResetError):
        status(daemon, PROXY)
    daemon.wait(lambda: daemon.counter("proxy_malformed") == 1, "the connection without a header")


@pytest.fixture
def locked(start_daemon: Start, tmp_path: Path) -> Daemon:
    """A daemon with two keys of one organization, of which one has a secret."""
    keys = tmp_path / "keys.toml"
    entry = '[[key]]\norganization = "{}"\napi_key = "{}"\nsecret = "{}"\n'
    pairs = ((API_KEY, SECRET_TEXT), (UNSIGNED_KEY, ""))
    keys.write_text("".join(entry.format(ORGANIZATION, *pair) for pair in pairs))
    keys.chmod(0o600)
    return start_daemon(f'auth.keys_file="{keys}"')


def requests() -> dict[str, Headers]:
    """Return requests that must not be let in, by what is wrong with them."""
    caller = new_caller(organization_id=ORGANIZATION)
    now_s = int(time.time())

    def signed(
        api_key: str = API_KEY, secret: bytes = SECRET, age_s: int = 0, nonce: str = "n" * 24, organization: str = ""
    ) -> list[tuple[str, str]]:
        named = new_caller(organization_id=organization or ORGANIZATION)
        headers = upgrade_headers(named, api_key)
        stamp = Stamp(nonce, now_s - age_s)
        return [*headers, *sign("/", (("host", HOST), *headers), secret, stamp)]

    return {
        "no key": [header for header in upgrade_headers(caller, "") if header[0] != "x-api-key"],
        "unknown key": signed(api_key="bm9ib2R5"),
        "unsigned": upgrade_headers(caller, API_KEY),
        "another secret": signed(secret=b"another"),
        "too old": signed(age_s=3600),
        "in the future": signed(age_s=-3600),
        "short nonce": signed(nonce="n" * 21),
        "another organization": signed(organization=OTHER),
        "half a signature": signed()[:-1],
        "a MAC of another length": [*signed()[:-1], ("signature", "sig1=:AAAA:")],
        "signed without a secret": signed(api_key=UNSIGNED_KEY, secret=b""),
    }


def test_every_failure_is_the_same_401_half_a_second_later(locked: Daemon) -> None:
    bad = requests()
    with ExitStack() as stack:
        began = time.monotonic()
        connections = {}
        for what, headers in bad.items():
            connections[what] = stack.enter_context(connect(locked, STRANGER))
            connections[what].sendall(upgrade_request("/", HOST, headers, KEY))
        for what, connected in connections.items():
            answer = read_answer(connected)
            assert time.monotonic() - began >= 0.5, what
            assert (answer.status, answer.body) == (401, b"unauthorized\n"), what
    for target in ("/healthz", "/api/v1/loadtest/ws"):
        assert status(locked, STRANGER, target=target) == 401, "no path is open"
    locked.wait(lambda: locked.counter("unauthorized") == len(bad) + 2, "all of them counted")
    for word in (API_KEY, SECRET_TEXT, "bm9ib2R5"):
        assert word not in locked.log
    assert locked.counter("streams_opened") == 0


def test_a_signed_request_and_one_without_a_secret_enter(locked: Daemon) -> None:
    caller = new_caller(organization_id=ORGANIZATION)
    signed = upgrade_headers(caller, API_KEY)
    target = "/any/path?and=query"
    for headers in (
        (*signed, *sign(target, (("host", HOST), *signed), SECRET, Stamp("n" * 24, int(time.time())))),
        upgrade_headers(caller, UNSIGNED_KEY),
    ):
        with connect(locked, STRANGER) as connected:
            connected.sendall(upgrade_request(target, HOST, headers, KEY))
            assert read_answer(connected).accepted
