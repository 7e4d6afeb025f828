"""Listening sockets and the descriptor limit: what works, and what a refusal says."""

import gc
import os
import resource
import socket
import subprocess
import sys

import pytest

from audiohook.errors import BootError
from audiohook.net.descriptors import check_descriptors
from audiohook.net.listener import bound_address, open_listener, open_listeners
from tests.process.running import environment, run_program


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_name_is_looked_up() -> None:
    with open_listener("localhost:0", 16) as listener:
        assert bound_address(listener).rpartition(":")[0] in ("127.0.0.1", "[::1]")


@pytest.mark.parametrize("text", ["", "8443", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "::1:8443"])
def test_what_is_no_address_is_said_in_words(text: str) -> None:
    with pytest.raises(BootError) as caught:
        open_listener(text, 16)
    assert f'"{text}" is no address; write "host:port"' in str(caught.value)


def test_a_name_that_nobody_knows_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # no test asks a name server
    with pytest.raises(BootError, match="cannot be looked up; write a numeric address"):
        open_listener("nobody.invalid:80", 16)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_listener_is_ready_to_be_shared(host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with open_listener(f"{host}:0", 16) as listener:
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        address = bound_address(listener)
        assert address.startswith(f"{host}:")
        with pytest.raises(BlockingIOError):
            listener.accept()
        # SO_REUSEPORT: a second daemon may stand beside the first.
        with open_listener(address, 16) as beside:
            assert bound_address(beside) == address


def test_ipv6_leaves_the_port_to_ipv4_too() -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with open_listener("[::]:0", 16) as six:
        assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        with open_listener(f"0.0.0.0:{six.getsockname()[1]}", 16) as four:
            assert four.family == socket.AF_INET


def test_address_in_use_is_said_in_words_and_nothing_stays_open() -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = f"127.0.0.1:{stranger.getsockname()[1]}"
        gc.collect()  # what an earlier test left behind must not be closed in between
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(BootError, match=r"Address already in use.*another program listens there"):
            open_listeners(["127.0.0.1:0", taken], 16)
        assert len(os.listdir("/proc/self/fd")) == before


def test_foreign_address_is_said_in_words() -> None:
    with pytest.raises(BootError, match="this machine has no such address"):
        open_listener("192.0.2.1:0", 16)


def test_privileged_port_is_said_in_words() -> None:
    program = """
import encodings.idna, os  # what a look-up needs, before the uid that may not read the interpreter's folder
from audiohook.errors import BootError
from audiohook.net.listener import open_listener
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
first = int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read())
try:
    open_listener("127.0.0.1:%d" % (first - 1), 16)
except BootError as error:
    print(error)
"""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as start:
        if int(start.read()) == 0:
            pytest.skip("every port is unprivileged on this machine")
    assert "Permission denied: this user may not bind it; choose a port of 1024 or more" in run_program(program)


def test_descriptor_limit_is_raised_to_the_hard_one_and_children_have_it() -> None:
    program = """
import subprocess, sys
from audiohook.net.descriptors import raise_descriptor_limit
print(raise_descriptor_limit(), flush=True)
subprocess.run([sys.executable, "-c", "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"])
"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
    )
    assert done.stdout == f"{hard}\n{hard} {hard}\n"


def test_streams_that_do_not_fit_are_refused_with_numbers_and_remedy() -> None:
    check_descriptors(streams=934, listeners=2, limit=1000)
    with pytest.raises(BootError) as caught:
        check_descriptors(streams=935, listeners=2, limit=1000)
    text = str(caught.value)
    for part in ("memory.streams = 935", "needs 1001", "limit is 1000", "LimitNOFILE=1001", "to 934 at most"):
        assert part in text
