"""Fixtures for tests with several processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.daemon import Daemon
    from tests.support.peer import Peer


@pytest.fixture
def place_calls() -> "Iterator[Callable[..., list[Peer]]]":
    """Place calls that say nothing, with call ids of their own or one that is given; closed after the test."""
    from tests.support.peer import Peer

    with ExitStack() as stack:

        def place(daemon: "Daemon", count: int, call_id: str = "") -> "list[Peer]":
            peers = [stack.enter_context(Peer(daemon.address)) for _ in range(count)]
            for peer in peers:
                if call_id:
                    peer.request = peer.request.replace(peer.call_id.encode(), call_id.encode())
                    peer.call_id = call_id
                assert peer.upgrade().accepted
            return peers

        yield place
