"""conf/nginx/audiohook.conf as it stands, in a real nginx, before a real daemon."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from audiohook.config import Config
from audiohook.session.audiohook2_client import upgrade_headers
from tests.interop import behind as behind_any
from tests.interop.behind import Behind
from tests.interop.proxies import PackagesError, Sample, free_port, nginx
from tests.interop.tunnel import CALLER, Tunnel
from tests.support.certificates import Authority, trusting
from tests.support.daemon import PATIENCE_S, Daemon
from tests.support.genesys import Genesys

SAMPLE = Sample("nginx/audiohook.conf")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Behind]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(*behind_any.daemon_settings(folder, SAMPLE))).wait_ready()
        pair = authority.pair()
        replaced = {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "server 127.0.0.1:8443": f"server 127.0.0.1:{daemon.address[1]}",
            "audio.example.com": "localhost",
            "/etc/ssl/audiohook/fullchain.pem": str(pair.certificate),
            "/etc/ssl/audiohook/privkey.pem": str(pair.key),
            "/var/log/nginx": str(folder),
        }
        try:
            proxy = stack.enter_context(nginx(folder, port, SAMPLE.filled(replaced)))
        except PackagesError as error:
            pytest.skip(f"nginx cannot be had: {error}")
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


def test_what_the_caller_says_of_its_address_is_not_passed_on(behind: Behind) -> None:
    with Genesys(behind.tunnel.address) as genesys:
        headers = upgrade_headers(genesys.caller, behind_any.UNSIGNED_KEY)
        genesys.opened(headers=[*headers, ("X-Forwarded-For", "203.0.113.9")])  # type: ignore[arg-type]
        stream = behind.daemon.hub.open(call_id=genesys.caller.conversation_id)
        assert behind_any.address_of(stream) == CALLER
        genesys.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_tls_session_is_resumed(behind: Behind, authority: Authority, version: ssl.TLSVersion) -> None:
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    resumed = None
    for _ in range(2):
        plain = socket.create_connection(("127.0.0.1", behind.proxy.port), timeout=PATIENCE_S)
        with context.wrap_socket(plain, server_hostname="localhost", session=resumed) as secured:
            assert secured.version() == version.name.replace("v1_", "v1.")
            # A ticket of TLS 1.3 would come behind the first answer.
            secured.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            while secured.recv(65_536):
                pass
            assert not secured.session_reused
            resumed = secured.session


def test_its_log_names_no_key_and_no_call(behind: Behind) -> None:
    with Genesys(behind.tunnel.address) as genesys:
        genesys.opened(api_key=behind_any.UNSIGNED_KEY, target="/?secret=in-the-query")
        genesys.close()
        written = behind.daemon.wait((behind.folder / "audiohook.log").read_text, "a line of nginx's log")
        assert re.search(rf"^\S+ {re.escape(CALLER)} ", written, re.MULTILINE)
        for word in (behind_any.UNSIGNED_KEY, behind_any.SIGNED_KEY, "in-the-query", genesys.caller.session_id):
            assert word not in written


def test_the_daemons_deadlines_come_before_those_of_the_sample() -> None:
    longest_s = Config().audiohook2.paused_idle_seconds
    for name in ("proxy_read_timeout", "proxy_send_timeout", "send_timeout"):
        minutes = re.search(rf"^\s+{name} +(\d+)m;$", SAMPLE.text, re.MULTILINE)
        assert minutes, name
        assert int(minutes[1]) * 60 > longest_s
