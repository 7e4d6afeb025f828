"""conf/haproxy/*.cfg as they stand, in a real HAProxy, before a real daemon: TLS ends in the daemon, or in HAProxy."""

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from audiohook.config import Config
from tests.interop import behind as behind_any
from tests.interop.behind import Behind
from tests.interop.proxies import PackagesError, Sample, free_port, haproxy
from tests.interop.tunnel import Tunnel
from tests.support.certificates import Authority, Pair, trusting
from tests.support.daemon import PATIENCE_S, Daemon
from tests.support.genesys import Genesys

THROUGH, ENDING = Sample("haproxy/audiohook.cfg"), Sample("haproxy/audiohook-tls.cfg")
SAMPLES = {"through": THROUGH, "ending": ENDING}


def addresses(name: str, folder: Path, pair: Pair, port: int, daemon: Daemon) -> dict[str, str]:
    """Return what is replaced in a sample."""
    replaced = {
        "127.0.0.1:8443": f"127.0.0.1:{daemon.address[1]}",
        "bind :443": f"bind 127.0.0.1:{port}",
        "inter 2s": "inter 200ms",
    }
    if name == "through":
        return replaced
    both = folder / "audiohook.pem"
    both.write_text(pair.certificate.read_text() + pair.key.read_text())
    return {**replaced, "/etc/ssl/audiohook/audiohook.pem": str(both)}


@pytest.fixture(scope="module", params=list(SAMPLES))
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder, port, sample = tmp_path_factory.mktemp("haproxy"), free_port(), SAMPLES[request.param]
    authority = Authority(folder / "authority")
    pair = authority.pair()
    with ExitStack() as stack:
        own_tls = pair.settings if request.param == "through" else []
        settings = behind_any.daemon_settings(folder, sample)
        daemon = stack.enter_context(Daemon(*settings, *own_tls)).wait_ready()
        filled = sample.filled(addresses(request.param, folder, pair, port, daemon))
        try:
            proxy = stack.enter_context(haproxy(folder, port, filled))
        except PackagesError as error:
            pytest.skip(f"HAProxy cannot be had: {error}")
        tunnel = stack.enter_context(Tunnel(port, trusting(authority)))
        yield Behind(daemon, proxy, tunnel, folder)


def test_every_sample_of_both_dialects_arrives_and_the_caller_is_seen(behind: Behind) -> None:
    behind_any.every_sample_arrives_and_the_caller_is_seen(behind)


def test_the_largest_messages_arrive_and_larger_ones_are_refused_by_the_daemon(behind: Behind) -> None:
    behind_any.the_largest_messages_arrive_and_larger_ones_are_refused(behind)


def test_health_is_asked_through_it(behind: Behind) -> None:
    behind_any.health_is_asked_through_it(behind)


def test_a_reload_of_the_daemon_costs_no_call(behind: Behind) -> None:
    behind_any.a_reload_costs_no_call(behind)
    assert "is DOWN" not in behind.proxy.log


def test_a_caller_that_writes_a_proxy_header_of_its_own_is_not_believed(behind: Behind) -> None:
    """Behind the one that HAProxy writes it is no request."""
    spoofed = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 127, 0, 0, 1, 0, 80, 0, 80])
    with socket.create_connection(behind.tunnel.address, timeout=PATIENCE_S) as caller:
        caller.sendall(spoofed + b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = caller.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "203.0.113.9" not in behind.daemon.log


def test_a_daemon_that_drains_gets_no_new_calls_and_keeps_the_others(behind: Behind) -> None:
    """The last with each daemon, since it stops it. That HAProxy has read a 503 shows that its checks get through."""
    with Genesys(behind.tunnel.address) as genesys:
        genesys.opened(api_key=behind_any.UNSIGNED_KEY)
        behind.daemon.signal(signal.SIGTERM)
        behind.daemon.wait(
            lambda: "is DOWN" in behind.proxy.log, f"HAProxy's notice of the drain in {behind.proxy.log}"
        )
        assert "Layer7 wrong status, code: 503" in behind.proxy.log
        noise = np.random.default_rng(5).integers(-20_000, 20_000, (800, 2)).astype(np.int16)
        genesys.say(noise)
        genesys.close()
    stream = behind.daemon.hub.open(call_id=genesys.caller.conversation_id)
    assert (stream.totals.decoded, stream.end_reason) == (800, "peer_closed")
    assert behind.daemon.wait_exit() == 0


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_the_daemons_deadlines_come_before_those_of_the_sample(sample: Sample) -> None:
    minutes = re.search(r"^\s+timeout tunnel +(\d+)m$", sample.text, re.MULTILINE)
    assert minutes
    assert int(minutes[1]) * 60 > Config().audiohook2.paused_idle_seconds
