"""Signatures of another length than a MAC's, and other signature headers made to hurt: 401 for each, not a moment
before the fixed delay, and the calls beside them on the same worker lose nothing. (Servers have died of this.)
"""

import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from audiohook.auth.signature import MAC_BYTES
from audiohook.auth.signing import Stamp, sign
from audiohook.auth.verdict import FAILURE_DELAY_NS
from audiohook.session.audiohook2_client import upgrade_headers
from audiohook.wire.client import UpgradeReader, upgrade_request
from tests.process.bystanders import Bystanders
from tests.process.footprint import MEBIBYTE, Footprint
from tests.support.daemon import Daemon
from tests.support.genesys import KEY, Genesys

HOST = "audiohook.example.com"
SIGNED_KEY, SECRET = "c2lnbmVk", b"a secret that is known to both sides"
UNSIGNED_KEY = "SGVsbG8="
SHARED = ("x-audiohook-secret", "known-to-the-balancer")
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
DIGITS = "1" * 10_000


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    entries = [(SIGNED_KEY, b64encode(SECRET).decode()), (UNSIGNED_KEY, "")]
    path.write_text(
        "".join(
            f'[[key]]\norganization = "{ORGANIZATION}"\napi_key = "{key}"\nsecret = "{secret}"\n'
            for key, secret in entries
        )
        + f'[[shared_secret]]\nvalue = "{SHARED[1]}"\n'
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def daemon(start_daemon: Callable[..., Daemon], keys: Path) -> Daemon:
    return start_daemon("server.workers=1", f'auth.keys_file="{keys}"', "memory.ring_seconds=60")


@pytest.fixture
def bystanders(daemon: Daemon) -> Iterator[Bystanders]:
    with Bystanders(daemon, SHARED) as talking:
        yield talking


def signed(genesys: Genesys) -> dict[str, str]:
    """Return the headers of a request that is signed as it should be."""
    headers = (("host", HOST), *upgrade_headers(genesys.caller, SIGNED_KEY))
    return dict((*headers[1:], *sign("/", headers, SECRET, Stamp("n" * 22, int(time.time())))))


def of_length(octets: int) -> str:
    return f"sig1=:{b64encode(os.urandom(octets)).decode()}:"


WRONG: dict[str, dict[str, str]] = {
    **{f"{octets} octets": {"signature": of_length(octets)} for octets in (0, 1, 31, MAC_BYTES, 33, 64, 1024, 4096)},
    "empty": {"signature": ""},
    "no base64": {"signature": "sig1=:" + "!" * 44 + ":"},
    "no end": {"signature": "sig1=:" + "A" * 43},
    "text": {"signature": 'sig1="' + "A" * 32 + '"'},
    "number": {"signature": "sig1=" + DIGITS},
    "commas": {"signature": "," * 8000},
    "nested": {"signature-input": "sig1=" + "(" * 8000},
    "time of many digits": {"signature-input": f'sig1=("@authority");created={DIGITS}'},
    "time of some digits": {"signature-input": f'sig1=("@authority");created={DIGITS[:1900]}'},
}


def test_a_signature_that_is_right_enters(daemon: Daemon) -> None:
    """So that what is refused below is refused for what is wrong with it."""
    with Genesys(daemon.address) as genesys:
        headers = tuple(signed(genesys).items())
        assert genesys.upgrade(headers).accepted
        genesys.until("opened").close()


def test_signatures_of_other_lengths_are_refused_after_the_delay(daemon: Daemon, bystanders: Bystanders) -> None:
    (pid,) = daemon.workers().values()
    refuse_all(daemon, 1)
    footprint = Footprint(pid)
    refuse_all(daemon, 5)
    assert daemon.counter("unauthorized") == 6 * len(WRONG)
    assert footprint.growth_bytes < 4 * MEBIBYTE
    bystanders.check()


def refuse_all(daemon: Daemon, times: int) -> None:
    """Send every wrong signature so many times, all at once, and see each refused like the others."""
    with ExitStack() as stack:
        asked: list[tuple[str, Genesys, int]] = []
        for _ in range(times):
            for name, wrong in WRONG.items():
                genesys = stack.enter_context(Genesys(daemon.address))
                headers = {**signed(genesys), **wrong}
                asked.append((name, genesys, time.monotonic_ns()))
                genesys.socket.sendall(upgrade_request("/", HOST, headers.items(), KEY))
        for name, genesys, since_ns in asked:
            answer = None
            reader = UpgradeReader(KEY)
            while answer is None:
                data = genesys.socket.recv(65_536)
                answer = reader.receive_data(data) if data else reader.receive_eof()
            assert (answer.status, answer.body) == (401, b"unauthorized\n"), name
            assert time.monotonic_ns() - since_ns >= FAILURE_DELAY_NS, name
