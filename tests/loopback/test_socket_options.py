"""net/stream_socket.py: what a connection has of its listener, and that its options are right wherever it came from."""

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from audiohook.net.listener import open_listener
from audiohook.net.service_messages import PassedFd
from audiohook.net.stream_socket import PROBES, StreamSocket, set_options
from audiohook.net.systemd import activated_listener

SECONDS = 30
TCP = socket.IPPROTO_TCP
OPTIONS = {
    "no delay": (TCP, socket.TCP_NODELAY),
    "keep alive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "idle": (TCP, socket.TCP_KEEPIDLE),
    "interval": (TCP, socket.TCP_KEEPINTVL),
    "user timeout": (TCP, socket.TCP_USER_TIMEOUT),
}


def ours() -> socket.socket:
    return open_listener("127.0.0.1:0", 16)


def systemds() -> socket.socket:
    """Return a listener as a socket unit has it made: bound and listening before this process was there."""
    made = socket.create_server(("127.0.0.1", 0))
    return activated_listener(PassedFd(os.dup(made.detach()), "audiohookd.socket"))


@pytest.fixture(params=[ours, systemds])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    make: Callable[[], socket.socket] = request.param
    with make() as made:
        yield made


def accepted(listener: socket.socket) -> socket.socket:
    """Return one that was accepted. The far end is gone, which changes no option."""
    with socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        return listener.accept()[0]


def options(connected: socket.socket) -> dict[str, int]:
    return {name: connected.getsockopt(*option) for name, option in OPTIONS.items()}


def wanted(seconds: float) -> dict[str, int]:
    probe = max(1, int(seconds / PROBES))
    return {"no delay": 1, "keep alive": 1, "idle": probe, "interval": probe, "user timeout": int(seconds * 1000)}


def test_an_accepted_socket_has_the_options_of_its_listener(listener: socket.socket) -> None:
    set_options(listener, SECONDS)
    with accepted(listener) as connected:
        assert options(connected) == wanted(SECONDS)
        StreamSocket(connected, SECONDS)
        assert options(connected) == wanted(SECONDS)


@pytest.mark.parametrize("prepared_for", [None, 0, 1.5, 90])
def test_a_listener_that_was_prepared_for_others_is_no_harm(
    listener: socket.socket, prepared_for: float | None
) -> None:
    if prepared_for is not None:
        set_options(listener, prepared_for)
    with accepted(listener) as connected:
        StreamSocket(connected, SECONDS)
        assert options(connected) == wanted(SECONDS)


@pytest.mark.parametrize("prepared_for", [None, 0, SECONDS])
def test_without_a_timeout_nothing_is_probed(listener: socket.socket, prepared_for: float | None) -> None:
    if prepared_for is not None:
        set_options(listener, prepared_for)
    with accepted(listener) as connected:
        StreamSocket(connected, 0)
        found = options(connected)
        assert (found["no delay"], found["keep alive"], found["user timeout"]) == (1, 0, 0)
